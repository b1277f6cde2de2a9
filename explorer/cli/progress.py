"""What a command says while it works."""

from __future__ import annotations

import sys
import time

from explorer.wire import Crashed, Progress, message_line

__all__ = ("ProgressLine",)

_PROGRESS_S = 0.05


class ProgressLine:
    """One line on stderr that says what is being done; nothing where stderr is no terminal.

    For the screen, which is no terminal either: ``progress<TAB>what<TAB>done<TAB>total``, a line each, not too often.
    """

    def __init__(self, lines: bool = False) -> None:
        self._lines = lines
        self._shown = sys.stderr.isatty()
        self._dirty = False
        self._last = ("", 0.0)

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._lines:
            self._write_line(what, done, total)
        if self._lines or not self._shown:
            return
        from explorer.model import escape_text

        text = escape_text(what)
        if total:
            text += f" {min(100, done * 100 // total)}%"
        elif done:
            text += f" {done}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
        self._dirty = True

    def _write_line(self, what: str, done: int, total: int | None) -> None:
        last, when = self._last
        now = time.monotonic()
        if what != last or done == total or now - when >= _PROGRESS_S:
            self._last = (what, now)
            sys.stderr.write(message_line(Progress(what, done, total)))
            sys.stderr.flush()

    def clear(self, crashed: str | None = None) -> None:
        """Take the line away before anything else is printed. :param crashed: signal that ended who showed it"""
        if crashed is not None and self._lines:
            sys.stderr.write(message_line(Crashed(crashed)))
        if self._dirty or (crashed is not None and self._shown and not self._lines):
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._dirty = False
