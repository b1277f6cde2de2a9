"""Snapshots from the documents of a recording; records that two frames have in common are made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_not
from typing import Any

from explorer.codec import check_facts, check_version
from explorer.model import SNAPSHOT_ARRAYS, Record, Snapshot

from .clocked import CLOCKS, ClockedTable, Document
from .delta import TABLES

__all__ = ("MEMBERS", "SnapshotBuilder")

#: The members of a document that a snapshot is made of.
MEMBERS = frozenset(Snapshot.model_fields)


class SnapshotBuilder:
    """Makes snapshots. What it made last of each record is kept: a neighbouring frame's records mostly are the same.

    :param shows: whether the clocks of a record are of interest; those of all others stay as they were at first, so
        that frames share the records
    """

    def __init__(self, shows: Callable[[Any], bool] | None = None) -> None:
        self._tables = {name: _Made(name, shows) for name in TABLES}

    def build(self, document: Document) -> Snapshot:
        """The snapshot of a document. :raises ValueError: (also TypeError, KeyError) if it is none"""
        check_version(document["schema_version"])
        # All but the large tables is validated as that of any snapshot is: by the model, whatever it holds.
        snapshot = Snapshot.model_validate(document | dict.fromkeys(TABLES, ()))
        check_facts(snapshot.plugins)
        for name, made in self._tables.items():
            snapshot.__dict__[name] = made.records(document.get(name, []))
        return snapshot


class _Made:
    """What was made last of one table."""

    def __init__(self, name: str, shows: Callable[[Any], bool] | None) -> None:
        record = SNAPSHOT_ARRAYS[name]
        self._name, self._key, self._shows = name, TABLES[name], shows
        self._validate, self._build = record.model_validate, record.builder()
        self._every = set(record.model_fields)
        self._clocks = [clock for clock in CLOCKS if clock in self._every]
        self._rows: list[Document] = []
        self._as_read: list[Record] = []
        """Of each row, its record without what its clocks show beside it."""
        self._shown: set[int] = set()
        """Places of the records whose clocks are of interest."""
        self._moved: dict[int, tuple[Record, dict[str, int], Record]] = {}
        """By place: of which record, what its clocks showed, and the one that shows it."""

    def records(self, rows: list[Document]) -> list[Record]:
        if not isinstance(rows, list):
            raise TypeError(f"{self._name} is no list")
        as_read = self._records_as_read(rows)
        self._rows, self._as_read = rows, as_read
        if not isinstance(rows, ClockedTable) or not rows.moved:
            return list(as_read)
        return self._with_clocks(as_read, rows)

    def _records_as_read(self, rows: list[Document]) -> list[Record]:
        if len(rows) == len(self._rows):
            others = [at for at, differs in enumerate(map(is_not, rows, self._rows)) if differs]
            if len(others) <= len(rows) // 8:
                found = list(self._as_read)
                for at in others:
                    found[at] = self._read(rows[at])
                self._find_shown(found, others)
                return found
        known = {id(row): record for row, record in zip(self._rows, self._as_read, strict=True)}
        found = [known.get(id(row)) or self._read(row) for row in rows]
        self._shown.clear()
        self._find_shown(found, range(len(found)))
        return found

    def _find_shown(self, records: Sequence[Record], places: Sequence[int]) -> None:
        """Of records that are new at these places."""
        if self._shows is not None and self._clocks:
            self._shown.difference_update(places)
            self._shown.update(at for at in places if self._shows(records[at]))

    def _read(self, row: Document) -> Record:
        record = self._validate(row)
        if len(record.model_fields_set) == len(self._every):
            # a set for each would be half of the memory
            object.__setattr__(record, "__pydantic_fields_set__", self._every)
        return record

    def _with_clocks(self, as_read: Sequence[Record], rows: ClockedTable) -> list[Record]:
        found, before = list(as_read), self._moved
        self._moved = {}
        clocks = {clock: rows.moved[clock] for clock in self._clocks if clock in rows.moved}
        places = range(len(found)) if self._shows is None else sorted(self._shown)
        for at in places:
            record = as_read[at]
            shown = {clock: ms for clock, each in clocks.items() if (ms := each[at]) is not None}
            if not shown:
                continue
            known = before.get(at)
            if known is None or known[0] is not record or known[1] != shown:
                seconds = {clock: ms / 1000 for clock, ms in shown.items()}
                known = (record, shown, self._build({**record.__dict__, **seconds}))
            self._moved[at] = known
            found[at] = known[2]
        return found
