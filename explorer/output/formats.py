"""The formats that a snapshot is exported in. One more is a line here, and the module that writes it.

Nothing that writes is imported before it is used: a command names the formats in its help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from explorer.model import Snapshot

__all__ = ("DEFAULT_FORMAT", "SNAPSHOT_FORMATS", "SnapshotFormat", "format_of_name", "leaves_of")


class SnapshotFormat(NamedTuple):
    """One format."""

    name: str
    """What ``--format`` calls it."""
    suffix: str
    """Of files that ask for it by their name."""
    write: Callable[[Snapshot, BinaryIO], None]
    texts: Callable[[str], Iterator[str]]
    """Every text in what was written that a name could stand in: what redaction looks through."""


def _write_json(snapshot: Snapshot, out: BinaryIO) -> None:
    from explorer.codec import write_json

    write_json(snapshot, out)


def _json_texts(content: str) -> Iterator[str]:
    import json

    return _texts(json.loads(content))


def _write_jsonl(snapshot: Snapshot, out: BinaryIO) -> None:
    from explorer.codec import write_jsonl

    write_jsonl(snapshot, out)


def _jsonl_texts(content: str) -> Iterator[str]:
    import json

    for line in content.splitlines():
        yield from _texts(json.loads(line))


def _texts(document: Any) -> Iterator[str]:
    """Every text in a document. What a plugin calls itself, and fields, are keys; others are texts like all."""
    return (value for value in leaves_of(document) if isinstance(value, str))


def leaves_of(document: Any) -> Iterator[Any]:
    """Every key and every value in a document that holds no others."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
        else:
            yield value


def _write_csv(snapshot: Snapshot, out: BinaryIO) -> None:
    from .csvfile import write_csv

    write_csv(snapshot, out)


def _csv_texts(content: str) -> Iterator[str]:
    from .csvfile import csv_texts

    return csv_texts(content)


#: By name.
SNAPSHOT_FORMATS = {
    form.name: form
    for form in (
        SnapshotFormat("json", ".json", _write_json, _json_texts),
        SnapshotFormat("jsonl", ".jsonl", _write_jsonl, _jsonl_texts),
        SnapshotFormat("csv", ".csv", _write_csv, _csv_texts),
    )
}

#: What is written where neither an option nor a file's name says.
DEFAULT_FORMAT = SNAPSHOT_FORMATS["json"]


def format_of_name(path: Path | None) -> SnapshotFormat:
    """The format that a file's name asks for, behind the suffix of a compression; JSON if it asks for none."""
    if path is None:
        return DEFAULT_FORMAT
    from explorer.compression import method_of_name

    method = method_of_name(path.name)
    name = path.name if method is None else path.name.removesuffix(method.suffix)
    by_suffix = {form.suffix: form for form in SNAPSHOT_FORMATS.values()}
    return by_suffix.get(Path(name).suffix, DEFAULT_FORMAT)
