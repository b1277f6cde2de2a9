"""The inverse of ``write_jsonl``: a snapshot put together from its lines as they arrive."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from explorer.model import SCHEMA_VERSION, SNAPSHOT_ARRAYS, Capture, Kernel, Record, Snapshot

from .snapshots import SnapshotError, line_type
from .version import check_version

__all__ = ("SnapshotStream",)

_RECORDS: dict[str, tuple[str, type[Record]]] = {
    line_type(array): (array, record) for array, record in SNAPSHOT_ARRAYS.items()
}


class SnapshotStream:
    """Takes lines of JSON, in batches; gives the snapshot when all are there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._header: dict[str, Any] | None = None
        self._arrays: dict[str, list[Any]] = {array: [] for array, _ in _RECORDS.values()}
        self._log: list[str] = []
        self._plugins: dict[str, Any] = {}
        self._last = ""

    @property
    def tasks(self) -> int:
        """Tasks that have arrived."""
        return len(self._arrays["tasks"])

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take lines in. :raises SnapshotError: for one that is no line of a snapshot this version can read"""
        for line in lines:
            try:
                document = json.loads(line)
                self._take(document)
            except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
                why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                raise SnapshotError(f"{self._name}: a line that is no part of a snapshot: {why}") from error

    def _take(self, document: dict[str, Any]) -> None:
        kind = document["type"]
        if kind == "snapshot":
            check_version(document["schema_version"])
            self._header = {
                "capture": Capture.model_validate(document["capture"]),
                "kernel": Kernel.model_validate(document["kernel"]),
            }
        elif kind in _RECORDS:
            self._last, record = _RECORDS[kind]
            self._arrays[self._last].append(record.model_validate(document))
        elif kind == "log":
            self._log.append(str(document["text"]))
        elif kind == "plugin":
            if not isinstance(document["facts"], dict):
                raise TypeError("the facts of a plugin are no object")
            self._plugins[str(document["name"])] = document["facts"]
        # A newer writer may have types of its own: they are ignored, as unknown fields are.

    @property
    def is_begun(self) -> bool:
        """Whether the header has arrived: then there is something to show, if nothing more comes."""
        return self._header is not None

    def incomplete(self) -> str:
        """What may be missing if no more lines come."""
        names = [*SNAPSHOT_ARRAYS, "log", "plugins"]
        first, *later = names[names.index(self._last) if self._last else 0 :]
        return f"some {first} may be missing, and {', '.join(later[:-1])} and {later[-1]} are"

    def finish(self) -> Snapshot:
        """The snapshot. :raises SnapshotError: if there was no header"""
        if self._header is None:
            raise SnapshotError(f"{self._name}: the reader ended without a snapshot")
        values: dict[str, Any] = self._header | self._arrays
        values |= {"schema_version": SCHEMA_VERSION, "log": self._log, "plugins": self._plugins}
        return Snapshot.model_construct(**values)
