"""Signals that end the app: it is closed, the terminal is as it was found, and the process ends by that signal.

So a shell says 128 + its number, as of any program, and a service manager sees what it had asked for.
"""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable

from explorer.syscalls import end_by

__all__ = ("Endings",)

#: All that end a process unless it does something about them (signal(7)), but for faults of the processor, at which no
#: Python runs any more, and SIGPIPE and SIGXFSZ, of which Python makes exceptions.
_ENDING = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGABRT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGSTKFLT,
    signal.SIGXCPU,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
)
#: As long as this the app has to close; a terminal that takes nothing any more may be what holds it up.
_PATIENCE_S = 8.0
#: A terminal that is closed sends a signal, and the shell in it another: neither is somebody who insists.
_INSISTS_S = 1.0


class Endings:
    """The one signal that ends the app, if one does."""

    def __init__(self, close: Callable[[], None], restore: Callable[[], None]) -> None:
        """
        :param close: ask the app to end; called between any two instructions of the main thread
        :param restore: what is done if that takes too long, from a thread of its own
        """
        self._close, self._restore = close, restore
        self.number: signal.Signals | None = None
        self._asked = 0.0
        self._given = threading.Event()

    def watch(self) -> None:
        """Handle them from now on, but for those that are ignored: by nohup, for example."""
        # Started here, as a handler may run while the thread it interrupts starts another one.
        threading.Thread(target=self._insist, name="ending", daemon=True).start()
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda given, _: self.ask(signal.Signals(given)))

    def ask(self, number: signal.Signals) -> None:
        """End the app; at once if that was asked for before."""
        now = time.monotonic()
        if self.number is None:
            self.number, self._asked = number, now
            self._given.set()
            self._close()
        elif now - self._asked > _INSISTS_S:
            self._restore()
            self.end()

    def _insist(self) -> None:
        self._given.wait()
        time.sleep(_PATIENCE_S)
        self._restore()
        self.end()

    def end(self) -> None:
        """End by the signal, if one was given; else come back."""
        if self.number is not None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # somebody's wish, and no crash
            end_by(self.number)
