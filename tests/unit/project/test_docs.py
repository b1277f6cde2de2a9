"""The README and docs/ are true: every command in them is one, and prints what they show."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from explorer.cli.command import cli
from tests.conftest import HELD, SAMPLE, Run
from tests.written_fleets import pages_fleets

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What the files that the pages name stand for here.
FILES = {
    "vmcore": ROOT / "screenshots" / "abandoned.json.zst",
    "held.vmcore": HELD,
    "boot.nxrec": ROOT / "tests" / "data" / "boot-7.3.nxrec",
    "lookups.jsonl": ROOT / "tests" / "data" / "trace" / "saved-7.3.jsonl",
    "before.jsonl": ROOT / "tests" / "data" / "trace" / "saved-6.12.jsonl",
}
_CONSOLE = re.compile(r"^```\n(\$ .*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]+)?\)")
#: How long something took, or was; and the width that a table takes from it.
_VARIES = re.compile(r"read in \d+\.\d+ s")


def _sessions() -> Iterator[object]:
    """(page, command, the lines shown) of every console block."""
    for page in PAGES:
        for block in _CONSOLE.findall(page.read_text()):
            for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, shown = session.partition("\n")
                yield pytest.param(command, shown.splitlines(), id=f"{page.name}: {command[:50]}")


def _commands() -> Iterator[tuple[str, str]]:
    """(page, words) of every ``nullfs-explorer …`` in a code block or between backticks."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^(?: {4}|\$ )(?:sudo )?nullfs-explorer (.*)$", text, re.MULTILINE)
        inline = re.findall(r"`(?:\$ )?(?:sudo )?nullfs-explorer ([^`]*)`", text)
        for words in (*blocks, *inline):
            yield page.name, re.split(r" \| |  +#", words)[0]


def _matches(pattern: str, line: str) -> bool:
    """``…`` stands for anything within a line; runs of blanks for each other, since widths vary."""
    words = r"\s+".join(map(re.escape, pattern.split()))
    return re.fullmatch(words.replace("…", ".*"), line.strip()) is not None


def _assert_shown(shown: list[str], printed: list[str], whole: str) -> None:
    """Every line shown is printed, in order; without a line ``…`` between them, one directly behind the other."""
    at, gap = 0, False
    for line in shown:
        if line.strip() == "…":
            gap = True
            continue
        found = next((i for i in range(at, len(printed)) if _matches(line, printed[i])), None)
        assert found is not None, f"not printed: {line!r}\n{whole}"
        assert gap or found == at, f"before {line!r} there is {printed[at]!r}\n{whole}"
        at, gap = found + 1, False
    rest = [line for line in printed[at:] if line.strip()]
    assert gap or not rest, f"also printed: {rest[0]!r}"


@pytest.mark.parametrize(("command", "shown"), _sessions())
def test_what_the_pages_show_is_what_the_command_prints(
    command: str, shown: list[str], run: Run, tmp_path: Path
) -> None:
    for name, file in FILES.items():
        if name in command:
            shutil.copy(file, tmp_path / name)
    if "FLEET" in command and "fleet run" not in command:
        pages_fleets(tmp_path)
    words = shlex.split(command.partition(" | ")[0])
    filter_ = command.partition(" | ")[2]
    assert words[0] == "nullfs-explorer", command
    if filter_:
        _assert_jq(filter_, shown, run(*words[1:]).stdout)
        return
    result = run(*words[1:])
    # On a terminal what is said on stderr stands among the rest.
    said = result.stderr.splitlines() if result.stdout else []
    shown = [
        line
        for line in (_VARIES.sub("read in …", line) for line in shown)
        if line.strip() in ("", "…") or not any(_matches(line, note) for note in said)
    ]
    whole = result.stdout or result.stderr
    _assert_shown(shown, whole.splitlines(), whole)


def _assert_jq(filter_: str, shown: list[str], output: str) -> None:
    """The one jq filter that the pages use, done here: jq is not everywhere."""
    match = re.fullmatch(r"jq -c '\.tasks\[\] \| select\(\.(\w+)\) \| \{([\w, ]+)\}'", filter_)
    assert match is not None, f"teach this test {filter_}"
    chosen = [task for task in json.loads(output)["tasks"] if task[match[1]]]
    names = match[2].split(", ")
    printed = [json.dumps({name: task[name] for name in names}, separators=(",", ":")) for task in chosen]
    assert shown == printed


def test_every_command_and_option_that_the_pages_name_exists() -> None:
    group = click.Context(cli)
    seen = 0
    for page, text in _commands():
        words = [word for word in shlex.split(re.sub(r"[‘’…]", "x", text)) if word not in ("", ">")]
        if not words or words[0].isupper() or not words[0].islower():
            continue
        command = cli.get_command(group, words[0])
        if command is None:
            continue  # a target: it is opened
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.get_command(group, words[1])
            assert command is not None, f"{page}: {text}: no {words[1]}"
        options = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words[1:]:
            if word.startswith("-") and word != "-" and not re.fullmatch(r"-\d.*", word):
                assert word.split("=")[0] in options | {"--help"}, f"{page}: {text}: no {word}"
        seen += 1
    assert seen >= 30


def test_every_make_target_that_the_pages_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", page.read_text(), re.MULTILINE)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_every_link_and_picture_of_the_pages_leads_to_a_file_and_a_heading() -> None:
    for page in PAGES:
        for target, anchor in _LINK.findall(page.read_text()):
            file = (page.parent / target).resolve()
            assert file.is_file(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


def test_every_path_of_the_tree_that_the_pages_name_is_there() -> None:
    for page in PAGES:
        for path in set(re.findall(r"`((?:explorer|plugins|tests|bench|docs)/[\w./-]+)`", page.read_text())):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_page_of_the_docs_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[2:]:
        assert f"docs/{page.name}" in readme, page.name
    assert readme.count("\n") <= 190


def test_the_plugin_of_the_docs_runs_as_written(run: Run, tmp_path: Path) -> None:
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    assert source is not None
    (tmp_path / "poweroff.py").write_text(source[1])
    result = run("snapshot", SAMPLE, "--plugin", "poweroff.py")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)["plugins"]["poweroff"]
    assert facts["state"] == "loaded"
    assert facts["command"] == "/sbin/poweroff"
    assert facts["program"]["found"] in ("no", "not cached")
