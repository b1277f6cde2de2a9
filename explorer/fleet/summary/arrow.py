"""What the parts of a summary do with Arrow's tables, each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from explorer.fleet.needed import need
from explorer.model import Severity

from .shapes import MOST_NAMED, Some

__all__ = ("SEVERITIES", "counts_of", "first_of", "looked_up", "rows_of", "severity_rank")

#: Worst first.
SEVERITIES = tuple(severity.value for severity in Severity)


def severity_rank(severity: str) -> int:
    """0 for the worst; what a newer version wrote comes last."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows of a table that is small: what was counted, and not what is counted."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def counts_of(table: Any, by: Sequence[str]) -> list[dict[str, Any]]:
    """How many rows there are of each combination: rows with these columns and ``count``, most first."""
    counted = table.group_by(list(by)).aggregate([([], "count_all")])
    found = rows_of(counted.rename_columns([*by, "count"]))
    return sorted(found, key=lambda row: (-row["count"], *(str(row[name]) for name in by)))


def looked_up(keys: Any, table: Any, columns: Iterable[str]) -> list[Any]:
    """For each key the values that a table, with a row a key, has in some columns."""
    pc = need("pyarrow.compute")
    places = pc.index_in(keys, value_set=table["key"].combine_chunks())
    return [table[name].take(places) for name in columns]


def first_of(table: Any, column: str = "path") -> Some:
    """The first names of a table that has them all, by name."""
    pc = need("pyarrow.compute")
    count = min(MOST_NAMED, table.num_rows)
    places = pc.select_k_unstable(table, count, [(column, "ascending")]) if count else []
    names = table[column].take(places).to_pylist() if count else []
    return Some(tuple("?" if name is None else name for name in names), table.num_rows)
