"""A man page for each command: in the wheel, as the command is now, and fit for whoever shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import click
import pytest

from tests.commands import every_command
from tests.make_dist import build
from tests.make_man import MAN, man_pages

PAGES = {f"{context.command_path.replace(' ', '-')}.1": context for context in every_command()}


def render(page: Path) -> tuple[str, str]:
    """The page as plain text in one line a paragraph, and what groff has to say of it."""
    if shutil.which("groff") is None:
        pytest.skip("no groff: tests/host-tools.sh man")
    command = ["groff", "-man", "-Tutf8", "-ww", "-rLL=2000n", *(f"-P-{flag}" for flag in "cbou")]
    ran = subprocess.run([*command, str(page)], capture_output=True, text=True, check=False)
    return re.sub("[\u2010\u2011\u2212]", "-", ran.stdout), ran.stderr


def test_the_wheel_holds_one_page_for_each_command_and_no_other(tmp_path: Path) -> None:
    (wheel,) = [path for path in build(tmp_path) if path.suffix == ".whl"]
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "/man/" in name]
    assert sorted(name.partition("/data/")[2] for name in names) == sorted(
        f"share/man/man1/{page}" for page in PAGES
    )


def test_the_pages_are_what_the_commands_say_now() -> None:
    kept = {path.name: path.read_text() for path in MAN.iterdir()}
    assert kept == man_pages(), "make man makes them anew"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_shown_without_a_warning_and_names_every_option(name: str) -> None:
    text, said = render(MAN / name)
    assert said == ""
    context = PAGES[name]
    for option in context.command.get_params(context):
        if isinstance(option, click.Option) and not option.hidden:
            for word in (*option.opts, *option.secondary_opts):
                assert re.search(rf"(?<![\w-]){word}(?![\w-])", text), word
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"):
        assert re.search(rf"^{heading}$", text, re.MULTILINE), heading
    named = set(re.findall(r"(nullfs-explorer[\w-]*)\(1\)", text.partition("SEE ALSO")[2]))
    assert named and {f"{each}.1" for each in named} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say_but_that_there_is_no_date(name: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc: tests/host-tools.sh man")
    command = ["mandoc", "-T", "lint", "-W", "warning", str(MAN / name)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    assert [line for line in said if "missing date" not in line] == []


def test_a_page_that_is_wrong_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "wrong.1"
    page.write_text((MAN / "nullfs-explorer.1").read_text() + ".NOSUCH thing\n")
    assert "NOSUCH" in render(page)[1]


def test_the_first_page_has_exit_codes_targets_files_and_variables() -> None:
    text, _ = render(MAN / "nullfs-explorer.1")
    sections = dict(re.findall(r"^([A-Z][A-Z ]+)\n(.*?)(?=^[A-Z]|\Z)", text, re.MULTILINE | re.DOTALL))
    for code in ("0", "1", "2", "3", "4", "128 + N"):
        assert re.search(rf"^ +{re.escape(code)}\b", sections["EXIT STATUS"], re.MULTILINE), code
    for kind in ("live", "proc", "sample", "qemu:SOCKET", "physmem:FILE", "ELF vmcore", "a saved snapshot"):
        assert kind in sections["TARGET"], kind
    assert "settings.json" in sections["FILES"]
    assert "sudo nullfs-explorer live" in sections["EXAMPLES"]


def test_every_variable_that_the_first_page_names_is_one_that_the_program_knows() -> None:
    sources = "".join(path.read_text() for path in (MAN.parent / "explorer").rglob("*.py"))
    text, _ = render(MAN / "nullfs-explorer.1")
    variables = re.findall(
        r"\b[A-Z]+_[A-Z_]+\b", text.partition("\nENVIRONMENT\n")[2].partition("\nEXAMPLES\n")[0]
    )
    assert len(variables) >= 6
    for variable in variables:
        assert variable in sources, variable
