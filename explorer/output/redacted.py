"""A redacted snapshot in any format, checked text by text before it leaves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from explorer.analysis.redact import Redactor, redact_snapshot
from explorer.model import Snapshot
from explorer.plugin import Plugin

from .csvfile import write_csv
from .files import OutputError
from .snapshots import write_json, write_jsonl

__all__ = ("redact_and_encode",)

_WRITERS = {"json": write_json, "jsonl": write_jsonl, "csv": write_csv}


def redact_and_encode(snapshot: Snapshot, plugins: Sequence[Plugin], form: str) -> tuple[Snapshot, bytes]:
    """The snapshot with other names, and the bytes to write: ``json``, ``jsonl`` or ``csv``.

    :raises OutputError: if a name would still be in them
    """
    names = Redactor([snapshot.kernel.release])
    redacted = redact_snapshot(snapshot, plugins, names)
    out = io.BytesIO()
    _WRITERS[form](redacted, out)
    content = out.getvalue()
    left = names.leaks_in_texts(_READERS[form](content.decode()))
    if left:
        raise OutputError(
            f"{len(left)} names would be left in the output ({left[0][:2].decode('ascii', 'replace')}...): "
            "nothing is written; please report it"
        )
    return redacted, content


def _json_texts(content: str) -> Iterator[str]:
    return _texts(json.loads(content))


def _jsonl_texts(content: str) -> Iterator[str]:
    for line in content.splitlines():
        yield from _texts(json.loads(line))


def _texts(document: Any) -> Iterator[str]:
    """Every text in a document. What a plugin calls itself, and fields, are keys; others are texts like all."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str):
            yield value


def _csv_texts(content: str) -> Iterator[str]:
    """Every cell behind the header: numbers are no names, though a name can be one."""
    rows = csv.reader(io.StringIO(content))
    next(rows, None)
    for row in rows:
        for cell in row:
            if not cell.isdigit():
                yield cell.removeprefix("'")


_READERS = {"json": _json_texts, "jsonl": _jsonl_texts, "csv": _csv_texts}
