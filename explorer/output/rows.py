"""Rows that were picked from a snapshot, as JSON, CSV or Markdown: what the screen exports.

::

    {"schema_version": 1, "target": …, "query": …, "release": …, "taken_at": …, "kernel_time": …, "tasks": [{…}, …]}

The records are those of the snapshot's own export, field by field; only which of them are there differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from explorer.analysis.query import CSV_FACTS, TaskRow, told_columns
from explorer.model import Record, Snapshot, Task, TraceHeader, escape_text
from explorer.naming import moment_words

from .csvfile import csv_cells, write_csv_rows
from .files import OutputError, open_output
from .markdown import write_markdown

__all__ = ("RowFormat", "RowSet", "file_name", "save_rows", "task_row_set", "write_rows")


class RowFormat(StrEnum):
    """How rows are written; the value is the option's. What each is stands in ``_FORMS``."""

    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"

    @property
    def suffix(self) -> str:
        return _FORMS[self].suffix

    @property
    def label(self) -> str:
        return _FORMS[self].label

    @property
    def what(self) -> str:
        """What it is good for, in a few words."""
        return _FORMS[self].what


@dataclass(frozen=True)
class RowSet:
    """Rows of one table, in all forms that they may be written in. Text is escaped, records are not."""

    name: str
    """What they are: ``tasks``, ``mounts``. A word of this program's, never of a kernel's."""
    snapshot: Snapshot | TraceHeader
    """Where they are from."""
    query: str
    records: Sequence[Record] | None
    """``None``: there are no records behind these rows; JSON has the text of their cells by column."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """For CSV, and for Markdown unless that has columns of its own."""
    labels: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None
    """Header and rows as people read them."""


class _Rows(Sequence[Sequence[str]]):
    """A row's text is made when it is written."""

    def __init__(self, tasks: Sequence[Task], cells: Callable[[Task], Sequence[str]]) -> None:
        self._tasks, self._cells = tasks, cells

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return self._cells(self._tasks[place])


def task_row_set(tasks: Sequence[Task], snapshot: Snapshot, query: str) -> RowSet:
    """Tasks: CSV has the columns of ``snapshot --format csv``, Markdown those of the screen."""

    columns = told_columns(snapshot)

    def labels(task: Task) -> list[str]:
        row = TaskRow(task, snapshot.fs_of(task), snapshot)
        return [column.text(row) for column in columns]

    titles = [column.title for column in columns]
    rows = _Rows(tasks, csv_cells(snapshot))
    return RowSet("tasks", snapshot, query, tasks, list(CSV_FACTS), rows, (titles, _Rows(tasks, labels)))


def write_rows(rows: RowSet, form: RowFormat, out: BinaryIO) -> int:
    """Write rows in a format. Returns how many."""
    return _FORMS[form].write(rows, out)


def _write_csv(rows: RowSet, out: BinaryIO) -> int:
    return write_csv_rows(rows.header, rows.rows, out)


def _write_markdown(rows: RowSet, out: BinaryIO) -> int:
    header, cells = rows.labels or (rows.header, rows.rows)
    return write_markdown(_title(rows), header, cells, out)


def _title(rows: RowSet) -> str:
    query = f" that match {escape_text(rows.query)}" if rows.query else ""
    what = f"{len(rows.rows)} {rows.name}{query}: Linux"
    if isinstance(rows.snapshot, TraceHeader):
        return (
            f"{what} {escape_text(rows.snapshot.release)}, traced from {escape_text(rows.snapshot.began)} on"
        )
    release = escape_text(rows.snapshot.kernel.release)
    return f"{what} {release}, {escape_text(moment_words(rows.snapshot.capture))}"


def _head(rows: RowSet) -> dict[str, Any]:
    snapshot = rows.snapshot
    if isinstance(snapshot, TraceHeader):
        return {"query": rows.query, "trace": snapshot.model_dump(mode="json")}
    return {
        "schema_version": snapshot.schema_version,
        "target": snapshot.capture.source.target,
        "query": rows.query,
        "release": snapshot.kernel.release,
        "taken_at": snapshot.capture.taken_at,
        "kernel_time": snapshot.capture.kernel_time,
    }


def _write_json(rows: RowSet, out: BinaryIO) -> int:
    out.write(json.dumps(_head(rows))[:-1].encode())
    out.write(f', "{rows.name}": ['.encode())
    count = 0
    for document in _documents(rows):
        line = json.dumps(document, separators=(",", ":")).encode()
        out.write((b",\n" if count else b"\n") + line)
        count += 1
    out.write(b"\n]}\n")
    return count


def _documents(rows: RowSet) -> Iterator[dict[str, Any]]:
    if rows.records is None:
        yield from (dict(zip(rows.header, cells, strict=True)) for cells in rows.rows)
    else:
        yield from (record.model_dump(mode="json") for record in rows.records)


@dataclass(frozen=True, slots=True)
class _Form:
    suffix: str
    label: str
    what: str
    write: Callable[[RowSet, BinaryIO], int]


_FORMS = {
    RowFormat.JSON: _Form(".json", "JSON", "every field, named as in a snapshot", _write_json),
    RowFormat.CSV: _Form(".csv", "CSV", "a line each, for a spreadsheet", _write_csv),
    RowFormat.MARKDOWN: _Form(".md", "Markdown", "a table, for a report", _write_markdown),
}


def file_name(name: str, form: RowFormat, now: datetime) -> str:
    """A name made of this program's own words and the time; nothing in it comes from a kernel."""
    return f"nullfs-explorer-{name}-{now:%Y%m%d-%H%M%S}{form.suffix}"


def save_rows(rows: RowSet, form: RowFormat, path: Path, replace: bool = False) -> int:
    """Write rows to a file, mode 0600, whole or not at all. Returns how many.

    :raises OutputError: if it cannot be written, or is there already and ``replace`` is not given
    """
    if not replace and not path.is_dir() and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path} is there already")
    with open_output(path) as out:
        return write_rows(rows, form, out)
