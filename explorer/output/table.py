"""Tables for a terminal: as wide as it is, cut where it must be, never wrapped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from explorer.model import display_width, escape_text

__all__ = (
    "WRAP_INDENT",
    "RowLines",
    "Table",
    "TableColumn",
    "fit",
    "fit_address",
    "fit_middle",
    "render_table",
    "wrap_escaped",
    "wrap_lines",
)

_GAP = "  "
_ELLIPSIS = "…"
#: Where nothing is cut, a cell of a path of four thousand bytes does not make its whole column that wide.
_LONGEST = 100
#: Columns before what is said of something, in which a word says what it is.
WRAP_INDENT = 10
_LEAST_WRAP = 40
_ADDRESS = re.compile(r"0x[0-9a-f]{8}([0-9a-f]{8})")


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` terminal columns, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    return _beginning(text, width - 1) + (_ELLIPSIS if width > 0 else "")


def fit_middle(text: str, width: int) -> str:
    """The same with something missing in the middle: of a path the end says more than what is before it."""
    if display_width(text) <= width or width < 3:
        return fit(text, width)
    before = _beginning(text, (width - 1) // 2)
    after = _beginning(text[::-1], width - 1 - display_width(before))
    return f"{before}{_ELLIPSIS}{after[::-1]}"


def fit_address(text: str, width: int) -> str:
    """The same; an address is shortened to the half in which two of one kernel differ."""
    address = _ADDRESS.fullmatch(text)
    return fit(text if address is None or width >= len(text) else f"{_ELLIPSIS}{address[1]}", width)


def _beginning(text: str, width: int) -> str:
    """As many of the first characters as ``width`` terminal columns hold."""
    used = 0
    for at, char in enumerate(text):
        used += display_width(char)
        if used > width:
            return text[:at]
    return text


class TableColumn(NamedTuple):
    title: str
    numeric: bool = False
    least: int = 0
    """Never cut below this many columns; 0: never cut at all."""
    rank: int = 0
    """Where the table is too wide for a terminal with everything cut, the highest rank is left out first; 0: never."""
    most: int = 0
    """On a terminal never wider than this, so that one long path leaves room for the rest; 0: as wide as need be."""
    cut: Callable[[str, int], str] = fit
    """How a cell is made to fit a width."""
    first: bool = False
    """The first to give way where there is no room, however narrow it is."""


class Table(NamedTuple):
    """A table that may be shown on a terminal or written to a file; cells are escaped already."""

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[str]]

    def lines(self, width: int | None) -> list[str]:
        """See :func:`render_table`."""
        return render_table(self.columns, self.rows, width)


def wrap_lines(lines: Sequence[str], width: int | None) -> list[str]:
    """Sentences in lines no wider than ``width``, if there is one; a word that is too long stays whole."""
    if width is None:
        return list(lines)
    parts = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in lines)
    return [part for wrapped in parts for part in wrapped]


def wrap_escaped(text: str, width: int, first: str = "", indent: int = WRAP_INDENT) -> list[str]:
    """Lines no wider than ``width``; ``text`` is escaped here. Words that are too long are cut, paths included."""
    return textwrap.wrap(
        escape_text(text),
        max(width, _LEAST_WRAP),
        initial_indent=first.ljust(indent),
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )


def _pad(text: str, width: int, numeric: bool) -> str:
    gap = " " * (width - display_width(text))
    return gap + text if numeric else text + gap


def _widths(columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Natural widths; where that is too much, the widest column that may be cut gives way first."""
    widths = [display_width(column.title) for column in columns]
    for row in rows:
        widths = [max(have, display_width(cell)) for have, cell in zip(widths, row, strict=True)]
    if width is None:
        caps = [_LONGEST if column.least else have for have, column in zip(widths, columns, strict=True)]
        return [min(have, cap) for have, cap in zip(widths, caps, strict=True)]
    widths = [min(have, column.most or have) for have, column in zip(widths, columns, strict=True)]
    if _total(widths) > width:
        widths = [
            min(have, column.least) if column.first else have
            for have, column in zip(widths, columns, strict=True)
        ]
    surplus = _total(widths) - width
    while surplus > 0:
        room = [
            have - column.least if column.least else 0 for have, column in zip(widths, columns, strict=True)
        ]
        widest = max(range(len(columns)), key=lambda index: widths[index] if room[index] > 0 else -1)
        if room[widest] <= 0:
            return widths
        widths[widest] -= 1
        surplus -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _leave_out(columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Indices of the columns that a terminal has room for."""
    kept = list(range(len(columns)))
    needs = [display_width(column.title) for column in columns]
    for row in rows:
        needs = [
            max(have, min(display_width(cell), column.least or width))
            for have, cell, column in zip(needs, row, columns, strict=True)
        ]
    while _total([needs[index] for index in kept]) > width:
        last = max(kept, key=lambda index: columns[index].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
    return kept


def render_table(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], width: int | None
) -> list[str]:
    """Lines of a table with a header; cells must be escaped already.

    :param width: columns of the terminal; ``None`` (for files and pipes): nothing is cut or left out
    """
    left_out = []
    if width is not None:
        kept = _leave_out(columns, rows, width)
        left_out = [column.title for index, column in enumerate(columns) if index not in kept]
        columns, rows = [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]
    widths = _widths(columns, rows, width)
    lines = []
    for row in [[column.title for column in columns], *rows]:
        cells = [
            _pad(cell if width is None else column.cut(cell, have), have, column.numeric)
            for cell, have, column in zip(row, widths, columns, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
    if left_out:
        lines += wrap_lines(
            [f"No room for {', '.join(left_out)}: a wider terminal or a pipe has them."], width
        )
    return lines


class RowLines:
    """Lines of a table whose rows come one by one: each column is as wide as a usual row needs it.

    :param usual: cells of that row
    :param width: columns of the terminal; ``None``: nothing is cut, and what is longer moves what is behind it
    """

    def __init__(self, columns: Sequence[TableColumn], usual: Sequence[str], width: int | None) -> None:
        self._kept = list(range(len(columns))) if width is None else _leave_out(columns, [usual], width)
        self._columns = [columns[at] for at in self._kept]
        self._widths = _widths(self._columns, [[usual[at] for at in self._kept]], width)
        self._cut = width is not None
        lines = render_table(columns, [usual], width)
        self.header, self.notes = lines[0], lines[2:]
        """``notes``: what a terminal has no room for."""

    def line(self, cells: Sequence[str]) -> str:
        """One row; cells must be escaped already."""
        padded = (
            _pad(column.cut(cells[at], have) if self._cut else cells[at], have, column.numeric)
            for at, column, have in zip(self._kept, self._columns, self._widths, strict=True)
        )
        return _GAP.join(padded).rstrip()
