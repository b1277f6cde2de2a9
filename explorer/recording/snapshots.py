"""Snapshots from the documents of a recording; records that two frames have in common are made once."""

from __future__ import annotations

from typing import Any

from explorer.model import SCHEMA_VERSION, SNAPSHOT_ARRAYS, Capture, Kernel, Record, Snapshot

from .delta import TABLES

__all__ = ("SnapshotBuilder",)


class SnapshotBuilder:
    """Makes snapshots. What it made last of each record is kept: a neighbouring frame's records mostly are the same."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, tuple[dict[str, Any], Record]]] = {name: {} for name in TABLES}

    def build(self, document: dict[str, Any]) -> Snapshot:
        """The snapshot of a document. :raises ValueError: (also TypeError, KeyError) if it is none"""
        version = document["schema_version"]
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise ValueError(f"schema version {version}; this version reads up to {SCHEMA_VERSION}")
        values: dict[str, Any] = {
            "schema_version": version,
            "capture": Capture.model_validate(document["capture"]),
            "kernel": Kernel.model_validate(document["kernel"]),
            "log": [str(line) for line in document.get("log", ())],
            "plugins": dict(document.get("plugins", {})),
        }
        for name, record_type in SNAPSHOT_ARRAYS.items():
            if name in TABLES:
                values[name] = self._records(name, record_type, document.get(name, []))
            else:
                values[name] = [record_type.model_validate(record) for record in document.get(name, ())]
        return Snapshot.model_construct(**values)

    def _records(self, name: str, record_type: type[Record], rows: list[dict[str, Any]]) -> list[Record]:
        made, key = self._made[name], TABLES[name]
        now: dict[str, tuple[dict[str, Any], Record]] = {}
        records = []
        for row in rows:
            known = made.get(row[key])
            if known is None or known[0] is not row:
                known = (row, record_type.model_validate(row))
            now[row[key]] = known
            records.append(known[1])
        self._made[name] = now
        return records
