"""Who cleans up when a process ends in whatever way: another, forked off in time, that reads nothing and waits.

It waits at a pipe whose other end closes when the process that it was forked from ends, by SIGKILL too, and then does
what it was made for. It keeps the rights that there were when it was made, has nothing else open, and ignores what
ends the processes of a terminal. Stands below all layers and imports none of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ("Keeper", "stand_apart")

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP)
_MAX_ANSWER = 1 << 16
_DISMISSED = b"\0"


class Keeper:
    """Make it while this process has one thread.

    :param act: what is to be done at the end; gives what could not be done, in lines
    """

    def __init__(self, act: Callable[[], Iterable[str]]) -> None:
        waits, self._alive = os.pipe()
        self._answers, answer = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)  # until the child ignores them
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                for number in _IGNORED:
                    signal.signal(number, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                os.close(self._alive)
                os.close(self._answers)
                _keep(act, waits, answer)
                code = 0
            finally:
                os._exit(code)  # whatever was raised: this process has no other business
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(waits)
        os.close(answer)

    @property
    def pid(self) -> int:
        """Its pid; 0 when it has ended."""
        return self._pid

    def call(self) -> list[str]:
        """Have it done now. :returns: what could not be done, and why"""
        return self._end(b"")

    def dismiss(self) -> None:
        """There is nothing left to be done."""
        self._end(_DISMISSED)

    def _end(self, word: bytes) -> list[str]:
        if not self._pid:
            return []
        pid, self._pid = self._pid, 0
        with suppress(BrokenPipeError):  # somebody has ended it
            os.write(self._alive, word)
        os.close(self._alive)
        answer = b""
        while block := os.read(self._answers, _MAX_ANSWER):
            answer += block
        os.close(self._answers)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        left = answer.decode("utf-8", "surrogateescape").splitlines()
        if code and not left:
            left.append(f"the process that cleans up ended with {code}")
        return left


def _keep(act: Callable[[], Iterable[str]], waits: int, answer: int) -> None:
    stand_apart(waits, answer)
    if os.read(waits, 1) == _DISMISSED:
        return
    left = "\n".join(act())
    with suppress(BrokenPipeError):  # nobody is there to be told
        os.write(answer, left.encode("utf-8", "surrogateescape")[:_MAX_ANSWER])


def stand_apart(*kept: int) -> None:
    """Of a process that was just forked off: no terminal ends it, and of what was open only this is.

    Whoever waits for the end of an output must not wait for this process.
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) > 2 and int(path.name) not in kept:
            with suppress(OSError):  # the one by which they were listed
                os.close(int(path.name))
