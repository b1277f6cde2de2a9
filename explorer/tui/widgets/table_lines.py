"""How a table is drawn: its header, the lines that are on the screen, and the marks beside them.

Cells are escaped text with a tone; they become segments directly and are never parsed as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.scroll_view import ScrollView
from textual.strip import Strip

from explorer.model import display_width
from explorer.output import fit
from explorer.tui.views import Cell, ColumnChoice, MarkedSource, PickedSource, TableSource

__all__ = ("TableLines",)

_CACHED_LINES = 1000
_GAP = "  "
_PICKED = "●"
#: The column of the cursor is reversed in the header, and the cell under it is underlined: no colour is needed for it.
_HERE = Style(reverse=True)
_UNDERLINED = Style(underline=True)
_TONES = ("muted", "good", "warn", "bad", "critical", "group")
#: What the cursor does not cover: a block of its colour stays, as well told apart from its text as before.
_STAND_OUT = frozenset({"good", "warn", "bad", "critical"})


class _Place(NamedTuple):
    """Where a cell stands in its line."""

    cell: Cell
    columns: tuple[int, ...]
    """Those of the source that it covers: one, or some empty ones too."""
    room: int
    numeric: bool


class TableLines(ScrollView, can_focus=True):
    """Draws a :class:`TableSource` and the cursor in it; who moves the cursor is not its business."""

    CELLS: ClassVar[bool] = True
    """Whether the cursor is on a cell; otherwise on a row, and there are no columns to go to."""
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--cursor-blurred",
        *(f"table--{tone}" for tone in _TONES),
    }

    def __init__(self, *, id: str | None = None, classes: str | None = None, empty: str = "nothing") -> None:
        super().__init__(id=id, classes=classes)
        self.source: TableSource | None = None
        self.row = 0
        self.column = 0
        """Of the source's columns, the one that the cursor is in."""
        self._first: int | None = None
        self.sort_mark: tuple[str, bool] | None = None
        """Column ordered by, and whether the largest comes first."""
        self.empty = empty
        self.choice = ColumnChoice()
        """Which columns are to be shown, and in which order."""
        self.more_key = ""
        """The key that leads to columns that are not shown; empty: there is none."""
        self._note_width = 0
        """Of what says that there are more columns, at the right of the header."""
        self._drawn_gutter = 0
        """As the lines that are kept have it."""
        self._styles: dict[str, Style] = {}
        self._strips: LRUCache[tuple[int, int, int, bool, str], Strip] = LRUCache(_CACHED_LINES)

    def redraw(self) -> None:
        """The source shows the same rows in another way."""
        self._strips.clear()
        self.refresh()

    def remark(self) -> None:
        """Other rows are marked: only these are drawn anew, if there was room for their signs."""
        if self._gutter == self._drawn_gutter:
            self.refresh()
        else:
            self.redraw()

    def _count(self) -> int:
        return 0 if self.source is None else len(self.source)

    def notify_style_update(self) -> None:
        self._strips.clear()
        self._styles.clear()
        super().notify_style_update()

    def _layout(self) -> list[tuple[int, int]]:
        assert self.source is not None
        return self._fit(self._first)

    def _fit(self, first: int | None) -> list[tuple[int, int]]:
        """Columns of the source and their widths. :param first: as for :func:`fit_columns`"""
        assert self.source is not None
        return self.choice.fit(self.source.columns, self.cell_room, first)

    @property
    def _gutter(self) -> int:
        """Columns on the left for marks: none, where nothing is marked, and nothing ever has changed."""
        signs = (getattr(self.source, "marks", None) is not None) + bool(getattr(self.source, "picked", None))
        return signs + len(_GAP) if signs else 0

    def _signs(self, index: int) -> str:
        """What stands in the gutter beside a row: whether the user has marked it, and what has changed."""
        signs = ""
        if isinstance(self.source, PickedSource) and self.source.picked:
            signs += _PICKED if self.source.is_picked(index) else " "
        if isinstance(self.source, MarkedSource) and self.source.marks is not None:
            signs += self.source.mark(index)
        return signs

    @property
    def cell_room(self) -> int:
        """Terminal columns for cells."""
        return self._width - self._gutter

    def header_text(self) -> str | None:
        """One text for the whole header line, in place of the columns' titles."""
        return None

    @property
    def _width(self) -> int:
        """Terminal columns beside the scrollbar."""
        return self.scrollable_content_region.width

    def render_line(self, y: int) -> Strip:
        width = self._width
        if self.source is None:
            return Strip.blank(width, self._style(""))
        if y == 0:
            return self._header(width)
        index = round(self.scroll_y) + y - 1
        if index >= self._count():
            if index == 0:
                return self._plain(self.empty, width, self._style("muted"))
            return Strip.blank(width, self._style(""))
        signs = self._signs(index) if self._gutter else ""
        # By width: a new size is painted before the table hears of it.
        here = index == self.row
        key = (width, index, self.column if here else -1, self.has_focus and here, signs)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row(index, width, signs)
            self._drawn_gutter = self._gutter
        return strip

    def _style(self, tone: str) -> Style:
        style = self._styles.get(tone)
        if style is None:
            style = self.get_component_rich_style(f"table--{tone}") if tone else self.rich_style
            self._styles[tone] = style
        return style

    def _plain(self, text: str, width: int, style: Style) -> Strip:
        return Strip([Segment(_padded(text, width), style)]).adjust_cell_length(width, style)

    def _header(self, width: int) -> Strip:
        style = self._style("header")
        text = self.header_text()
        if text is not None:
            return self._plain(text, width, style)
        assert self.source is not None
        layout = self._layout()
        segments = [Segment(" " * self._gutter, style)]
        for place, (index, room) in enumerate(layout):
            column = self.source.columns[index]
            title = column.title
            if self.sort_mark is not None and self.sort_mark[0] == column.name:
                title = fit(f"{'▼' if self.sort_mark[1] else '▲'}{title}", room)
            here = self.CELLS and index == self.column and self.has_focus
            segments.append(Segment("  " if place else "", style))
            segments.append(Segment(_padded(title, room, column.numeric), style + _HERE if here else style))
        strip = Strip(segments)
        note = self._more_note(strip.text, width)
        self._note_width = len(note)
        if note:
            strip = strip.adjust_cell_length(width - len(note), style)
            strip = Strip([*strip, Segment(note, style)])
        return strip.adjust_cell_length(width, style)

    def _more_note(self, titles: str, width: int) -> str:
        """What stands at the right of the header where columns are not shown: how many, and the key to them."""
        assert self.source is not None
        missing = len(self.source.columns) - len(self._layout())
        if not missing:
            return ""
        note = f" +{missing}› {self.more_key}".rstrip()
        longer = f"{note} columns"
        fits = display_width(titles.rstrip()) + display_width(longer) <= width
        return longer if self.more_key and fits else note

    def _row(self, index: int, width: int, signs: str) -> Strip:
        assert self.source is not None
        cells = self.source.cells(index)
        over = None
        if index == self.row:
            over = self._style("cursor" if self.has_focus else "cursor-blurred")
        segments = []
        if self._gutter:
            width_of_signs = self._gutter - len(_GAP)
            segments.append(Segment(_padded(signs, width_of_signs), over or self._style("warn")))
        for place in self._places(cells):
            style = self._style(place.cell.tone) if over is None else over
            if over is not None and place.cell.tone in _STAND_OUT:
                style = _reversed(self._style(place.cell.tone))
            segments.append(Segment("  " if segments else "", style))
            here = over is not None and self.CELLS and self.column in place.columns
            text = _padded(place.cell.text, place.room, place.numeric)
            segments.append(Segment(text, style + _UNDERLINED if here else style))
        strip = Strip(segments)
        return strip.adjust_cell_length(width, over or self._style("")).crop(0, width)

    def _places(self, cells: Sequence[Cell]) -> list[_Place]:
        """A text that is too long runs on into cells that are empty."""
        assert self.source is not None
        places: list[_Place] = []
        for column, room in self._layout():
            cell, last = cells[column], places[-1] if places else None
            if (
                last is not None
                and not cell.text
                and not last.numeric
                and display_width(last.cell.text) > last.room
            ):
                places[-1] = last._replace(columns=(*last.columns, column), room=last.room + room + 2)
            else:
                places.append(_Place(cell, (column,), room, self.source.columns[column].numeric))
        return places


def _reversed(style: Style) -> Style:
    """Its colours the other way round, if they are not so already."""
    return style if style.reverse else style + _HERE


def _padded(text: str, width: int, right: bool = False) -> str:
    """Exactly ``width`` terminal columns."""
    text = fit(text, width)
    gap = " " * max(0, width - display_width(text))
    return gap + text if right else text + gap
