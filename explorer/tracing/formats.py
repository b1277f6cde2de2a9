"""What the kernel says of the layout of its events: the ``format`` file of each, as tracefs has it.

Mirrors ``f_show()`` in kernel/trace/trace_events.c, which writes these files, and ``__data_loc``, by which an event
holds a string of any length: where in the event it begins, and how long it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ("EventFormat", "Field", "FormatError", "parse_event_format", "parse_page_header")

_FIELD = re.compile(
    r"^\tfield:(?P<declaration>[^;]{1,200});\s*offset:(?P<offset>\d{1,6});\s*size:(?P<size>\d{1,6});"
    r"\s*signed:(?P<signed>[01]);$",
    re.MULTILINE,
)
_PAGE_FIELD = re.compile(
    r"^\tfield:[^;]*\b(?P<name>\w+);\s*offset:(?P<offset>\d{1,6});\s*size:(?P<size>\d{1,6});", re.MULTILINE
)
_NAME = re.compile(r"(\w+)(\[\d*\])?$")
_ID = re.compile(r"^ID: (\d{1,6})$", re.MULTILINE)


class FormatError(Exception):
    """A format file says something that this program does not understand; the message is one line."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where in an event a value is."""

    offset: int
    size: int
    signed: bool
    is_located: bool
    """``__data_loc``: the value is 16 bits of length above 16 bits of offset."""

    def integer(self, event: bytes) -> int | None:
        """``None`` if the event is shorter than that."""
        if self.offset + self.size > len(event):
            return None
        return int.from_bytes(event[self.offset : self.offset + self.size], "little", signed=self.signed)

    def raw(self, event: bytes) -> bytes | None:
        """As it is, of an array; ``None`` if the event is shorter than that."""
        return event[self.offset : self.offset + self.size] if self.offset + self.size <= len(event) else None

    def text(self, event: bytes) -> bytes | None:
        """What a located string holds, up to its NUL; ``None`` if it would not lie within the event.

        A NUL that is missing means that the string was longer than the kernel copies.
        """
        where = self.integer(event)
        if where is None or not self.is_located:
            return None
        where &= 0xFFFFFFFF
        begin, length = where & 0xFFFF, where >> 16
        if begin + length > len(event):
            return None
        return event[begin : begin + length].split(b"\0", 1)[0]


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One event of the kernel's."""

    id: int
    """What ``common_type`` of such an event is."""
    fields: Mapping[str, Field]


def parse_event_format(text: str) -> EventFormat:
    """:raises FormatError: if it has no id, or no ``common_type`` and ``common_pid``"""
    number = _ID.search(text)
    fields: dict[str, Field] = {}
    for match in _FIELD.finditer(text):
        declaration = match["declaration"]
        name = _NAME.search(declaration)
        if name is not None:
            fields[name[1]] = Field(
                offset=int(match["offset"]),
                size=int(match["size"]),
                signed=match["signed"] == "1",
                is_located=declaration.startswith("__data_loc"),
            )
    if number is None or not {"common_type", "common_pid"} <= fields.keys():
        raise FormatError("the format of an event has no id, no common_type or no common_pid")
    return EventFormat(int(number[1]), fields)


def parse_page_header(text: str) -> tuple[int, int]:
    """Of ``events/header_page``: the size of the count of bytes in a page, and where its events begin.

    :raises FormatError: if these are not there
    """
    found = {
        match["name"]: (int(match["offset"]), int(match["size"])) for match in _PAGE_FIELD.finditer(text)
    }
    if not {"timestamp", "commit", "data"} <= found.keys() or found["timestamp"] != (0, 8):
        raise FormatError("events/header_page has no timestamp, commit and data")
    commit, data = found["commit"], found["data"]
    if commit[0] != 8 or commit[1] not in (4, 8) or data[0] != 8 + commit[1]:
        raise FormatError("events/header_page describes a layout that is not known")
    return commit[1], data[0]
