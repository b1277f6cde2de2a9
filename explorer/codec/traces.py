"""Traces as JSON Lines, and back: the header, a line for each lookup as soon as it ended, and the end.

Each line is an object of one member, which says what it is. A trace that was killed has no end, and no half line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from explorer.files import NotRegularError, open_regular
from explorer.model import TRACE_FORMAT, TRACE_VERSION, Lookup, Record, Trace, TraceEnd, TraceHeader

from .encode import encode_value
from .version import validation_words

__all__ = ("TraceError", "decode_trace_line", "encode_trace_line", "is_trace", "load_trace", "read_trace")

#: A path of 4,096 bytes, all of them escaped, and a stack of some hundred frames.
_MAX_LINE = 1 << 20
_MAX_LOOKUPS = 10_000_000
_FIRST = b'{"header":'
_MEMBERS: dict[type[Record], str] = {TraceHeader: "header", Lookup: "lookup", TraceEnd: "end"}


_RecordT = TypeVar("_RecordT", bound=Record)


class TraceError(Exception):
    """A file is no trace that this version can read; the message is one line that says why."""


def encode_trace_line(record: TraceHeader | Lookup | TraceEnd) -> bytes:
    """One line, ASCII only, with its newline."""
    document = {_MEMBERS[type(record)]: record.model_dump(mode="json")}
    return encode_value(document).encode() + b"\n"


def decode_trace_line(line: bytes, where: str) -> TraceHeader | Lookup | TraceEnd:
    """One line, as it comes. :param where: what to call it. :raises TraceError: if it is none of a trace"""
    return _header(line, where) if line.startswith(_FIRST) else _record(line, where)


def is_trace(beginning: bytes) -> bool:
    """Whether a file that begins so is meant to be a trace: its first line is a header of this format."""
    return beginning.startswith(_FIRST) and f'"format":"{TRACE_FORMAT}"'.encode() in beginning[:200]


def load_trace(path: Path) -> Trace:
    """Read the file. :raises TraceError: if it cannot be read, or is no trace"""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return read_trace(file, str(path))
    except NotRegularError as error:
        raise TraceError(f"{path} is {error}, not a trace") from error
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error


def read_trace(file: BinaryIO, name: str) -> Trace:
    """A trace, whole or cut off: a last line that is not whole is left out, as it was being written.

    :raises TraceError: if this is no trace, or one of its lines is damaged
    """
    lines = _lines(file, name)
    header = _header(next(lines, b""), name)
    lookups: list[Lookup] = []
    for number, line in enumerate(lines, 2):
        record = _record(line, f"{name}, line {number}")
        if isinstance(record, TraceEnd):
            return Trace(header=header, lookups=lookups, end=record)
        if len(lookups) == _MAX_LOOKUPS:
            raise TraceError(f"{name} has more than {_MAX_LOOKUPS:,} lookups: cut it")
        lookups.append(record)
    return Trace(header=header, lookups=lookups, end=None)


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise TraceError(f"{name} has a line of more than {_MAX_LINE >> 20} MiB: it is no trace")
        if line.endswith(b"\n"):
            yield line


def _header(line: bytes, name: str) -> TraceHeader:
    if not is_trace(line):
        raise TraceError(
            f"{name} is no trace: its first line is not the header of one (trace -o writes them)"
        )
    document = _document(line, name)["header"]
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or not 1 <= version <= TRACE_VERSION:
        raise TraceError(
            f"{name} is a trace of version {version!s:.20}; this version reads up to {TRACE_VERSION}"
        )
    return _validated(TraceHeader, document, name)


def _record(line: bytes, where: str) -> Lookup | TraceEnd:
    document = _document(line, where)
    if "lookup" in document:
        return _validated(Lookup, document["lookup"], where)
    if "end" in document:
        return _validated(TraceEnd, document["end"], where)
    raise TraceError(f"{where}: neither a lookup nor the end of a trace")


def _document(line: bytes, where: str) -> dict[str, object]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{where}: not JSON: {str(error)[:100]}") from error
    if not isinstance(document, dict):
        raise TraceError(f"{where}: no JSON object")
    return document


def _validated(record: type[_RecordT], document: object, where: str) -> _RecordT:
    try:
        return record.model_validate(document)
    except ValidationError as error:
        raise TraceError(f"{where}: {validation_words(error)}") from error
