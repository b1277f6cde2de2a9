"""The tasks of all targets that a query selects: scanned in batches, streamed on, never all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from explorer.analysis import tasks_at
from explorer.analysis.query import Query
from explorer.codec import load_snapshot
from explorer.fleet.dataset import Dataset
from explorer.fleet.errors import FleetError
from explorer.fleet.needed import need
from explorer.model import Snapshot

from .batches import BatchIndex, TasksAt, columns_of
from .bounds import bounds_of

__all__ = ("FoundTasks", "find_tasks")

#: Snapshots that are kept open for an address: the rows of one target lie together.
_KEPT = 2
#: Rows that are handed on at a time: what a batch makes of itself in Python stays small.
_ROWS = 8192


@dataclass(frozen=True, slots=True)
class FoundTasks:
    """Tasks that a query selects, and how they come."""

    batches: Iterator[Any]
    """``pyarrow.RecordBatch``, with the columns that were asked for, in that order; none is empty."""
    pushed_down: bool
    """Whether the scanner decided all of it."""


def find_tasks(dataset: Dataset, query: Query, columns: Sequence[str]) -> FoundTasks:
    """The tasks of all targets for which a query holds, as it holds of each one's snapshot.

    :param columns: of the table ``tasks``

    :raises FleetError: from the batches: if a file cannot be read; for an address in free text, if the snapshot of a
        target that it is looked for in was not kept
    """
    bounds = bounds_of(query.root)
    needed = list(columns)
    if not bounds.exact:
        needed += sorted(columns_of(query.root) - set(columns))
    scanned = dataset.batches("tasks", needed, bounds.may)
    return FoundTasks(_decided(scanned, None if bounds.exact else query, dataset, columns), bounds.exact)


def _decided(
    batches: Iterator[Any], query: Query | None, dataset: Dataset, columns: Sequence[str]
) -> Iterator[Any]:
    """:param query: what is still to be decided of the rows; ``None``: nothing"""
    pa = need("pyarrow")
    at = _tasks_at_in(dataset)
    for whole in batches:
        for start in range(0, whole.num_rows, _ROWS):
            batch = whole.slice(start, _ROWS)
            if query is not None:
                mask = BatchIndex(batch, at).mask(query.root)
                batch = batch.filter(pa.array(map(bool, mask), pa.bool_()))
            if batch.num_rows:
                yield batch.select(list(columns))


def _tasks_at_in(dataset: Dataset) -> TasksAt:
    """What an address lies in is told by a snapshot, and by no table."""

    @lru_cache(_KEPT)
    def snapshot_of(key: str) -> Snapshot:
        path = dataset.snapshot_of(key)
        if path is None:
            row = dataset.target(key)
            raise FleetError(
                f"an address in free text is looked for in snapshots, and that of {row and row['path']} was not "
                "kept: fleet run --keep-snapshots keeps them; or ask a field, such as fs_struct:0x…"
            )
        return load_snapshot(path, str(path))

    @lru_cache(64)
    def at(key: str, text: str) -> frozenset[int]:
        return tasks_at(text, snapshot_of(key))

    return at
