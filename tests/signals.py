"""What a test starts hears signals, whoever runs the tests."""

from __future__ import annotations

import signal

__all__ = ("heed_signals",)


def heed_signals() -> None:
    """In a child, before it is a program: who runs the tests in the background (nohup, &) ignores some, and a program
    would do as its parent does."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
