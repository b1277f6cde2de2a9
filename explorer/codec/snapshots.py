"""Snapshots as JSON and JSON Lines, and back.

Text that is not UTF-8 is written as the lone surrogates that it is in the model (``"\\udcff"`` for the byte
0xff): plain JSON, lossless, and what Python's ``json`` gives back. Everything outside ASCII is escaped, so
that no reader's terminal is at the mercy of a task's name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from explorer.compression import Damaged, plain_chunks, sniff_method
from explorer.model import SNAPSHOT_ARRAYS, ColumnTable, Record, Snapshot, table_and_rows

from .columns import TextTable
from .encode import RecordEncoder, encode_value
from .facts import check_facts
from .lines import Member, parse_lines, put_together, take_apart
from .version import NoVersionError, VersionError, check_version, validation_words

__all__ = (
    "SnapshotError",
    "line_type",
    "load_quickly",
    "load_snapshot",
    "parse_snapshot",
    "snapshot_schema",
    "write_json",
    "write_jsonl",
)

#: Nobody has 1 GiB of snapshot: 100,000 tasks are about 60 MB. A bomb has.
_MAX_JSON = 1 << 30
#: A snapshot is a twentieth of itself when compressed. Beyond so much, a file that holds more than so many times its
#: own size is none.
_BOMB_SIZE, _BOMB_RATIO = 16 << 20, 400
_READ = 1 << 20
_MAGIC_BYTES = 16
_CHUNK = 512


class SnapshotError(Exception):
    """A file is no snapshot this version can read; the message is one line that says why."""


def write_json(snapshot: Snapshot, out: BinaryIO) -> None:
    """One JSON document, one record a line: made for ``diff`` and ``grep`` as much as for parsers."""
    out.write(f'{{"schema_version":{snapshot.schema_version}'.encode())
    for name in ("capture", "kernel"):
        out.write(f',\n"{name}":{encode_value(getattr(snapshot, name).model_dump(mode="json"))}'.encode())
    encoder = RecordEncoder()
    for name in SNAPSHOT_ARRAYS:
        out.write(f',\n"{name}":['.encode())
        for index, lines in enumerate(_lines(getattr(snapshot, name), encoder)):
            out.write(("," if index else "").encode() + b"\n" + ",\n".join(lines).encode())
        out.write(b"\n]")
    out.write(f',\n"log":{encode_value(snapshot.log)}'.encode())
    out.write(f',\n"plugins":{encode_value(snapshot.plugins)}\n}}\n'.encode())


def _lines(records: Sequence[Record], encoder: RecordEncoder) -> Iterator[list[str]]:
    """The records as text, some hundreds at a time: never all of it is held."""
    for start in range(0, len(records), _CHUNK):
        some = records[start : start + _CHUNK]
        yield _lines_of_table(some, encoder) or [encoder.encode(record) for record in some]


def _lines_of_table(records: Sequence[Record], encoder: RecordEncoder) -> list[str] | None:
    """The lines of records that are still rows of a table, next to each other; ``None`` if some are not."""
    found = table_and_rows(records)
    if found is None:
        return None
    table, rows = found
    if isinstance(table, TextTable):
        return table.lines(rows)
    return encoder.encode_rows(type(records[0]), table, rows) if isinstance(table, ColumnTable) else None


def line_type(array: str) -> str:
    """What JSON Lines call one record of an array: ``task`` of ``tasks``."""
    return array.removesuffix("s")


def write_jsonl(snapshot: Snapshot, out: BinaryIO) -> None:
    """JSON Lines: a header (``"type":"snapshot"``), then one object a line, its ``type`` first.

    Types: snapshot, task, fs_struct, mount, mount_namespace, workqueue, usermodehelper, setting, module, error,
    log, plugin.
    """
    header = {
        "type": "snapshot",
        "schema_version": snapshot.schema_version,
        "capture": snapshot.capture.model_dump(mode="json"),
        "kernel": snapshot.kernel.model_dump(mode="json"),
    }
    out.write(encode_value(header).encode() + b"\n")
    encoder = RecordEncoder()
    for name in SNAPSHOT_ARRAYS:
        head = f'{{"type":"{line_type(name)}",'
        for lines in _lines(getattr(snapshot, name), encoder):
            out.write("".join([f"{head}{line[1:]}\n" for line in lines]).encode())
    for text in snapshot.log:
        out.write(encode_value({"type": "log", "text": text}).encode() + b"\n")
    for plugin, facts in sorted(snapshot.plugins.items()):
        out.write(encode_value({"type": "plugin", "name": plugin, "facts": facts}).encode() + b"\n")


def load_snapshot(path: Path, name: str | None = None) -> Snapshot:
    """Read a snapshot file, compressed or not.

    :param name: what an error calls it

    :raises SnapshotError: if it cannot be read, or is no snapshot
    """
    name = str(path) if name is None else name
    try:
        with path.open("rb") as file:
            snapshot = parse_lines(content_of(file))
            if snapshot is None:
                snapshot = _parse_whole(b"".join(content_of(file)), name)
    except OSError as error:
        raise SnapshotError(f"cannot read {name}: {error.strerror}") from error
    except Damaged as error:
        raise SnapshotError(f"{name} is damaged: {error}") from error
    except EOFError as error:
        raise SnapshotError(f"{name} is cut off: copy it again") from error
    except MemoryError as error:
        raise SnapshotError(f"{name} is larger than the memory there is") from error
    except _TooMuchError as error:
        raise SnapshotError(f"{name} holds more than a snapshot of its size can: it is none") from error
    return _checked(snapshot, name)


def load_quickly(path: Path) -> Snapshot | None:
    """The snapshot of a file that has the layout of ``write_json``, in bounded memory and time; ``None`` for any other
    file: :func:`load_snapshot` says what is wrong with it, or takes its time."""
    try:
        with path.open("rb") as file:
            return made_quickly(take_apart(content_of(file)))
    except OSError:
        return None


def made_quickly(members: Iterable[Member]) -> Snapshot | None:
    """:func:`load_quickly`, of a text that is taken apart meanwhile."""
    try:
        snapshot = put_together(members)
        if snapshot is not None:
            check_facts(snapshot.plugins)
        return snapshot
    except (OSError, Damaged, EOFError, MemoryError, _TooMuchError, ValueError):
        return None


def content_of(file: BinaryIO) -> Iterator[bytes]:
    """From the beginning of the file, decompressed: a bomb is not unpacked further than to the limit."""
    file.seek(0)
    method = sniff_method(file.read(_MAGIC_BYTES))
    file.seek(0)
    if method is None:
        return _bounded(_chunks(file), _MAX_JSON)
    limit = max(_BOMB_SIZE, os.fstat(file.fileno()).st_size * _BOMB_RATIO)
    return _bounded(plain_chunks(file, method), min(_MAX_JSON, limit))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_READ):
        yield chunk


class _TooMuchError(Exception):
    """A file holds more than it may."""


def _bounded(content: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Everything. :raises _TooMuchError: if that is more than so many bytes"""
    size = 0
    for chunk in content:
        size += len(chunk)
        if size > limit:
            raise _TooMuchError
        yield chunk


def parse_snapshot(data: bytes, name: str) -> Snapshot:
    """Parse the JSON of a snapshot; ``name`` is what an error message calls it.

    :raises SnapshotError: if it is no snapshot, or one of a newer schema
    """
    snapshot = parse_lines(data[at : at + _READ] for at in range(0, len(data), _READ))
    return _checked(_parse_whole(data, name) if snapshot is None else snapshot, name)


def _checked(snapshot: Snapshot, name: str) -> Snapshot:
    try:
        check_facts(snapshot.plugins)
    except ValueError as error:
        raise SnapshotError(f"{name} is no valid snapshot: {error}") from error
    return snapshot


def _parse_whole(data: bytes, name: str) -> Snapshot:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        lines = "Extra data: line 2" in str(error)
        hint = "; JSON Lines are for other programs: snapshot -o FILE.json can be read again" if lines else ""
        raise SnapshotError(f"{name} is not JSON, or cut off: {error}{hint}") from error
    except MemoryError as error:
        raise SnapshotError(f"{name} needs more memory than there is") from error
    try:
        check_version(document.get("schema_version") if isinstance(document, dict) else None)
        return Snapshot.model_validate(document)
    except NoVersionError as error:
        raise SnapshotError(f"{name} is JSON, but no snapshot: it has {error}") from error
    except VersionError as error:
        raise SnapshotError(f"{name} has {error}") from error
    except ValidationError as error:
        raise SnapshotError(
            f"{name} is no valid snapshot: {validation_words(error)} ({error.error_count()} errors in all)"
        ) from error


def snapshot_schema() -> dict[str, Any]:
    """The JSON Schema of a snapshot file."""
    schema = Snapshot.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
