"""What a daemon, cron or ``>&-`` closed, and what cannot be written to: said in one line, with an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.cli.command import _COMMANDS
from tests.conftest import DATA, SAMPLE

#: The words that follow each command; ``open`` and ``serve`` would stay.
_WORDS = {
    "audit": SAMPLE,
    "diff": f"{SAMPLE} {SAMPLE}",
    "explain": "",
    "frame": f"{SAMPLE} -o frame.json",
    "ko": SAMPLE,
    "open": SAMPLE,
    "plugins": SAMPLE,
    "record": "live -o a.nxrec",
    "serve": SAMPLE,
    "slice": f"{SAMPLE} -o mini.elf",
    "snapshot": f"{SAMPLE} -o a.json",
    "tasks": SAMPLE,
    "timeline": SAMPLE,
}


def shell(directory: Path, words: str, how: str = "-m explorer") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"exec {sys.executable} {how} {words}"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(DATA.parent.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_no_command_works_with_a_stream_closed_or_takes_it_for_a_fault_of_its_own(
    tmp_path: Path, command: str, closed: str
) -> None:
    result = shell(tmp_path, f"{command} {_WORDS.get(command, '')} {closed}")
    assert (result.returncode, result.stdout) == (2, "")
    if "2>" in closed:
        assert result.stderr == ""
    else:
        (line,) = result.stderr.splitlines()
        assert "closed" in line and "fault" not in line
        assert "standard output" in line
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize("command", ["tasks", "audit", "explain", "plugins", "ko"])
def test_a_closed_stdin_is_an_empty_one(tmp_path: Path, command: str) -> None:
    words = f"{command} {_WORDS[command]}"
    closed, empty = shell(tmp_path, f"{words} <&-"), shell(tmp_path, f"{words} </dev/null")
    assert closed.returncode == empty.returncode
    assert len(closed.stdout.splitlines()) == len(empty.stdout.splitlines())
    assert "closed" not in closed.stderr


def test_a_target_that_is_a_closed_stdin_is_refused_in_one_line(tmp_path: Path) -> None:
    result = shell(tmp_path, "tasks - <&-")
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (3, "", 1), result.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "", "nonsense", "tasks --help"])
def test_help_and_typing_errors_with_stdout_closed_end_alike(tmp_path: Path, words: str) -> None:
    result = shell(tmp_path, f"{words} >&-")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)


def test_the_installed_command_knows_its_closed_stdout_too(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("nullfs-explorer")
    result = shell(tmp_path, f"tasks {SAMPLE} >&-", str(installed))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert "standard output is closed" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"), [("tasks missing", 3), ("tasks --nonsense", 2), (f"audit {SAMPLE} --only none", 2)]
)
def test_the_exit_code_says_it_where_stderr_cannot_be_written(tmp_path: Path, words: str, code: int) -> None:
    result = shell(tmp_path, f"{words} 2>/dev/full")
    assert (result.returncode, result.stdout) == (code, "")


def test_a_stdout_that_is_open_for_reading_only_cannot_be_written(tmp_path: Path) -> None:
    result = shell(tmp_path, f"tasks {SAMPLE} 1</dev/null")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "cannot write the output" in line
