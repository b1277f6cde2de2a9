"""The app in a pseudo-terminal of its own, and whether that is left as it was found."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.signals import heed_signals

__all__ = ("PATIENCE_S", "PseudoTerminal", "modes_left")

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
#: Modes that are on in a terminal that nobody has touched: the cursor, and wrapping of lines.
_ON_AT_FIRST = {"25", "7"}
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])")
_KITTY = re.compile(rb"\x1b\[(>[0-9]*|<[0-9]*)u")
_POINTER = re.compile(rb"\x1b\]22;([a-z-]*)\x07")
_COLOURS = re.compile(rb"\x1b\[([0-9;]*)m")


def modes_left(received: bytes) -> list[str]:
    """In words, what is different in a terminal after it has received this; nothing, if all is as it was."""
    modes: dict[str, bool] = {}
    for numbers, how in _MODE.findall(received):
        for number in numbers.decode().split(";"):
            modes[number] = how == b"h"
    left = [
        f"mode {number} {'on' if on else 'off'}"
        for number, on in modes.items()
        if on != (number in _ON_AT_FIRST)
    ]
    depth = sum(1 if what.startswith(b">") else -1 for what in _KITTY.findall(received))
    if depth:
        left.append(f"kitty keyboard protocol {depth} deep")
    for what, pattern, plain in (("pointer", _POINTER, (b"default",)), ("colours", _COLOURS, (b"0", b""))):
        found = pattern.findall(received)
        if found and found[-1] not in plain:
            left.append(f"{what} {found[-1].decode()}")
    return left


class PseudoTerminal:
    """The side of the terminal. It holds the app's side open, too, to see what state that is in."""

    def __init__(
        self,
        home: Path,
        *args: str,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] | None = None,
        python: tuple[str, ...] = ("-m", "explorer"),
        stderr: int | None = None,
        ignored: tuple[signal.Signals, ...] = (),
    ) -> None:
        """:param ignored: signals that the app is started with ignored, as nohup does"""
        self.received = b""
        self.master, self._own = os.openpty()
        self.resize(*size)
        self.before = self.attributes()
        os.set_blocking(self.master, False)

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            heed_signals()
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, *python, *args],
            stdin=self._own,
            stdout=self._own,
            stderr=self._own if stderr is None else stderr,
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "XDG_CONFIG_HOME": str(home),
                "HOME": str(home),
                "PYTHONPATH": str(ROOT),
                "COLUMNS": "",
                "LINES": "",
                **(environment or {}),
            },
            cwd=home,
            preexec_fn=prepare,
        )

    def attributes(self) -> list[Any]:
        """As termios has them."""
        return termios.tcgetattr(self._own)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float) -> None:
        """Read what comes in so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                self.received += os.read(self.master, 1 << 16)

    def takes_more(self) -> bool:
        """Whether what the app draws still has room, or would wait for somebody to read."""
        return bool(select.select([], [self._own], [], 0)[1])

    def until(self, sign: bytes, start: int | None = None) -> None:
        """Read until the terminal has been sent a text since now, or since the place ``start``."""
        start, deadline = len(self.received) if start is None else start, time.monotonic() + PATIENCE_S
        while sign not in self.received[start:]:
            assert self.process.poll() is None, self.received[-2000:]
            assert time.monotonic() < deadline, (sign, self.received[start:][-2000:])
            self.read(0.05)

    def send(self, data: bytes, meanwhile: Callable[[], None] | None = None) -> None:
        """All of it, while reading what the app draws meanwhile: a terminal does not wait for one to do the other.

        :param meanwhile: called where the app takes nothing for a while: it may have been stopped by what it took
        """
        deadline = time.monotonic() + PATIENCE_S
        while data and self.process.poll() is None:
            assert time.monotonic() < deadline, "the app takes no input"
            readable, writable, _ = select.select([self.master], [self.master], [], 0.1)
            if readable:
                self.received += os.read(self.master, 1 << 16)
            elif not writable and meanwhile is not None:
                meanwhile()
            if writable:
                data = data[os.write(self.master, data[:1024]) :]
                deadline = time.monotonic() + PATIENCE_S  # it takes some, however slowly

    def ended(self, seconds: float = PATIENCE_S) -> int:
        """The exit code, as soon as it has ended, after all that it still sent has been read."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, ("the app does not end", self.received[-2000:])
            self.read(0.02)
        self.read(0.05)
        return self.process.returncode

    def differences(self) -> list[str]:
        """In words, what of the terminal is not as it was found."""
        now = self.attributes()
        return modes_left(self.received) + [
            f"attributes {number}: {was} is {is_now}"
            for number, (was, is_now) in enumerate(zip(self.before, now, strict=True))
            if was != is_now
        ]

    def hang_up(self) -> None:
        """The terminal is gone, as when its window is closed."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        """Whatever came of it: nothing of the app is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self.master, self._own):
            if descriptor >= 0:
                os.close(descriptor)
