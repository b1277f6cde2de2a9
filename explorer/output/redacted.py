"""A redacted snapshot in any format, checked text by text before it leaves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.codec.snapshots import write_json, write_jsonl
from explorer.model import Snapshot
from explorer.plugin import Plugin

from .csvfile import write_csv
from .files import OutputError

__all__ = ("redact_and_encode",)

_WRITERS = {"json": write_json, "jsonl": write_jsonl, "csv": write_csv}


def redact_and_encode(snapshot: Snapshot, plugins: Sequence[Plugin], form: str) -> tuple[Snapshot, bytes]:
    """The snapshot with other names, and the bytes to write: ``json``, ``jsonl`` or ``csv``.

    :raises RedactionError: if it cannot be redacted
    :raises OutputError: if a name would still be in them
    """
    names = Redactor([snapshot.kernel.release])
    redacted = redact_snapshot(snapshot, plugins, names)
    out = io.BytesIO()
    _WRITERS[form](redacted, out)
    content = out.getvalue()
    left = names.leaks_in_texts(_READERS[form](content.decode()))
    if left:
        # An address that damage has made is a word in an error, and a number where it is the address of something.
        numbers = {f"{number:#x}".encode() for number in _numbers(redacted, plugins)}
        left = [name for name in left if name not in numbers]
    if left:
        raise OutputError(
            f"{len(left)} names would be left in the output ({left[0][:2].decode('ascii', 'replace')}...): "
            "nothing is written; please report it"
        )
    return redacted, content


def _numbers(snapshot: Snapshot, plugins: Sequence[Plugin]) -> Iterator[int]:
    """Every number in a snapshot, those in the facts of the plugins too, where addresses are texts."""
    documents = [snapshot.model_dump(exclude={"plugins"})]
    for plugin in plugins:
        raw = snapshot.plugins.get(plugin.name, {})
        if raw.get("state") == "loaded":
            documents.append(plugin.facts.model_validate(raw).model_dump())
    return (value for value in _leaves(documents) if isinstance(value, int))


def _json_texts(content: str) -> Iterator[str]:
    return _texts(json.loads(content))


def _jsonl_texts(content: str) -> Iterator[str]:
    for line in content.splitlines():
        yield from _texts(json.loads(line))


def _texts(document: Any) -> Iterator[str]:
    """Every text in a document. What a plugin calls itself, and fields, are keys; others are texts like all."""
    return (value for value in _leaves(document) if isinstance(value, str))


def _leaves(document: Any) -> Iterator[Any]:
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


def _csv_texts(content: str) -> Iterator[str]:
    """Every cell behind the header: numbers are no names, though a name can be one."""
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # else 128 KiB, and a name may be longer
    rows = csv.reader(io.StringIO(content))
    next(rows, None)
    for row in rows:
        for cell in row:
            plain = cell.removeprefix("'")  # in front of what a spreadsheet would run
            if not plain.removeprefix("-").isdigit():
                yield plain


_READERS = {"json": _json_texts, "jsonl": _jsonl_texts, "csv": _csv_texts}
