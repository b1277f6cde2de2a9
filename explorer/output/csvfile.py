"""A snapshot's tasks as CSV: one row a task, joined with its fs_struct."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from explorer.model import Snapshot

from .columns import COLUMNS, task_rows

__all__ = ("write_csv",)

_FORMULA_STARTS = ("=", "+", "-", "@")


def write_csv(snapshot: Snapshot, out: BinaryIO) -> None:
    """Write a header and one line a task, UTF-8.

    Text is escaped as on the screen. A cell that a spreadsheet would run as a formula gets an apostrophe in
    front.
    """
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([column.name for column in COLUMNS])
    for row in task_rows(snapshot):
        writer.writerow([_disarm(column.text(row)) for column in COLUMNS])
    text.detach()


def _disarm(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
