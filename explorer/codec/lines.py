"""A snapshot's JSON read a line at a time, as ``write_json`` lays it out: one record a line.

So the text is never there as one document of dictionaries beside the records made of it. What is laid out in another
way (by ``jq``, by hand) or is wrong anywhere is left to the caller, who reads it whole and knows what to say of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from explorer.model import SNAPSHOT_ARRAYS, FsStruct, PathRef, Record, Snapshot, no_garbage_collection

from .version import check_version

__all__ = ("parse_lines",)

_FIRST = re.compile(rb'\{"schema_version":(\d{1,9}),')
_MEMBER = re.compile(rb'"(\w+)":(.+)', re.DOTALL)
_PLAIN = ("capture", "kernel", "log", "plugins")
#: A snapshot's distinct paths are few; text that pretends otherwise gets a record for each.
_MAX_SHARED = 100_000


class _OtherLayoutError(Exception):
    """Not the text of ``write_json``."""


def parse_lines(data: bytes) -> Snapshot | None:
    """The snapshot; ``None`` for what has another layout, or is no snapshot of this version."""
    first = _FIRST.match(data)
    if first is None:
        return None
    try:
        version = check_version(int(first[1]))
        with no_garbage_collection():
            values = _members(_lines(data, first.end()))
            _share_paths(values.get("fs_structs", []))
            return Snapshot.model_validate({"schema_version": version, **values})
    except (_OtherLayoutError, ValidationError, ValueError, RecursionError, StopIteration):
        return None


def _lines(data: bytes, at: int) -> Iterator[bytes]:
    """Behind the first line, which ends at ``at``: a copy of one line at a time."""
    if data[at : at + 1] != b"\n":
        raise _OtherLayoutError
    at += 1
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        yield data[at:end]
        at = end + 1


def _members(lines: Iterator[bytes]) -> dict[str, Any]:
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
            values[name], more = _records(lines, SNAPSHOT_ARRAYS[name])
        elif name in _PLAIN:
            more = member[2].endswith(b",")
            values[name] = json.loads(member[2].removesuffix(b","))
        else:
            raise _OtherLayoutError
    if any(line.strip() for line in lines):
        raise _OtherLayoutError
    return values


def _records(lines: Iterator[bytes], record: type[Record]) -> tuple[list[Record], bool]:
    """An array's records, and whether a comma stands behind it."""
    loads, validate, set_slot = json.loads, record.model_validate, object.__setattr__
    every = set(record.model_fields)
    found: list[Record] = []
    more: bool | None = None
    while True:
        line = next(lines)
        if line in (b"]", b"],") and not more:
            return found, line == b"],"
        if more is False or not line.startswith(b"{"):
            raise _OtherLayoutError
        more = line.endswith(b",")
        made = validate(loads(line[:-1] if more else line))
        if len(made.model_fields_set) == len(every):
            set_slot(made, "__pydantic_fields_set__", every)  # a set for each would be half of the memory
        found.append(made)


def _share_paths(fs_structs: list[FsStruct]) -> None:
    """One record for a path, however many hold it, as in a snapshot that was captured."""
    shared: dict[tuple[Any, ...], PathRef] = {}
    for fs in fs_structs:
        for member in ("root", "pwd"):
            path = fs.__dict__[member]
            if path is not None and len(shared) < _MAX_SHARED:
                fs.__dict__[member] = shared.setdefault(tuple(path.__dict__.values()), path)
