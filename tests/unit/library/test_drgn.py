"""``%nullfs`` in the real drgn, in a terminal: it prints what the command prints, and costs drgn's start nothing."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.conftest import SAMPLE, Run

DRGN = Path(sys.executable).parent / "drgn"
_PROMPT = b">>> "
_PATIENCE_S = 120.0
_VARIES = re.compile(r"read in \d+\.\d+ s")


class Drgn:
    """An interactive session."""

    def __init__(self, directory: Path) -> None:
        self._process, self._terminal = pty.fork()
        if not self._process:
            os.chdir(directory)
            plain = {"HOME": str(directory), "TERM": "dumb", "PYTHON_BASIC_REPL": "1", "COLUMNS": "200"}
            os.execve(DRGN, ["drgn", "-q", "-c", "vmcore"], {**os.environ, **plain})
        self._wait()

    def _wait(self) -> str:
        """What it prints before the next prompt."""
        seen, deadline = b"", time.monotonic() + _PATIENCE_S
        while not seen.endswith(_PROMPT):
            assert time.monotonic() < deadline, seen.decode(errors="replace")
            if select.select([self._terminal], [], [], 1.0)[0]:
                seen += os.read(self._terminal, 65536)
        return seen[: -len(_PROMPT)].decode().replace("\r\n", "\n")

    def say(self, line: str) -> str:
        os.write(self._terminal, f"{line}\n".encode())
        return self._wait().partition("\n")[2]  # behind the echo

    def close(self) -> None:
        os.write(self._terminal, b"\x04")
        os.waitpid(self._process, 0)
        os.close(self._terminal)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("drgn")
    with SAMPLE.open("rb") as packed, (directory / "vmcore").open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
    return directory


@pytest.fixture(scope="module")
def session(directory: Path) -> Iterator[Drgn]:
    drgn = Drgn(directory)
    yield drgn
    drgn.close()


def timeless(text: str) -> str:
    return _VARIES.sub("read in 0 s", text)


@pytest.mark.parametrize("words", ["tasks", "tasks --all --where kind:kernel", "audit", "namespaces"])
def test_what_it_prints_is_what_the_command_prints(
    words: str, session: Drgn, directory: Path, run: Run
) -> None:
    name, _, options = words.partition(" ")
    said = session.say(f"%nullfs {words} > out.txt")
    printed = run(name, directory / "vmcore", *options.split())
    assert said == printed.stderr, said
    assert timeless((directory / "out.txt").read_text()) == timeless(printed.stdout)


def test_on_the_terminal_a_table_is_as_wide_as_that(session: Drgn) -> None:
    shown = session.say("%nullfs tasks --where borrowing --width 100")
    assert "borrower (142), borrowing" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_pipes_are_drgns_own(session: Drgn) -> None:
    assert session.say("%nullfs tasks --all | grep -c nullfs").strip().isdigit()
    assert session.say("%nullfs explain NX-PID1-ABANDONED | head -1").strip() == "NX-PID1-ABANDONED: critical"


def test_the_tasks_shown_are_drgns_objects_afterwards(session: Drgn) -> None:
    session.say("%nullfs tasks --where borrowing")
    assert session.say(
        "print(len(_), _[0].type_.type_name(), _[0].comm.string_(), int(_[0].pid))"
    ).strip() == ("1 struct task_struct * b'borrower' 142")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "is one of audit, explain"),
        ("taks", "is one of audit, explain"),
        ("tasks other.core", "unexpected extra argument (other.core)"),
        ("tasks --where pdi:1", "there is no field pdi; did you mean"),
        ("explain NX-NOTHING", "no rule NX-NOTHING"),
        ("holders 99999", "no mount 99999"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_session_goes_on(words: str, said: str, session: Drgn) -> None:
    printed = session.say(f"%nullfs {words}")
    assert said in printed
    assert len(printed.splitlines()) == 1, printed
    assert session.say("print(1 + 1)").strip() == "2"


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_a_command_says_its_options_however_the_command_line_lets_one_ask(
    asked: str, session: Drgn, run: Run
) -> None:
    said = session.say(f"%nullfs tasks {asked}")
    assert said == run("tasks", asked).stdout.replace("nullfs-explorer tasks", "%nullfs tasks")
    assert "--where QUERY" in said
    listed = session.say(f"%nullfs {asked}")
    assert "Usage: %nullfs COMMAND [OPTION...]" in listed
    assert "  explain " in listed and "  serve " not in listed


def test_a_value_that_looks_like_a_question_for_help_is_a_value(session: Drgn, directory: Path) -> None:
    session.say("%nullfs snapshot -o -h")
    assert (directory / "-h").read_bytes().startswith(b"{")


def test_drgns_start_loads_nothing_of_ours_but_the_commands_name(directory: Path) -> None:
    code = (
        "import sys; print(sorted(name for name in sys.modules "
        "if name.split('.')[0] in ('explorer', 'pydantic', 'click', 'textual', 'lark')))"
    )
    ran = subprocess.run(
        [DRGN, "-q", "-c", "vmcore", "-e", code], cwd=directory, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "['explorer', 'explorer.drgn_command', 'explorer.version']"


def test_a_process_is_no_kernel_and_it_is_said(directory: Path) -> None:
    code = "from drgn.commands import run_command; run_command(prog, 'nullfs tasks')"
    command: list[str | Path] = [DRGN, "-q", "--no-default-symbols", "-p", str(os.getpid()), "-e", code]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert "CommandError: the program is not a Linux kernel" in ran.stderr
