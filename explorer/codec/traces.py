"""Traces as JSON Lines, and back: the header, a line for each lookup as soon as it ended, and the end.

Each line is an object of one member, which says what it is. A trace that was killed has no end, and no half line.
A file may be compressed; one whose compression is cut off is a trace that was cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from explorer.compression import Damaged, Method, plain_chunks, sniff_method
from explorer.files import NotRegularError, open_regular
from explorer.model import TRACE_VERSION, Lookup, Record, Trace, TraceEnd, TraceHeader

from .beginnings import TRACE_BEGINS, is_trace
from .encode import encode_value
from .version import validation_words

__all__ = ("TraceError", "decode_trace_line", "encode_trace_line", "load_trace", "read_trace")

#: A path of 4,096 bytes, all of them escaped, and a stack of some hundred frames.
_MAX_LINE = 1 << 20
_MAX_LOOKUPS = 10_000_000
_READ = 1 << 20
_MAGIC_BYTES = 16
#: Lookups that are all alike compress by a hundred. Beyond so much, what holds more than so many times its own size is
#: no trace.
_BOMB_SIZE, _BOMB_RATIO = 64 << 20, 400
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
    return _header(line, where) if line.startswith(TRACE_BEGINS) else _record(line, where)


def load_trace(path: Path) -> Trace:
    """Read the file, compressed or not. :raises TraceError: if it cannot be read, or is no trace"""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return read_trace(file, str(path))
    except NotRegularError as error:
        raise TraceError(f"{path} is {error}, not a trace") from error
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error


def read_trace(file: BinaryIO, name: str) -> Trace:
    """A trace, whole or cut off: a last line that is not whole is left out, as it was being written.

    :param file: one that can be sought in
    :raises TraceError: if this is no trace, or one of its lines is damaged
    """
    method = sniff_method(file.read(_MAGIC_BYTES))
    file.seek(0)
    lines = _lines(_chunks(file) if method is None else _unpacked(file, method, name), name)
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


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_READ):
        yield chunk


def _unpacked(file: BinaryIO, method: Method, name: str) -> Iterator[bytes]:
    """What is in it, up to where it is cut off. :raises TraceError: if it is damaged, or a bomb"""
    left = max(_BOMB_SIZE, os.fstat(file.fileno()).st_size * _BOMB_RATIO)
    try:
        for chunk in plain_chunks(file, method):
            left -= len(chunk)
            if left < 0:
                raise TraceError(f"{name} holds more than a trace of its size can: it is none")
            yield chunk
    except EOFError:
        return
    except Damaged as error:
        raise TraceError(f"{name} is damaged: {error}") from error
    except MemoryError as error:
        raise TraceError(f"{name}: {error}") from error


def _lines(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Those that are whole, with their ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in (*whole, rest):
            if len(line) >= _MAX_LINE:
                raise TraceError(f"{name} has a line of more than {_MAX_LINE >> 20} MiB: it is no trace")
        for line in whole:
            yield line + b"\n"


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
