"""What a table on the screen is made of: columns that know their width, and cells that know their tone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from explorer.analysis.query import Query, QueryField
from explorer.model import Reference

__all__ = (
    "ArrangedSource",
    "Cell",
    "MarkedSource",
    "PickedSource",
    "TableSource",
    "ViewColumn",
    "fit_columns",
)

_GAP = 2


class Cell(NamedTuple):
    """Text that is escaped already, and a tone: the name of a style that repeats what the words say."""

    text: str
    tone: str = ""
    copied: str | None = None
    """What is copied of it, if not all of the text: what only the screen draws is left out."""

    @property
    def taken(self) -> str:
        """What of it leaves the screen."""
        return self.text if self.copied is None else self.copied


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column on the screen."""

    name: str
    title: str
    width: int
    """Terminal columns; for one that grows: the least that is worth showing."""
    grow: int = 0
    """Share of the width that is left over; 0: none."""
    numeric: bool = False
    rank: int = 0
    """Dropped first where the terminal is narrow: the largest. 0: never dropped."""


class TableSource(Protocol):
    """Rows for a virtual table. Nothing is asked of a row before it is on the screen."""

    @property
    def columns(self) -> Sequence[ViewColumn]: ...

    def __len__(self) -> int: ...

    def cells(self, index: int) -> Sequence[Cell]:
        """One cell a column."""


@runtime_checkable
class MarkedSource(Protocol):
    """A source whose rows may have changed since they were read before."""

    marks: Any
    """What there is to mark: empty where nothing has changed, ``None`` where nothing ever does (and no gutter is)."""

    def mark(self, index: int) -> str:
        """``+`` for a row that is new, ``~`` for one that changed, empty for the others."""


@runtime_checkable
class PickedSource(Protocol):
    """A source whose rows the user may mark. A row is known by keys, which outlive a reading of the kernel."""

    picked: set[Hashable]
    """The keys of what is marked."""

    def keys_at(self, index: int) -> Collection[Hashable]:
        """What a row stands for: itself, or all rows of a group."""

    def is_picked(self, index: int) -> bool:
        """Whether all that a row stands for is marked."""


class ArrangedSource(TableSource, PickedSource, Protocol):
    """A source that can be filtered and ordered: what every table of a screen of its own is."""

    sort_column: str | None
    descending: bool

    @property
    def fields(self) -> Mapping[str, QueryField]:
        """What a filter may ask for."""

    @property
    def matching(self) -> int:
        """Rows that the filter lets through."""

    @property
    def first_match(self) -> int:
        """The row of the first object that the filter lets through, not one that is there for what hangs on it."""

    def set_filter(self, query: Query | None) -> None:
        """Show only the rows that match; ``None``: all."""

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Order by a column; ``None``: as they came."""

    def counts(self) -> str:
        """``59 of 84 tasks``."""

    def values_of(self, name: str) -> Sequence[str]:
        """What there is for a field, as a filter is to say it: each once; what rows have is sorted."""

    def all_keys(self) -> Collection[Hashable]:
        """The keys of all rows that the filter lets through."""

    def picked_records(self) -> Sequence[Any]:
        """What is marked, in the order of the table, whether the filter lets it through or not."""

    def cells_of(self, record: Any) -> Sequence[Cell]:
        """The row of a record, whether it is shown or not."""

    def keep_picked(self, picked: set[Hashable]) -> None:
        """Take marks over, as far as what was marked is still there, whatever the filter."""

    def warm_up(self, between: Callable[[], None]) -> None:
        """Make what the first key in the filter would wait for. :param between: called before every part of the work"""

    def reference_at(self, index: int) -> Reference | None:
        """What a row is about."""

    def find(self, reference: Reference) -> int | None:
        """The row of an object."""


def fit_columns(columns: Sequence[ViewColumn], width: int, first: int | None = None) -> list[tuple[int, int]]:
    """Which columns fit into ``width``, and how wide: pairs of index and width, left to right.

    :param first: how many of the columns that may be dropped are scrolled away on the left; then those on the left
        come first, whatever their rank. ``None``: by rank
    """
    fixed = [index for index, column in enumerate(columns) if column.rank == 0]
    movable = [index for index, column in enumerate(columns) if column.rank]
    ranked = sorted(movable, key=lambda index: (columns[index].rank, index))
    wanted = ranked if first is None else movable[first:]
    used = sum(columns[index].width for index in fixed) + _GAP * (len(fixed) - 1)
    chosen = list(fixed)
    for index in wanted:
        more = columns[index].width + _GAP
        if used + more > width:
            break
        chosen.append(index)
        used += more
    chosen.sort()
    return _share(columns, chosen, max(0, width - used))


def _share(columns: Sequence[ViewColumn], chosen: list[int], left: int) -> list[tuple[int, int]]:
    """Give what is left over to the columns that grow."""
    total = sum(columns[index].grow for index in chosen)
    widths = []
    for index in chosen:
        grow = columns[index].grow
        extra = left * grow // total if total else 0
        left, total = left - extra, total - grow
        widths.append((index, columns[index].width + extra))
    return widths
