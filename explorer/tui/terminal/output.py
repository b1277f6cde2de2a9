"""What Textual's thread writes to: a terminal that may take nothing for a while, or be gone."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

__all__ = ("Output",)

#: As long as this an app that must end at once waits for a terminal to take what it is sent.
_MOMENT_S: Final = 0.5
_SOON_S: Final = 0.01
#: Wakes a thread whose write waits for room: ignored unless handled, and sent by nobody who was not asked to.
_WAKES: Final = signal.SIGURG
#: What is written is collected up to so many bytes, or until it is to be flushed.
_COLLECTED: Final = 1 << 13


class Output:
    """The descriptor of a terminal, which stays whoever's it was.

    An error would end Textual's thread, and whoever has something to be written would wait for it for ever: a terminal
    that is gone takes everything, and it is said once that it is gone.
    """

    def __init__(self, stream: TextIO, last: str, lost: Callable[[], None]) -> None:
        """Made by the main thread.

        :param last: what ends the text that is the last one to be written in the ordinary way
        """
        self._descriptor, self._encoding = stream.fileno(), stream.encoding
        self._last, self._lost = last, lost
        self._collected = bytearray()
        self._writing = threading.Lock()
        self._writer: int | None = None
        """The thread that is writing."""
        signal.signal(_WAKES, lambda *_: None)
        self._takes_all = self._is_gone = False
        """Nothing is written any more; there is no terminal any more."""
        self._has_last = False
        self._owes = False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> None:
        self._has_last |= text.endswith(self._last)
        # A name may have what the terminal's encoding has not.
        self._collected += text.encode(self._encoding, errors="replace")
        if len(self._collected) > _COLLECTED:
            self._write_collected()

    def flush(self) -> None:
        self._write_collected()
        if self._has_last:
            self._has_last = False
            self._owes = self._owes and self._takes_all  # it was not written then

    def _write_collected(self) -> None:
        data, self._collected = memoryview(bytes(self._collected)), bytearray()
        try:
            with self._writing:
                self._writer = threading.get_ident()
                while data and not self._takes_all:
                    data = data[self._write_some(data) :]
                self._writer = None
        except OSError:
            self._takes_all = self._is_gone = True
            self._owes = False
            self._lost()

    def _write_some(self, data: memoryview) -> int:
        """How many bytes the terminal took; none, where it is full, and others who have it would not wait for it."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [], _SOON_S)
            return 0

    # -- the end ---------------------------------------------------------------------------------------------

    def will_have_last(self) -> None:
        """What is written from now on is the last, in the ordinary way."""
        self._owes = not self._is_gone

    def owes(self) -> bool:
        """Whether the last is, a moment from now, still behind what the app has drawn."""
        until = time.monotonic() + _MOMENT_S
        while self._owes and time.monotonic() < until:
            time.sleep(_SOON_S)
        return self._owes

    def write_instead(self, text: str) -> None:
        """This, within a moment, and nothing else ever after: pictures that nobody has taken yet are in the way.

        :raises OSError: the terminal is gone
        """
        self._takes_all = True
        self.will_have_last()  # whoever is let go by this and would end the process waits for it
        data, until = memoryview(text.encode()), time.monotonic() + _MOMENT_S
        with self._not_blocking():
            self._stop_writer(until)
            if not select.select([], [self._descriptor], [], 0)[1]:
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
            while data and time.monotonic() < until:
                data = data[self._write_some(data) :]
        self._owes = self._owes and bool(data)

    def _stop_writer(self, until: float) -> None:
        """Whoever waits in a write has the terminal for itself meanwhile, and no room that is made ends that."""
        while not self._writing.acquire(timeout=_SOON_S):
            if time.monotonic() > until:
                return
            writer = self._writer
            if writer is not None:
                signal.pthread_kill(writer, _WAKES)
        self._writing.release()

    @contextmanager
    def _not_blocking(self) -> Iterator[None]:
        """Of all who have the terminal opened by one opening, and so only for now."""
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        try:
            yield
        finally:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags)
