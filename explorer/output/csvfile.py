"""Rows as CSV that a spreadsheet can open safely; a snapshot's tasks, one row a task, joined with its fs_struct."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from explorer.model import Snapshot

from .columns import COLUMNS, task_rows

__all__ = ("write_csv", "write_csv_rows")

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # some take the wide ones, too


def write_csv(snapshot: Snapshot, out: BinaryIO) -> None:
    """Write a header and one line a task. Text is escaped as on the screen."""
    rows = ([column.text(row) for column in COLUMNS] for row in task_rows(snapshot))
    write_csv_rows([column.name for column in COLUMNS], rows, out)


def write_csv_rows(header: Sequence[str], rows: Iterable[Sequence[str]], out: BinaryIO) -> int:
    """Write a header and rows of escaped text, UTF-8. Returns how many rows.

    A cell that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(map(_disarm, row))
        count += 1
    text.detach()
    return count


def _disarm(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
