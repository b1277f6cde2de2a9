"""What a terminal sends, byte by byte, as Textual's events. Nothing it may send is an error.

Textual decodes strictly, hands its parser everything, and ends the app when either of them raises.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Final

from textual import events
from textual._xterm_parser import XTermParser
from textual.message import Message

from .pastes import BEGIN, Paste, open_end

__all__ = ("Keyboard",)

#: What begins a mouse report of the oldest kind: three bytes follow, and they are no UTF-8
#: (ctlseqs, "Normal tracking mode").
_X10: Final = b"\x1b[M"
_X10_BYTES = 3
#: Of a report nothing but its length matters; a line break would be in the parser's way, an escape begins something.
_NO_CONTROL = {byte: " " for byte in range(0x20) if byte != 0x1B}
_SEQUENCES = re.compile(r"(?=\x1b)")


class _Decoder:
    """UTF-8, with a replacement character for what is none; mouse reports by their bytes."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._tail = b""
        self._raw = 0
        """How many bytes of a mouse report are still to come."""

    def decode(self, data: bytes) -> str:
        found: list[str] = []
        while data:
            if self._raw:
                report, data = data[: self._raw], data[self._raw :]
                self._raw -= len(report)
                found.append(report.decode("latin-1").translate(_NO_CONTROL))
                continue
            seen = self._tail + data
            at = seen.find(_X10)
            if at < 0:
                self._tail = seen[1 - len(_X10) :]
                found.append(self._decode(data))
                break
            end = at + len(_X10) - len(self._tail)
            found.append(self._decode(data[:end]))
            data, self._tail, self._raw = data[end:], b"", _X10_BYTES
        return "".join(found)


class Keyboard:
    """Keys, mouse and pastes, from bytes."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._decoder = _Decoder()
        self._parser = XTermParser(debug)
        self._tail = ""
        """What may be the begin of a paste's begin; the parser has it already."""
        self._paste: Paste | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether :meth:`tick` is wanted soon."""
        return self._paste is not None and self._paste.is_waiting

    def feed(self, data: bytes, now: float) -> Iterator[Message]:
        """What the terminal has sent."""
        text = self._decoder.decode(data)
        if self._paste is not None and self._paste.is_over(now):
            yield from self._end_paste(now)
        yield from self._take(text, now)

    def tick(self, now: float) -> Iterator[Message]:
        """Nothing was sent for a moment: what that says."""
        if self._paste is not None and self._paste.is_over(now):
            yield from self._end_paste(now)
        yield from self._parse("")

    def _take(self, text: str, now: float) -> Iterator[Message]:
        if self._paste is not None:
            self._paste.add(text, now)
            return
        before, begin, after = (self._tail + text).partition(BEGIN)
        if not begin:
            seen = self._tail + text
            self._tail = seen[len(seen) - open_end(seen, BEGIN) :]
            yield from self._parse(text)
            return
        yield from self._parse(before[len(self._tail) :])
        self._tail = ""
        self._renew_parser()  # it may have part of the begin, and would take what follows for more of it
        self._paste = Paste(now)
        self._paste.add(after, now)

    def _end_paste(self, now: float) -> Iterator[Message]:
        assert self._paste is not None
        text, after = self._paste.finish()
        self._paste = None
        yield events.Paste(text)
        yield from self._take(after, now)

    def _parse(self, text: str) -> Iterator[Message]:
        """Sequence by sequence: one that cannot be parsed (a code point that is none, a size of 0) is no key."""
        for sequence in _SEQUENCES.split(text):
            try:
                # For the parser, nothing at all would be the end of the input.
                yield from self._parser.feed(sequence) if sequence else self._parser.tick()
            except (ValueError, ArithmeticError, LookupError):
                self._renew_parser()

    def _renew_parser(self) -> None:
        old, self._parser = self._parser, XTermParser(self._debug)
        for name in ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size"):
            setattr(self._parser, name, getattr(old, name))
