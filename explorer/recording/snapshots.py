"""Snapshots from the documents of a recording; records that two frames have in common are made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from explorer.codec import check_facts, check_version, records_of_rows
from explorer.model import SNAPSHOT_ARRAYS, Record, Snapshot, other_places

from .clocked import CLOCKS, ClockedTable, Document
from .delta import TABLES

__all__ = ("MEMBERS", "SnapshotBuilder")

#: The members of a document that a snapshot is made of.
MEMBERS = frozenset(Snapshot.model_fields)

#: A record as it was read, what its clocks show, and the record that shows it.
_Shown = tuple[Record, dict[str, int], Record]


class SnapshotBuilder:
    """Makes snapshots. What it made last of each record is kept: a neighbouring frame's records mostly are the same."""

    def __init__(self) -> None:
        self._tables = {name: _Made(name) for name in TABLES}

    def build(self, document: Document, *, still: bool = False) -> Snapshot:
        """The snapshot of a document.

        :param still: clocks stay as they were at first, but for those of tasks in a path walk: then frames share all
            other records of which nothing else changed

        :raises ValueError: (also TypeError, KeyError) if it is none
        """
        check_version(document["schema_version"])
        # All but the large tables is validated as that of any snapshot is: by the model, whatever it holds.
        snapshot = Snapshot.model_validate(document | dict.fromkeys(TABLES, ()))
        check_facts(snapshot.plugins)
        for name, made in self._tables.items():
            snapshot.__dict__[name] = made.records(document.get(name, []), still)
        return snapshot


def _others(before: list[Document], after: list[Document]) -> list[int]:
    """The places at which two tables of one length have not the same object."""
    if (
        isinstance(before, ClockedTable)
        and isinstance(after, ClockedTable)
        and after.made_from is before.token
    ):
        return sorted(after.others)
    return other_places(before, after)


class _Made:
    """What was made last of one table."""

    def __init__(self, name: str) -> None:
        record = SNAPSHOT_ARRAYS[name]
        self._name = name
        self._record, self._build = record, record.builder()
        self._validate: Callable[[Document], Any] | None = None
        self._every = set(record.model_fields)
        self._clocks = [clock for clock in CLOCKS if clock in self._every]
        self._rows: list[Document] = []
        self._as_read: list[Record] = []
        """Of each row, its record without what its clocks show beside it."""
        self._walks: set[int] = set()
        """Places of the tasks that are in a path walk."""
        self._moved: dict[int, _Shown] = {}
        """By place, of the snapshot before."""

    def records(self, rows: list[Document], still: bool) -> list[Record]:
        if not isinstance(rows, list):
            raise TypeError(f"{self._name} is no list")
        as_read = self._records_as_read(rows)
        self._rows, self._as_read = rows, as_read
        if not isinstance(rows, ClockedTable) or not rows.moved:
            return list(as_read)
        if still:
            return self._with_clocks(as_read, rows, sorted(self._walks))[0]
        found, self._moved = self._with_clocks(as_read, rows, range(len(rows)))
        return found

    def _records_as_read(self, rows: list[Document]) -> list[Record]:
        if len(rows) == len(self._rows):
            others = _others(self._rows, rows)
            if len(others) <= len(rows) // 8:
                found = list(self._as_read)
                for at in others:
                    found[at] = self._read(rows[at])
                self._find_walks(found, others)
                return found
        known = {id(row): record for row, record in zip(self._rows, self._as_read, strict=True)}
        new = [row for row in rows if id(row) not in known]
        known |= zip(map(id, new), self._read_all(new), strict=True)
        found = [known[id(row)] for row in rows]
        self._walks.clear()
        self._find_walks(found, range(len(found)))
        return found

    def _find_walks(self, records: Sequence[Record], places: Sequence[int]) -> None:
        """Among records that are new at these places."""
        self._walks.difference_update(places)
        if self._clocks:
            self._walks.update(at for at in places if getattr(records[at], "walk", None) is not None)

    def _read_all(self, rows: list[Document]) -> list[Record]:
        at_once = records_of_rows(self._record, rows)
        return [self._read(row) for row in rows] if at_once is None else at_once

    def _read(self, row: Document) -> Record:
        if self._validate is None:
            self._record.model_rebuild()  # makes the validator, which is asked a hundred thousand times
            self._validate = self._record.__pydantic_validator__.validate_python
        record: Record = self._validate(row)
        if len(record.__pydantic_fields_set__) == len(self._every):
            # a set for each would be half of the memory
            object.__setattr__(record, "__pydantic_fields_set__", self._every)
        return record

    def _with_clocks(
        self, as_read: Sequence[Record], rows: ClockedTable, places: Sequence[int]
    ) -> tuple[list[Record], dict[int, _Shown]]:
        """The records, at these places with what their clocks show; and these."""
        found, made = list(as_read), {}
        clocks = {clock: rows.moved[clock] for clock in self._clocks if clock in rows.moved}
        for at in places:
            shown = {clock: ms for clock, each in clocks.items() if (ms := each[at]) is not None}
            if not shown:
                continue
            record = as_read[at]
            known = self._moved.get(at)
            if known is None or known[0] is not record or known[1] != shown:
                seconds = {clock: ms / 1000 for clock, ms in shown.items()}
                known = (record, shown, self._build({**record.__dict__, **seconds}))
            made[at] = known
            found[at] = known[2]
        return found, made
