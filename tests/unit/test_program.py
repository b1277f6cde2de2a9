"""The process that starts readers for one that has given up its rights: it starts those, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from explorer import program
from explorer.program import CODE, GRANTED, Starter

#: What the child is, in place of this program: its words are a script.
SHELL = ["/bin/sh", "-c"]
SAYS, HANGS, CRASHES, ENDS = ["echo said; echo wrong >&2"], ["sleep 600"], ["kill -SEGV $$"], ["exit 3"]


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    monkeypatch.setattr(program, "own_command", lambda: SHELL)
    found = Starter.begin([SAYS, HANGS, CRASHES, ENDS])
    yield found
    program.end_starter()
    assert program.find_starter() is None


class Asked:
    """A child that was asked for."""

    def __init__(self, starter: Starter, words: list[str]) -> None:
        (self._output, output), (self._errors, errors) = os.pipe(), os.pipe()
        line = starter.ask(words, output, errors)
        assert line is not None
        os.close(output)
        os.close(errors)
        self.line = line
        self.granted = line.recv(1) == GRANTED

    def said(self) -> tuple[bytes, bytes]:
        return os.read(self._output, 4096), os.read(self._errors, 4096)

    def code(self) -> int:
        self.line.settimeout(20.0)
        code: int = CODE.unpack(self.line.recv(CODE.size))[0]
        return code


def test_what_it_was_made_for_is_started_and_says_what_it_says_and_how_it_ended(starter: Starter) -> None:
    several = [Asked(starter, words) for words in (SAYS, ENDS, CRASHES)]
    assert all(each.granted for each in several)
    assert several[0].said() == (b"said\n", b"wrong\n")
    assert [each.code() for each in several] == [0, 3, -signal.SIGSEGV]


@pytest.mark.parametrize(
    "words", [["id"], [], [*SAYS, "more"], ["echo said"], [*HANGS, *SAYS], ["x" * 200_000]]
)
def test_nothing_else_is_started_whatever_is_asked(starter: Starter, words: list[str]) -> None:
    asked = Asked(starter, words)
    assert not asked.granted
    assert asked.said() == (b"", b"")
    assert Asked(starter, ENDS).code() == 3, "and it goes on"


@pytest.mark.parametrize("message", [b"", b"[", b"\0" * 500, b'["sleep 600"]'])
def test_a_message_that_is_none_is_no_request_and_costs_it_nothing(starter: Starter, message: bytes) -> None:
    # An empty one is taken for the end of the line, which only who has the line can send.
    if message:
        with socket.socket(fileno=os.dup(starter.fileno())) as line:
            line.send(message)
            socket.send_fds(line, [message], [0] * 9)
        assert Asked(starter, ENDS).code() == 3


def test_a_child_is_ended_when_it_is_told_to_or_nobody_is_left_to_be_told(starter: Starter) -> None:
    told = Asked(starter, HANGS)
    told.line.send(bytes([signal.SIGKILL]))
    assert told.code() == -signal.SIGKILL
    left = Asked(starter, ["sleep 600"])
    left.line.close()
    assert left.said() == (b"", b""), "its output has ended, and so has it"


def test_one_that_was_killed_is_said_not_to_be_there(starter: Starter) -> None:
    os.kill(starter._pid, signal.SIGKILL)
    os.waitid(os.P_PID, starter._pid, os.WEXITED | os.WNOWAIT)
    assert starter.ask(SAYS, 1, 2) is None


@pytest.mark.parametrize("said", ["", "x", "-1", "99999", "1e3", "٣"])
def test_a_starter_that_the_environment_invents_is_none(said: str) -> None:
    assert Starter.inherited(said) is None


def test_a_file_or_another_users_socket_is_no_starter(tmp_path: object) -> None:
    with open(os.devnull, "rb") as file:  # noqa: PTH123
        assert Starter.inherited(str(file.fileno())) is None
    if os.geteuid() == 0:
        pid = os.fork()
        if not pid:
            os.setresuid(65534, 65534, 65534)
            ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os._exit(Starter.inherited(str(ours.fileno())) is not None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
