"""What a table on the screen is made of: columns that know their width, and cells that know their tone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ("Cell", "MarkedSource", "TableSource", "ViewColumn", "fit_columns")

_GAP = 2


class Cell(NamedTuple):
    """Text that is escaped already, and a tone: the name of a style that repeats what the words say."""

    text: str
    tone: str = ""
    copied: str | None = None
    """What is copied of it, if not all of the text: what only the screen draws is left out."""


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
