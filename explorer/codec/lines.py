"""A snapshot's JSON read a line at a time, as ``write_json`` lays it out: one record a line.

So the text is never there as one document of dictionaries beside the records made of it; of the large tables not even
the records are made before somebody asks (:mod:`.columns`). What is laid out in another way (by ``jq``, by hand) or is
wrong anywhere is left to the caller, who reads it whole and knows what to say of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
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
    table_and_row,
)

from .columns import Layout, TextTable, layout_of
from .version import check_version

__all__ = ("parse_lines",)

_FIRST = re.compile(rb'\{"schema_version":(\d{1,9}),')
_MEMBER = re.compile(rb'"(\w+)":(.+)', re.DOTALL)
_PLAIN = ("capture", "kernel", "log", "plugins")
#: The arrays of which a snapshot may have very many.
_LARGE = ("tasks", "fs_structs", "mounts")
#: A snapshot's distinct paths are few; text that pretends otherwise gets a record for each.
_MAX_SHARED = 100_000
#: Longer lines are left to the caller.
_MAX_LINE = 64 << 20
#: Of text, matched at once: what is found in it is there as objects for that time.
_REGION = 1 << 20


class _OtherLayoutError(Exception):
    """Not the text of ``write_json``."""


def parse_lines(chunks: Iterable[bytes]) -> Snapshot | None:
    """The snapshot; ``None`` for what has another layout, or is no snapshot of this version.

    :param chunks: the text, in pieces of any size; no more of it is held than a line, or a megabyte
    """
    lines = _Lines(iter(chunks))
    try:
        first = _FIRST.fullmatch(next(lines))
        if first is None:
            return None
        version = check_version(int(first[1]))
        with no_garbage_collection():
            values = _members(lines)
            _share_paths(values.get("fs_structs", []))
            return Snapshot.model_validate({"schema_version": version, **values})
    except (_OtherLayoutError, ValidationError, ValueError, RecursionError, StopIteration):
        return None


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

    def _more(self) -> bool:
        """More text, at least as much as is held: so no byte is copied more often than a few times."""
        pieces = [self._text[self._at :]]
        if len(pieces[0]) > _MAX_LINE:
            raise _OtherLayoutError
        wanted, size = max(_REGION, len(pieces[0])), 0
        while size < wanted and (chunk := next(self._chunks, None)) is not None:
            pieces.append(chunk)
            size += len(chunk)
        self._text, self._at = b"".join(pieces), 0
        return size > 0

    def region(self) -> bytes:
        """The next whole lines, each of which begins with ``{``; none before the line that ends the array.

        Nor is the array's last record among them: no comma is behind it, as it is behind all others.
        """
        while not self._text.startswith(b"]", self._at):
            end = self._text.find(b"}\n]", self._at)
            end = self._text.rfind(b"},\n", self._at, len(self._text) if end < 0 else end) + 3
            if end > self._at + 2:
                region, self._at = self._text[self._at : end], end
                return region
            if self._text.find(b"\n", self._at) >= 0 or not self._more():
                break
        return b""


def _members(lines: _Lines) -> dict[str, Any]:
    values: dict[str, Any] = {}
    more = True  # a comma stood before: another member must follow, else none may
    while True:
        line = next(lines)
        if line == b"}" and not more:
            break
        member = _MEMBER.fullmatch(line)
        name = member[1].decode() if member is not None else ""
        if member is None or not more or name in values:
            raise _OtherLayoutError
        if name in SNAPSHOT_ARRAYS and member[2] == b"[":
            values[name], more = _records(lines, name)
        elif name in _PLAIN:
            more = member[2].endswith(b",")
            values[name] = json.loads(member[2].removesuffix(b","))
        else:
            raise _OtherLayoutError
    if any(line.strip() for line in lines):
        raise _OtherLayoutError
    return values


def _records(lines: _Lines, array: str) -> tuple[list[Record], bool]:
    """An array's records, and whether a comma stands behind it."""
    record = SNAPSHOT_ARRAYS[array]
    loads, validate, set_slot = json.loads, record.model_validate, object.__setattr__
    every = set(record.model_fields)
    found, ahead = _deferred(lines, record) if array in _LARGE else ([], [])
    more: bool | None = bool(ahead) if found else None
    for line in chain(ahead, lines):
        if line in (b"]", b"],") and not more:
            return found, line == b"],"
        if more is False or not line.startswith(b"{"):
            raise _OtherLayoutError
        more = line.endswith(b",")
        made = validate(loads(line[:-1] if more else line))
        if len(made.model_fields_set) == len(every):
            set_slot(made, "__pydantic_fields_set__", every)  # a set for each would be half of the memory
        found.append(made)
    raise _OtherLayoutError


def _deferred(lines: _Lines, record: type[Record]) -> tuple[list[Record], list[bytes]]:
    """The records of an array, and a line that was read and is none of them: only where more follow.

    There are none where pydantic has to look at the model, and not the last one if that has another layout.
    """
    layout = layout_of(record)
    if layout is None:
        return [], []
    table = TextTable(layout)
    others: list[tuple[int, Record]] = []
    while region := lines.region():
        for text in _alike(region, layout):
            if not isinstance(text, bytes):
                table.add(text)
            elif text.startswith(b"{") and text.endswith(b",\n"):
                others.append((table.rows + len(others), record.model_validate(json.loads(text[:-2]))))
            else:
                raise _OtherLayoutError
    last = next(lines)
    match = layout.lines.fullmatch(last + b",")
    if match is not None:
        table.add([match.groups()])
    found: list[Record] = []
    rest = iter(defer_records(record, table, table.rows))
    for place, other in others:
        found += islice(rest, place - len(found))
        found.append(other)
    return [*found, *rest], [] if match is not None else [last]


def _alike(region: bytes, layout: Layout) -> Iterator[list[tuple[bytes, ...]] | bytes]:
    """Whole lines, taken apart, as many together as have the layout; a line that has another as it is."""
    pending = [region]
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


def _share_paths(fs_structs: list[FsStruct]) -> None:
    """One record for a path, however many hold it, as in a snapshot that was captured; in a table they are shared."""
    shared: dict[tuple[Any, ...], PathRef] = {}
    for fs in fs_structs:
        if table_and_row(fs) is not None:
            continue
        for member in ("root", "pwd"):
            path = fs.__dict__[member]
            if path is not None and len(shared) < _MAX_SHARED:
                fs.__dict__[member] = shared.setdefault(tuple(path.__dict__.values()), path)
