"""Tables for a terminal: as wide as it is, cut where it must be, never wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.model import display_width

__all__ = ("Table", "TableColumn", "fit", "render_table")

_GAP = "  "
_ELLIPSIS = "…"
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class TableColumn:
    title: str
    numeric: bool = False
    least: int = 0
    """Never cut below this many columns; 0: never cut at all."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that may be shown on a terminal or written to a file; cells are escaped already."""

    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[str]]

    def lines(self, width: int | None) -> list[str]:
        """See :func:`render_table`."""
        return render_table(self.columns, self.rows, width)


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` terminal columns, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    kept, used = [], 1
    for char in text:
        used += display_width(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept) + (_ELLIPSIS if width > 0 else "")


def _pad(text: str, width: int, numeric: bool) -> str:
    text = fit(text, width)
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
    surplus = sum(widths) + len(_GAP) * (len(columns) - 1) - width
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


def render_table(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], width: int | None
) -> list[str]:
    """Lines of a table with a header; cells must be escaped already.

    :param width: columns of the terminal; ``None`` (for files and pipes): only what would make a column absurd,
        such as a path of four thousand bytes, is cut
    """
    widths = _widths(columns, rows, width)
    lines = []
    for row in [[column.title for column in columns], *rows]:
        cells = [
            _pad(cell, have, column.numeric) for cell, have, column in zip(row, widths, columns, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines
