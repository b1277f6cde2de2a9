"""The last line of help names a page that is there, in a checkout and wherever the wheel was installed."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from explorer.cli.documented import Documented
from explorer.wire import PROGRAM
from tests.commands import every_command
from tests.make_dist import ROOT, build

COMMANDS = {context.command_path: context for context in every_command()}


def last_line(text: str) -> str:
    return text.rstrip("\n").splitlines()[-1].removeprefix("  More: ")


def test_there_are_commands_to_look_at() -> None:
    assert {PROGRAM, f"{PROGRAM} tasks", f"{PROGRAM} fleet", f"{PROGRAM} fleet tasks"} <= set(COMMANDS)
    assert len(COMMANDS) == 25


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_a_command_ends_with_a_page_that_is_there_and_says_something_of_it(path: str) -> None:
    context = COMMANDS[path]
    assert isinstance(context.command, Documented)
    page = Path(last_line(context.get_help()))
    assert page == ROOT / context.command.page
    inner = path.removeprefix(PROGRAM).strip()
    named = rf"{path}\b" + (rf"|`{inner}[` ]" if inner else "")
    assert re.search(named, page.read_text()), f"{page} says nothing of {path}"


def test_a_page_whose_path_is_longer_than_a_line_of_help_is_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = "/usr/" + "a long name/" * 20 + "audit.md"
    monkeypatch.setattr("explorer.cli.documented.find_page", lambda _: page)
    context = COMMANDS[f"{PROGRAM} audit"]
    assert last_line(context.get_help()) == page


def test_an_installed_wheel_names_the_pages_that_came_with_it(tmp_path: Path) -> None:
    """And their links lead from one to the other."""
    (wheel,) = [path for path in build(tmp_path / "dist") if path.suffix == ".whl"]
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False, symlinks=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run(
        [*command, "--ignore-installed", "--prefix", str(clean), str(wheel)], check=True, capture_output=True
    )
    site = next(clean.glob("lib/python3.*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("nullfs", "explorer")) and path.suffix != ".pth":
            (site / path.name).symlink_to(path)

    def ask(*words: str) -> str:
        command = [str(clean / "bin" / "python"), "-I", "-m", "explorer", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    documents = clean / "share" / "doc" / PROGRAM
    assert last_line(ask("audit", "--help")) == str(documents / "docs" / "audit.md")
    assert last_line(ask("--help")) == str(documents / "README.md")
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        path.name for path in documents.glob("docs/*.md")
    }
    for page in documents.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:\s]+\.(?:md|py))", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"
    (documents / "docs" / "audit.md").unlink()
    assert last_line(ask("audit", "--help")) == "docs/audit.md", "what was removed is not said to be there"
