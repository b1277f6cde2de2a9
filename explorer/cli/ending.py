"""What ends a command that goes on until it is told to: Ctrl-C, and what else ends the processes of a terminal."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("told_by_signals",)

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def told_by_signals(end: Callable[[], None], *, for_good: bool = False) -> Iterator[None]:
    """In the block ``end`` is called for each of them, but for what is ignored, as a hang-up is behind ``nohup``.

    :param for_good: what ends the process then is its own: one is enough, and behind the block none is heard
    """
    before = {number: signal.getsignal(number) for number in _ENDING}
    mine = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in mine:
        signal.signal(number, lambda *_: end())
    try:
        yield
    finally:
        for number, handler in mine.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)
