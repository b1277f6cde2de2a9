"""Which columns of a table are shown, in which order; which of these have no room, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .table import Cell, ViewColumn, fit_columns

__all__ = ("ColumnChoice", "ColumnList", "column_title")

_GAP = 2
_SHOWN, _HIDDEN = "[x]", "[ ]"


def column_title(column: ViewColumn) -> str:
    """What it is called: of one without a title, its name."""
    return column.title or column.name


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What somebody wants to see of a table, by the names of its columns. As it comes: all, as the table has them."""

    left_out: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    """Empty: the table's own, and where the terminal is narrow, columns go by their rank. Else the last go first."""

    @classmethod
    def of(cls, columns: Sequence[ViewColumn], shown: Iterable[str]) -> ColumnChoice:
        """These and no others, in this order, as far as the table has them; all, if it has none of them."""
        names = [column.name for column in columns]
        kept = [name for name in dict.fromkeys(shown) if name in names] or names
        own = [name for name in names if name in kept]
        return cls(frozenset(names) - set(kept), () if kept == own else tuple(kept))

    def arranged(self, columns: Sequence[ViewColumn]) -> list[int]:
        """The places of all columns, in the order wanted. One that was not there yet comes after its neighbour."""
        if not self.order:
            return list(range(len(columns)))
        names = {column.name: place for place, column in enumerate(columns)}
        places = [names[name] for name in self.order if name in names]
        for place in range(len(columns)):
            if place not in places:
                places.insert(places.index(place - 1) + 1 if place else 0, place)
        return places

    def shown(self, columns: Sequence[ViewColumn]) -> list[int]:
        """The places of those that are not left out, in the order wanted; of all, if none would be left."""
        places = self.arranged(columns)
        return [place for place in places if columns[place].name not in self.left_out] or places

    def fit(
        self, columns: Sequence[ViewColumn], width: int, first: int | None = None
    ) -> list[tuple[int, int]]:
        """Places and widths of those that fit. :param first: as for :func:`fit_columns`"""
        shown = self.shown(columns)
        if first is None and self.order:
            first = 0
        return [
            (shown[place], room)
            for place, room in fit_columns([columns[each] for each in shown], width, first)
        ]


class ColumnList:
    """A :class:`~explorer.tui.views.table.TableSource` of a table's columns, in which the choice is made."""

    columns = (
        ViewColumn("shown", "", 3),
        ViewColumn("title", "COLUMN", 17),
        ViewColumn("room", "HAS ROOM", 22, 2),
        ViewColumn("value", "IN THE ROW", 12, 3, rank=1),
    )

    def __init__(
        self, columns: Sequence[ViewColumn], choice: ColumnChoice, width: int, row: Sequence[Cell] = ()
    ) -> None:
        """
        :param width: terminal columns that the table has for its cells
        :param row: the cells of one row, as an example of what is in the columns
        """
        self.of = columns
        """The table's columns."""
        self._width = width
        self._row = row
        shown = choice.shown(columns)
        self.choice = replace(choice, left_out=choice.left_out - {columns[place].name for place in shown})

    def __len__(self) -> int:
        return len(self.of)

    def _column(self, index: int) -> ViewColumn:
        return self.of[self.choice.arranged(self.of)[index]]

    def cells(self, index: int) -> list[Cell]:
        place = self.choice.arranged(self.of)[index]
        column = self.of[place]
        shown = column.name not in self.choice.left_out
        why = self.why_not(column.name)
        value = self._row[place].text.strip() if place < len(self._row) else ""
        return [
            Cell(_SHOWN if shown else _HIDDEN),
            Cell(column_title(column), "" if shown else "muted"),
            Cell(why or ("yes" if shown else "hidden"), "warn" if why else "muted"),
            Cell(value, "muted"),
        ]

    def why_not(self, name: str) -> str:
        """Why a column that is to be shown is not on the screen at this width; empty: it is, or it is hidden."""
        shown = [self.of[place] for place in self.choice.shown(self.of)]
        fits = {self.of[place].name for place, _ in self.choice.fit(self.of, self._width)}
        if name in fits or name in self.choice.left_out:
            return ""
        waiting = [column for column in shown if column.name not in fits]
        if not self.choice.order:
            waiting.sort(key=lambda column: column.rank)
        column = next(each for each in waiting if each.name == name)
        here = [each for each in shown if each.name in fits]
        left = max(0, self._width - sum(each.width for each in here) - _GAP * len(here))
        if column.width > left:
            return f"no: it needs {column.width}, {left} left"
        return f"no: {column_title(waiting[0])} is before it"

    def no_room(self) -> int:
        """How many columns that are to be shown have no room."""
        return sum(bool(self.why_not(column.name)) for column in self.of)

    def toggle(self, index: int) -> bool:
        """Hide a column, or show it. False: it is the last that is shown."""
        name = self._column(index).name
        left_out = self.choice.left_out ^ {name}
        if not any(column.name not in left_out for column in self.of):
            return False
        self.choice = replace(self.choice, left_out=left_out)
        return True

    def move(self, index: int, step: int) -> int:
        """Put a column before the one above it, or behind the one below. Where it is then."""
        places = self.choice.arranged(self.of)
        to = index + step
        if not 0 <= to < len(places):
            return index
        places[index], places[to] = places[to], places[index]
        own = places == sorted(places)
        order = () if own else tuple(self.of[place].name for place in places)
        self.choice = replace(self.choice, order=order)
        return to

    def reset(self) -> None:
        """All of them, as the table has them."""
        self.choice = ColumnChoice()
