"""Snapshots from the documents of a recording; records that two frames have in common are made once."""

from __future__ import annotations

from typing import Any

from explorer.codec import check_facts, check_version
from explorer.model import SNAPSHOT_ARRAYS, Record, Snapshot

from .delta import CLOCKS, TABLES, Later

__all__ = ("MEMBERS", "SnapshotBuilder")

#: The members of a document that a snapshot is made of.
MEMBERS = frozenset(Snapshot.model_fields)


class SnapshotBuilder:
    """Makes snapshots. What it made last of each record is kept: a neighbouring frame's records mostly are the same."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, tuple[dict[str, Any], Record]]] = {name: {} for name in TABLES}
        self._every = {name: set(SNAPSHOT_ARRAYS[name].model_fields) for name in TABLES}

    def build(self, document: dict[str, Any]) -> Snapshot:
        """The snapshot of a document. :raises ValueError: (also TypeError, KeyError) if it is none"""
        check_version(document["schema_version"])
        # All but the large tables is validated as that of any snapshot is: by the model, whatever it holds.
        snapshot = Snapshot.model_validate(document | dict.fromkeys(TABLES, ()))
        check_facts(snapshot.plugins)
        for name in TABLES:
            snapshot.__dict__[name] = self._records(name, document.get(name, []))
        return snapshot

    def _records(self, name: str, rows: list[dict[str, Any]]) -> list[Record]:
        if not isinstance(rows, list):
            raise TypeError(f"{name} is no list")
        validate, key, every = SNAPSHOT_ARRAYS[name].model_validate, TABLES[name], self._every[name]
        build, clocks = SNAPSHOT_ARRAYS[name].builder(), [clock for clock in CLOCKS if clock in every]
        made = self._made[name]
        now: dict[str, tuple[dict[str, Any], Record]] = {}
        records = []
        for row in rows:
            known = made.get(row[key])
            if known is not None and type(row) is Later and known[0] is row.since:
                moved = {clock: row[clock] for clock in clocks}
                known = (row, build({**known[1].__dict__, **moved}))
                row.since = None
            elif known is None or known[0] is not row:
                record = validate(row)
                if len(record.model_fields_set) == len(every):
                    # a set for each would be half of the memory
                    object.__setattr__(record, "__pydantic_fields_set__", every)
                known = (row, record)
            now[row[key]] = known
            records.append(known[1])
        self._made[name] = now
        return records
