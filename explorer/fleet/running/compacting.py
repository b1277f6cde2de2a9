"""Keeping a dataset small in files: many small parts become one, and rows that do not count any more go.

The new part is written first, then ``compacting.json`` that says which it stands for, then it gets its name, then the
old ones go: whenever that ends, :func:`clean_up` ends it, and until then every row counts once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from explorer.fleet.dataset import Dataset
from explorer.fleet.needed import need
from explorer.fleet.parts import JOURNAL, SUFFIX, list_parts, read_journal
from explorer.fleet.tables import TABLES, arrow_schema

from .files import whole_file

__all__ = ("clean_up", "compact")

#: Fewer targets than this make a small part; so many of them are made into one.
_SMALL = 250
_MOST_SMALL = 16


def clean_up(fleet: Path) -> None:
    """Take away what a run that was killed left: files without a part, and parts that another one stands for."""
    journal = read_journal(fleet)
    parts = set(list_parts(fleet))
    for table in TABLES:
        for path in (fleet / table).iterdir():
            is_part = path.name.endswith(SUFFIX) and path.name.removesuffix(SUFFIX) in parts
            if not is_part and (path.suffix in (SUFFIX, ".part")):
                path.unlink()
    for path in (*fleet.glob(".*.part"), *(fleet / "snapshots").glob(".*.part")):
        path.unlink()
    if journal is not None:
        (fleet / JOURNAL).unlink()


def compact(dataset: Dataset) -> None:
    """Make one part of small ones, where there are many of these, and of those with rows that do not count."""
    pq = need("pyarrow.parquet")
    rows = {
        name: pq.read_metadata(path).num_rows
        for name, path in zip(dataset.parts, dataset.files("targets"), strict=True)
    }
    small = [name for name, number in rows.items() if number < _SMALL]
    old = [
        name for name in dataset.parts if name in dataset.dead or (len(small) > _MOST_SMALL and name in small)
    ]
    if old:
        _make_one(dataset, old)
        clean_up(dataset.path)


def _make_one(dataset: Dataset, old: Sequence[str]) -> None:
    """One part of these, under a name that is later than theirs, and earlier than that of any later one."""
    fleet, name = dataset.path, f"{old[-1]}c"
    with ExitStack() as files:
        for table in TABLES:
            file = files.enter_context(whole_file(fleet / table / f"{name}{SUFFIX}"))
            _write(dataset, table, old, file)
        with whole_file(fleet / JOURNAL) as file:
            file.write(json.dumps({"new": name, "old": list(old)}).encode())


def _write(dataset: Dataset, table: str, old: Sequence[str], file: Any) -> None:
    pq = need("pyarrow.parquet")
    part = Dataset(dataset.path, dataset.manifest, old)
    # Which rows count is decided by all parts, not by these alone.
    part.__dict__["dead"] = {name: keys for name, keys in dataset.dead.items() if name in old}
    with pq.ParquetWriter(file, arrow_schema(table), compression="zstd") as writer:
        for batch in part.batches(table):
            writer.write_batch(batch)
