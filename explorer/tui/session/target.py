"""One target as the screen reads it: a child at a time, how far it is, and how long it has said nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from .children import Reader, ReaderFailure, Reading

__all__ = ("QUIET_S", "Target")

#: A child that has said nothing for so long may hang: the screen says so.
QUIET_S = 10.0


class Target:
    """What is read, by whom, and whether it is being read now."""

    def __init__(
        self,
        arguments: Sequence[str],
        prefix: Sequence[str] = (),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """What to read.

        :param prefix: what runs the child, such as ``sudo``
        :param changed: called when it is further than before
        """
        self.arguments = tuple(arguments)
        self.prefix = tuple(prefix)
        self._changed = changed
        self._reader: Reader | None = None
        self._step = ""
        self._started = self._heard = 0.0

    @property
    def name(self) -> str:
        """As the user named it; not escaped."""
        return " ".join(self.arguments) or "a snapshot"

    @property
    def is_reading(self) -> bool:
        return self._reader is not None

    @property
    def seconds(self) -> float:
        """How long the reading has taken so far."""
        return time.monotonic() - self._started if self.is_reading else 0.0

    @property
    def quiet_s(self) -> float:
        """How long the child has said nothing."""
        return time.monotonic() - self._heard if self.is_reading else 0.0

    @property
    def progress(self) -> str:
        """What the child does, how far it is, and whether it still says anything; escaped."""
        step = self._step or "starting the reader"
        quiet = self.quiet_s
        return step if quiet < QUIET_S else f"{step}: no word from the reader for {quiet:.0f} s"

    async def read(self) -> Reading:
        """Read it. :raises ReaderFailure: if it cannot be read, or is being read already"""
        if self._reader is not None:
            raise ReaderFailure("it is being read already")
        self._step, self._started = "", time.monotonic()
        self._heard = self._started
        self._reader = Reader(self.arguments, self.prefix)
        try:
            return await self._reader.read(self._progressed)
        finally:
            self._reader = None

    def note(self, step: str) -> None:
        """Say how far a reading is that this app does itself; from any thread."""
        self._step, self._heard = step, time.monotonic()

    def _progressed(self, what: str, done: int, total: int | None) -> None:
        self._heard = time.monotonic()
        self._step = f"{what} {done}" + (f" of {total}" if total and total != done else "")
        self._changed()

    async def cancel(self) -> None:
        """End the child, if there is one."""
        if self._reader is not None:
            await self._reader.cancel()
