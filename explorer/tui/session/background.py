"""Work in a thread that gives way to the screen.

Python runs one thread at a time. One that computes lets another have its turn only after the switch interval, 5 ms
unless told otherwise, and the screen's thread asks for its turn at every message: a second of work in the background
made every frame of that second late. So the interval is shorter while there is such work, and the work, done in parts,
stops between two of them while somebody types.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("give_way", "in_background", "note_input")

_INTERVAL_S = 0.0005
#: Nothing typed for so long: the user looks.
_QUIET_S = 0.25
#: Who types without a pause gets findings all the same: the work goes on after so long.
_PATIENCE_S = 1.0
_STEP_S = 0.02


class _State:
    """Of the process: there is one interpreter, and one who types."""

    lock = threading.Lock()
    working = 0
    usual = 0.005
    last_input = -_QUIET_S


def note_input() -> None:
    """A key came: what is in the background waits."""
    _State.last_input = time.monotonic()


def give_way() -> None:
    """Between two parts of work: wait while somebody types. Returns at once on the main thread, which is awaited."""
    if threading.current_thread() is threading.main_thread():
        return
    end = time.monotonic() + _PATIENCE_S
    while (now := time.monotonic()) < end and now - _State.last_input < _QUIET_S:
        time.sleep(_STEP_S)


@contextmanager
def in_background() -> Iterator[None]:
    """While this thread works, another gets its turn soon."""
    with _State.lock:
        if not _State.working:
            _State.usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_INTERVAL_S, _State.usual))
        _State.working += 1
    try:
        yield
    finally:
        with _State.lock:
            _State.working -= 1
            if not _State.working:
                sys.setswitchinterval(_State.usual)
