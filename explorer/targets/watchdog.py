"""Ends a call into drgn that waits for QEMU, or listens to it, for longer than an attach takes.

drgn attaches in one call, which holds the interpreter: no thread of this process could end it, and a signal is only
looked at afterwards. A child can shut the socket down, which belongs to both.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator

from explorer.syscalls import fork
from explorer.targets.errors import TargetError

__all__ = ("hang_up_in_time",)

#: Seconds, and seconds of CPU time: an attach takes 0.01 s, and a busy QEMU may need a few for each of its commands.
_SECONDS = 30.0
_CPU_SECONDS = 3.0
_TICK = 0.2
_HUNG_UP = 1
#: ``CPUCLOCK_SCHED`` of ``MAKE_PROCESS_CPUCLOCK()`` (include/linux/posix-timers.h): the CPU time of another process.
_CPU_CLOCK = 2


@contextlib.contextmanager
def hang_up_in_time(
    sock: socket.socket, name: str, seconds: float = _SECONDS, cpu_seconds: float = _CPU_SECONDS
) -> Iterator[None]:
    """Shut a socket down if the block has not ended in time.

    :raises TargetError: in place of what the block raises, if it was
    """
    watched = os.getpid()
    ended, end = os.pipe()
    child = fork()
    if not child:
        code = _HUNG_UP
        try:
            os.close(end)
            if _ends_in_time(ended, watched, seconds, cpu_seconds):
                code = 0
        finally:  # Ctrl-C included: the call that waits is over then
            if code:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            os._exit(code)
    os.close(ended)
    hung_up = False
    try:
        try:
            yield
        finally:
            os.close(end)
            hung_up = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == _HUNG_UP
    except Exception as error:
        if hung_up:
            raise TargetError(f"{name}: QEMU does not answer as it should: drgn cannot attach") from error
        raise


def _ends_in_time(ended: int, watched: int, seconds: float, cpu_seconds: float) -> bool:
    """Whether the other end of the pipe is closed before time is up."""
    deadline = time.monotonic() + seconds
    clock = (~watched << 3) | _CPU_CLOCK
    limit = time.clock_gettime(clock) + cpu_seconds
    while time.monotonic() < deadline:
        if select.select([ended], [], [], _TICK)[0]:
            return True
        if time.clock_gettime(clock) > limit:
            return False
    return False
