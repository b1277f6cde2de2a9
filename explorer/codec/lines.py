"""A snapshot's JSON read a line at a time, as ``write_json`` lays it out: one record a line.

So the text is never there as one document of dictionaries beside the records made of it; of the large tables not even
the records are made before somebody asks (:mod:`.columns`). What is laid out in another way (by ``jq``, by hand) or is
wrong anywhere is left to the caller, who reads it whole and knows what to say of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from pydantic import ValidationError

from explorer.model import (
    SNAPSHOT_ARRAYS,
    FsStruct,
    PathRef,
    Record,
    Snapshot,
    defer_records,
    no_garbage_collection,
)

from .columns import Layout, TextTable, layout_of
from .version import check_version

__all__ = ("ArrayText", "Member", "OtherLayoutError", "parse_lines", "put_together", "take_apart")

_FIRST = re.compile(rb'\{"schema_version":(\d{1,9}),')
_MEMBER = re.compile(rb'"(\w+)":(.+)', re.DOTALL)
_PLAIN = ("capture", "kernel", "log", "plugins")
#: The arrays of which a snapshot may have very many.
_LARGE = ("tasks", "fs_structs", "mounts")
#: A snapshot's distinct paths are few; text that pretends otherwise gets a record for each.
_MAX_SHARED = 100_000
#: Longer lines are left to the caller.
_MAX_LINE = 64 << 20
#: Of text, read at once.
_READ = 1 << 20
#: And matched at once: what is found in it is there as objects for that time, as near as the processor can have it.
_REGION = 1 << 17


class OtherLayoutError(Exception):
    """Not the text of ``write_json``."""


@dataclass
class ArrayText:
    """The lines of an array: those that have its layout in a table, the others as they are, each with its place."""

    table: TextTable | None
    """``None`` for records that have no layout, or may not be very many."""
    others: list[tuple[int, bytes]] = field(default_factory=list)

    def records(self, record: type[Record]) -> list[Any]:
        """Records; of an array without a table what they are made of, which is not many.

        :raises ValidationError: for a line that is no such record
        """
        table = self.table
        if table is None:
            return [json.loads(line) for _, line in self.others]
        found: list[Record] = []
        rest = iter(defer_records(record, table, table.rows))
        every = set(record.model_fields)
        paths: dict[tuple[Any, ...], PathRef] = {}
        for place, line in self.others:
            made = record.model_validate(json.loads(line))
            if len(made.model_fields_set) == len(every):
                # A set for each would be half of the memory.
                object.__setattr__(made, "__pydantic_fields_set__", every)
            if isinstance(made, FsStruct):
                _share_paths(made, paths)
            found += islice(rest, place - len(found))
            found.append(made)
        return [*found, *rest]


#: By name, a member's JSON, or the lines of an array.
Member = tuple[str, bytes | ArrayText]


def parse_lines(chunks: Iterable[bytes]) -> Snapshot | None:
    """The snapshot; ``None`` for what has another layout, or is no snapshot of this version.

    :param chunks: as for :func:`take_apart`
    """
    return put_together(take_apart(chunks))


def put_together(members: Iterable[Member]) -> Snapshot | None:
    """:func:`parse_lines` of what :func:`take_apart` gives, each as it comes."""
    try:
        with no_garbage_collection():
            values = {
                name: text.records(SNAPSHOT_ARRAYS[name]) if isinstance(text, ArrayText) else json.loads(text)
                for name, text in members
            }
            return Snapshot.model_validate(values)
    except (OtherLayoutError, ValidationError, ValueError, RecursionError):
        return None


def take_apart(chunks: Iterable[bytes]) -> Iterator[Member]:
    """The members of the text of ``write_json``: no record of the model is made, and only at the end it is sure that
    it is such a text, to its end.

    :param chunks: the text, in pieces of any size; no more of it is held than a line, or a megabyte or two

    :raises OtherLayoutError: for another text
    :raises VersionError: for that of a newer version
    """
    lines = _Lines(iter(chunks))
    first = _FIRST.fullmatch(lines.take())
    if first is None:
        raise OtherLayoutError
    check_version(int(first[1]))
    yield "schema_version", first[1]
    yield from _members(lines)


class _Lines:
    """Takes text in pieces, gives lines; or all whole lines that are there, up to the end of an array."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._text = b""
        self._at = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        end = self._text.find(b"\n", self._at)
        while end < 0:
            if not self._more():
                if self._at == len(self._text):
                    raise StopIteration
                end = len(self._text)
                break
            end = self._text.find(b"\n", self._at)
        line = self._text[self._at : end]
        self._at = min(end + 1, len(self._text))
        return line

    def take(self) -> bytes:
        """One that has to be there. :raises OtherLayoutError: at the end"""
        line = next(self, None)
        if line is None:
            raise OtherLayoutError
        return line

    def _more(self) -> bool:
        """More text, at least as much as is held: so no byte is copied more often than a few times."""
        pieces = [self._text[self._at :]]
        if len(pieces[0]) > _MAX_LINE:
            raise OtherLayoutError
        wanted, size = max(_READ, len(pieces[0])), 0
        while size < wanted and (chunk := next(self._chunks, None)) is not None:
            pieces.append(chunk)
            size += len(chunk)
        self._text, self._at = b"".join(pieces), 0
        return size > 0

    def alike(self, layout: Layout) -> Iterator[list[tuple[bytes, ...]] | bytes]:
        """Whole lines, taken apart, as many together as have the layout; a line that has another as it is. Up to the
        line that ends the array.

        The array's last record is not among them: no comma is behind it, as it is behind all others.
        """
        while not self._text.startswith(b"]", self._at):
            end = self._text.rfind(b"},\n", self._at, self._at + _REGION) + 3
            if end < self._at + 3:
                end = self._text.find(b"},\n", self._at) + 3  # a line that is longer
            rows = layout.lines.findall(self._text, self._at, end)
            are_alike = len(rows) == self._text.count(b"\n", self._at, end)
            if not are_alike and (last := self._text.find(b"}\n]", self._at, end)) >= 0:
                end = self._text.rfind(b"},\n", self._at, last) + 3
            if end > self._at + 2:
                start, self._at = self._at, end
                if are_alike:
                    yield rows
                else:
                    yield from _parts(self._text[start:end], layout)
            elif self._text.find(b"\n", self._at) >= 0 or not self._more():
                return


def _parts(text: bytes, layout: Layout) -> Iterator[list[tuple[bytes, ...]] | bytes]:
    """Of whole lines that are not all alike: as :meth:`_Lines.alike` gives them."""
    pending = [text]
    while pending:
        text = pending.pop()
        rows, count = layout.lines.findall(text), text.count(b"\n")
        if len(rows) == count:
            yield rows
        elif count == 1:
            yield text
        else:
            half = text.find(b"\n", len(text) // 2, -1) + 1 or text.find(b"\n") + 1
            pending += text[half:], text[:half]


def _members(lines: _Lines) -> Iterator[Member]:
    found: set[str] = set()
    more = True  # a comma stood before: another member must follow, else none may
    while True:
        line = lines.take()
        if line == b"}" and not more:
            break
        member = _MEMBER.fullmatch(line)
        name = member[1].decode() if member is not None else ""
        if member is None or not more or name in found:
            raise OtherLayoutError
        found.add(name)
        if name in SNAPSHOT_ARRAYS and member[2] == b"[":
            array, more = _array(lines, name)
            yield name, array
        elif name in _PLAIN:
            more = member[2].endswith(b",")
            yield name, member[2].removesuffix(b",")
        else:
            raise OtherLayoutError
    if any(line.strip() for line in lines):
        raise OtherLayoutError


def _array(lines: _Lines, name: str) -> tuple[ArrayText, bool]:
    """An array's lines, and whether a comma stands behind it."""
    layout = layout_of(SNAPSHOT_ARRAYS[name]) if name in _LARGE else None
    found = ArrayText(None if layout is None else TextTable(layout))
    ahead = [] if found.table is None else _fill(lines, found.table, found.others)
    count = len(found.others) + (0 if found.table is None else found.table.rows)
    more: bool | None = bool(ahead) if count else None
    for line in chain(ahead, lines):
        if line in (b"]", b"],") and not more:
            return found, line == b"],"
        if more is False or not line.startswith(b"{"):
            raise OtherLayoutError
        more = line.endswith(b",")
        found.others.append((count, line[:-1] if more else line))
        count += 1
    raise OtherLayoutError


def _fill(lines: _Lines, table: TextTable, others: list[tuple[int, bytes]]) -> list[bytes]:
    """The lines of an array, to its last: that one is given back where it has another layout."""
    for text in lines.alike(table.layout):
        if not isinstance(text, bytes):
            table.add(text)
        elif text.startswith(b"{") and text.endswith(b",\n"):
            others.append((table.rows + len(others), text[:-2]))
        else:
            raise OtherLayoutError
    last = lines.take()
    match = table.layout.lines.fullmatch(last + b",")
    if match is None:
        return [last]
    table.add([match.groups()])
    return []


def _share_paths(fs: FsStruct, known: dict[tuple[Any, ...], PathRef]) -> None:
    """One record for a path, however many hold it, as in a snapshot that was captured; in a table they are shared."""
    for member in ("root", "pwd"):
        path = fs.__dict__[member]
        if path is not None and len(known) < _MAX_SHARED:
            fs.__dict__[member] = known.setdefault(tuple(path.__dict__.values()), path)
