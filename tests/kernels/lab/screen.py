"""A terminal at the host's end of a guest's serial line: what a person there would see, and keys to press."""

from __future__ import annotations

import time
from collections.abc import Callable

import pyte

from tests.kernels.lab.console import Console
from tests.kernels.lab.errors import LabError

__all__ = ("SerialScreen",)

_STEADY_S = 0.5


class SerialScreen:
    """Shows what the guest sends from now on; ``received`` is all of it, as bytes."""

    def __init__(self, console: Console, columns: int, rows: int) -> None:
        self._console = console
        self._start = self._shown = len(console.log)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def received(self) -> bytes:
        return bytes(self._console.log[self._start :])

    def text(self) -> str:
        """The screen's lines, without the spaces at their ends."""
        new = bytes(self._console.log[self._shown :])
        self._shown += len(new)
        self._stream.feed(new)
        return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, keys: str) -> None:
        self._console.send_bytes(keys.encode())

    def until(self, met: Callable[[str], bool], timeout_s: float) -> str:
        """The screen, as soon as it is as it should be and the guest sends no more.

        :raises LabError: that does not come within ``timeout_s`` seconds, or what shows it ends; the message has the
            screen
        """
        deadline = time.monotonic() + timeout_s
        while self._console.read_block(_STEADY_S) or not met(self.text()):
            if time.monotonic() > deadline or "NX EXIT" in self.text():
                raise LabError(f"the screen never shows what it should:\n{self.text()}")
        return self.text()
