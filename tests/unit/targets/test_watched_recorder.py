"""Who waits for a recorder: what a terminal says to both is said once, and what is said to one alone is passed on."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.targets import ReaderCrashedError, fork_reader
from tests.unit.targets.test_privilege_drop import NOBODY, as_root

#: How long the reader hears signals after the first one.
_LISTENS_S = 1.0


def say(text: str) -> None:
    """On the terminal, whatever a test runner has made of standard output."""
    os.write(1, f"{text}\n".encode())


class Watched:
    """A watcher and its reader on a terminal; the reader says which signals it has heard, and ends well."""

    def __init__(self, directory: Path, uid: int | None = None) -> None:
        self.received = b""
        self._pid, self._fd = pty.fork()
        if not self._pid:
            code = 99
            try:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                    signal.signal(number, signal.SIG_DFL)
                guard = fork_reader("a target", passes_on=True)
                if uid is not None:
                    os.setresuid(uid, uid, uid)
                code = self._listen()
                guard.ends(code)
            except ReaderCrashedError as error:
                say(str(error))
            finally:
                os._exit(code)
        self.wait_for(b"ready")
        deadline = time.monotonic() + 5.0
        while not self._status("SigCgt") >> (signal.SIGTERM - 1) & 1 and time.monotonic() < deadline:
            time.sleep(0.01)  # the one that waits has not come to that yet

    @staticmethod
    def _listen() -> int:
        heard: list[str] = []
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda number, _: heard.append(signal.Signals(number).name))
        say("ready")
        deadline = time.monotonic() + 20.0
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
        end = time.monotonic() + _LISTENS_S
        while time.monotonic() < end:
            time.sleep(0.01)
        say(f"heard {','.join(heard)}.")
        return 7

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + 20.0
        while text not in self.received:
            assert time.monotonic() < deadline, self.received
            if select.select([self._fd], [], [], 0.1)[0]:
                self.received += os.read(self._fd, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def tell(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def held(self) -> int:
        """The capabilities of the one that waits."""
        return self._status("CapPrm")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        (value,) = (line.split()[1] for line in status.splitlines() if line.startswith(name))
        return int(value, 16)

    def end(self) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return code

    def stop(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path)
    yield found
    found.stop()


@pytest.mark.parametrize(("key", "name"), [(b"\x03", b"SIGINT"), (b"\x1c", b"SIGQUIT")])
def test_what_a_terminal_says_to_both_the_reader_hears_once(
    watched: Watched, key: bytes, name: bytes
) -> None:
    watched.type(key)
    watched.wait_for(b"heard ")
    watched.wait_for(b".\r\n")
    assert b"heard " + name + b"." in watched.received
    assert watched.end() == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_what_is_said_to_the_one_that_waits_is_passed_on_and_it_ends_as_the_reader_does(
    watched: Watched, number: signal.Signals
) -> None:
    watched.tell(number)
    watched.wait_for(b"heard " + number.name.encode() + b".")
    assert watched.end() == 7


@as_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_is_passed_on_also_to_a_reader_that_has_become_another_user(
    tmp_path: Path, number: signal.Signals
) -> None:
    watched = Watched(tmp_path, NOBODY)
    try:
        deadline = time.monotonic() + 5.0
        while watched.held() != 1 << 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert watched.held() == 1 << 5, "the right to send signals, and no other"
        watched.tell(number)
        watched.wait_for(b"heard " + number.name.encode() + b".")
        assert watched.end() == 7
    finally:
        watched.stop()
