"""Who cleans up: a process that keeps root's rights, reads nothing, and waits for the end of the one that traces.

What traces parses what the kernel wrote, paths of strangers among it, and gives its rights up before; removing an
instance needs them. So a child is forked first. It waits at a pipe whose other end closes when the tracing process
ends in any way, SIGKILL included, and then removes what is named after that.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from .instances import remove_tracing

__all__ = ("Guardian",)

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP)
_MAX_ANSWER = 1 << 16


class Guardian:
    """Fork it while this process has rights and one thread."""

    def __init__(self, tracefs: Path, name: str) -> None:
        waits, self._alive = os.pipe()
        self._answers, answer = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                os.close(self._alive)
                os.close(self._answers)
                _guard(tracefs, name, waits, answer)
                code = 0
            finally:
                os._exit(code)  # whatever was raised: this process has no other business
        os.close(waits)
        os.close(answer)

    def clean(self) -> list[str]:
        """Have everything removed, now that all files of the instance are closed.

        :returns: what is left, and why
        """
        os.close(self._alive)
        answer = b""
        while block := os.read(self._answers, _MAX_ANSWER):
            answer += block
        os.close(self._answers)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        left = answer.decode("utf-8", "surrogateescape").splitlines()
        if code and not left:
            left.append(f"the process that cleans up ended with {code}: run trace --clean")
        return left


def _guard(tracefs: Path, name: str, waits: int, answer: int) -> None:
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _close_all_but(waits, answer)
    while os.read(waits, 1):
        pass
    left = remove_tracing(tracefs, name)
    with suppress(BrokenPipeError):  # nobody is there to be told
        os.write(answer, "\n".join(left).encode("utf-8", "surrogateescape")[:_MAX_ANSWER])


def _close_all_but(*kept: int) -> None:
    """Of what was open when it was forked: whoever waits for the end of an output must not wait for this process."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) > 2 and int(path.name) not in kept:
            with suppress(OSError):  # the one by which they were listed
                os.close(int(path.name))
