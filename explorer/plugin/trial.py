"""What the import of strangers' modules does to the process that it happens in is seen in another one first.

A module may end its process (``os._exit(0)``: an audit would pass), become another program, or leave a thread or a
process behind, and nothing in Python stops it. So all of them are imported in a copy of this process first, one after
the other; the way in which that ends is looked at, and nothing that it raised: that is told by who imports it then.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from explorer.syscalls import end_with, fork, kill_group

__all__ = ("ending_words", "try_imports")

#: What the copy writes before each import, and at the end; then why one is refused, if it says so itself.
_NEXT, _END, _THREAD, _CHILD = b"n", b"e", b"t", b"c"
_WHY = {_THREAD: "its import has left a thread running", _CHILD: "its import has started a process"}
_LOOK_S = 0.05
#: A thread that has been made counts when it runs; others are about to end.
_THREADS_BEGIN_S, _THREADS_END_S = 0.1, 0.5
_TASKS = Path("/proc/self/task")


def try_imports(imports: Sequence[Callable[[], Any]], limit_s: float) -> dict[int, str]:
    """Why, in words, some of these must not be called in this process, by their number.

    :param limit_s: seconds for each
    """
    refused: dict[int, str] = {}
    first = 0
    while first < len(imports):
        trial = _Trial(imports, first)
        try:
            why = trial.watch(limit_s)
        finally:
            trial.end()
        if why is None:
            break
        refused[trial.at] = why
        first = trial.at + 1
    return refused


class _Trial:
    """A copy of this process that imports. :ivar at: which it is at"""

    def __init__(self, imports: Sequence[Callable[[], Any]], first: int) -> None:
        self.at = first
        self._said, says = os.pipe()
        self._ended = False
        parent = os.getpid()
        try:
            self._pid = fork()
        except OSError:
            os.close(says)
            os.close(self._said)
            raise
        if not self._pid:
            _import_all(imports[first:], says, parent)
        os.close(says)

    def watch(self, limit_s: float) -> str | None:
        """Wait for its end, or for too long an import. Why the one that it was at is refused; ``None``: none was."""
        begun = False
        deadline = time.monotonic() + limit_s
        while True:
            gone = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            # What it said before it ended is still there.
            said = self._hear()
            for word in said:
                if word == _NEXT:
                    self.at += begun
                    begun, deadline = True, time.monotonic() + limit_s
                else:
                    return _WHY.get(word)
            if gone is not None:
                return f"its import has ended the process: {ending_words(gone.si_code, gone.si_status)}"
            if time.monotonic() >= deadline:
                return f"its import had not ended after {limit_s:g} s"

    def _hear(self) -> list[bytes]:
        if self._ended:
            time.sleep(_LOOK_S)
            return []
        if not select.select([self._said], [], [], _LOOK_S)[0]:
            return []
        block = os.read(self._said, 1 << 12)
        self._ended = not block
        return [bytes([each]) for each in block]

    def end(self) -> None:
        """Leave nobody behind."""
        os.close(self._said)
        kill_group(self._pid)
        os.waitpid(self._pid, 0)


def ending_words(code: int, status: int) -> str:
    """How a process ended, of what waitid(2) gives."""
    if code == os.CLD_EXITED:
        return f"exit code {status}"
    return f"signal {signal.Signals(status).name if status in set(signal.Signals) else status}"


def _import_all(imports: Sequence[Callable[[], Any]], says: int, parent: int) -> NoReturn:
    """In the copy. What it prints nobody sees: it is said again."""
    try:
        os.setsid()
        end_with(parent)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # to the end of this process
        me, threads = os.getpid(), _thread._count()
        for each in imports:
            os.write(says, _NEXT)
            with suppress(BaseException):  # told by who imports it next
                each()
            if os.getpid() != me:
                os._exit(0)
            if _has_children():
                os.write(says, _CHILD)
                os._exit(0)
            if _more_threads(threads):
                os.write(says, _THREAD)
                os._exit(0)
        os.write(says, _END)
    finally:
        os._exit(0)  # whatever was raised: this process has no other business


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _more_threads(than: int) -> bool:
    """Of Python's: a library may have threads of its own, in C."""
    with suppress(FileNotFoundError):  # /proc is not mounted
        if len(list(_TASKS.iterdir())) == 1:
            return False
    time.sleep(_THREADS_BEGIN_S)
    end = time.monotonic() + _THREADS_END_S
    while (more := _thread._count() > than) and time.monotonic() < end:
        time.sleep(0.01)
    return more
