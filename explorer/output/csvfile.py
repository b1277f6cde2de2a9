"""Rows as CSV that a spreadsheet can open safely; a snapshot's tasks, one row a task, joined with its fs_struct."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from explorer.analysis.query import CSV_FACTS, Scope
from explorer.model import Snapshot, Task

__all__ = ("csv_cells", "csv_texts", "write_csv", "write_csv_rows")

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # some take the wide ones, too


def write_csv(snapshot: Snapshot, out: BinaryIO) -> None:
    """Write a header and one line a task. Text is escaped as on the screen."""
    cells = csv_cells(snapshot)
    write_csv_rows(list(CSV_FACTS), map(cells, snapshot.tasks), out)


def csv_cells(snapshot: Snapshot) -> Callable[[Task], Sequence[str]]:
    """Makes a task's cells, in the order of ``CSV_FACTS``; those that all sharers of an ``fs_struct`` have, once."""
    facts = tuple(CSV_FACTS.values())
    places = [place for place, fact in enumerate(facts) if fact.scope is Scope.FS]
    shared: dict[int | None, list[str]] = {}

    def cells(task: Task) -> list[str]:
        of_fs = shared.get(task.owned_fs)
        if of_fs is None:
            of_fs = shared[task.owned_fs] = [facts[place].text(task, snapshot) for place in places]
        given = iter(of_fs)
        return [next(given) if fact.scope is Scope.FS else fact.text(task, snapshot) for fact in facts]

    return cells


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


def csv_texts(content: str) -> Iterator[str]:
    """Every cell behind the header: numbers are no names, though a name can be one."""
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # else 128 KiB, and a name may be longer
    rows = csv.reader(io.StringIO(content))
    next(rows, None)
    for row in rows:
        for cell in row:
            plain = cell.removeprefix("'")  # in front of what a spreadsheet would run
            if not plain.removeprefix("-").isdigit():
                yield plain
