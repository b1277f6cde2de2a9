"""One page of the kernel's ring buffer, as ``trace_pipe_raw`` gives it.

Mirrors include/linux/ring_buffer.h and ``ring_buffer_read_page()`` in kernel/trace/ring_buffer.c: a page has the time
of its first event, how many bytes of events it has, and with that count two bits: events were lost before it, and how
many stands behind the last event. An event is a word of a length (5 bits) and the time since the one before (27
bits), then its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ("DamagedPageError", "Page", "read_page")

_COMMIT = (1 << 27) - 1
_MISSED, _MISSED_STORED = 1 << 31, 1 << 30
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_DELTA_BITS = 27
#: The upper bits of a time, which an absolute stamp has no room for.
_STAMP_BITS = 59
_WORD = 4


class DamagedPageError(Exception):
    """A page is not one of a ring buffer; the message is one line."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page holds."""

    events: list[tuple[int, bytes]]
    """The trace clock's nanoseconds, and the event from its ``common_type`` on."""
    missed: int | None
    """Events that were overwritten before the first of these; ``None``: some, and how many is not known."""


def read_page(page: bytes, commit_size: int, data_at: int) -> Page:
    """:param commit_size: size of the count of bytes
    :param data_at: where events begin
    :raises DamagedPageError: if lengths in it do not fit
    """
    if len(page) < data_at:
        raise DamagedPageError("a page of the ring buffer is cut off")
    commit = int.from_bytes(page[8 : 8 + commit_size], "little")
    end = data_at + (commit & _COMMIT)
    if end > len(page):
        raise DamagedPageError("a page of the ring buffer says that it has more than it has")
    missed: int | None = 0
    if commit & _MISSED:
        stored = page[end : end + commit_size] if commit & _MISSED_STORED else b""
        missed = int.from_bytes(stored, "little") if len(stored) == commit_size else None
    return Page(list(_events(page, data_at, end, int.from_bytes(page[:8], "little"))), missed)


def _events(page: bytes, at: int, end: int, time: int) -> Iterator[tuple[int, bytes]]:
    while at + _WORD <= end:
        word = int.from_bytes(page[at : at + _WORD], "little")
        kind, delta = word & 0x1F, word >> 5
        at += _WORD
        if kind == _PADDING and not delta:
            return  # nothing more on this page
        if kind == 0 or kind >= _PADDING:
            if at + _WORD > end:
                raise DamagedPageError("an event of the ring buffer is cut off")
            first = int.from_bytes(page[at : at + _WORD], "little")
        if kind == _TIME_STAMP:
            time = (time >> _STAMP_BITS << _STAMP_BITS) | first << _DELTA_BITS | delta
            at += _WORD
            continue
        if kind == _TIME_EXTEND:
            time += (first << _DELTA_BITS) + delta
            at += _WORD
            continue
        time += delta
        if kind == _PADDING:  # an event that was taken back
            at += _whole(first)
            continue
        begin, length = (at + _WORD, first - _WORD) if kind == 0 else (at, kind * _WORD)
        if length < 0 or begin + length > end:
            raise DamagedPageError("an event of the ring buffer is longer than its page")
        yield time, page[begin : begin + length]
        at = begin + _whole(length)


def _whole(length: int) -> int:
    """In words, and at least one, so that whoever walks gets on."""
    return max(length + _WORD - 1 & -_WORD, _WORD)
