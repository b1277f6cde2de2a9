"""A table that renders only the lines on the screen: as fast for a million rows as for ten.

Cells are escaped text with a tone; they become segments directly and are never parsed as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from explorer.model import display_width
from explorer.output import fit
from explorer.tui.keys import hidden
from explorer.tui.views import Cell, MarkedSource, TableSource, fit_columns

__all__ = ("VirtualTable",)

_CACHED_LINES = 1000
_GUTTER = 3
#: The column of the cursor is reversed in the header, and the cell under it is underlined: no colour is needed for it.
_HERE = Style(reverse=True)
_UNDERLINED = Style(underline=True)
_TONES = ("muted", "good", "warn", "bad", "critical", "group")
#: What the cursor does not cover: a block of its colour stays, as well told apart from its text as before.
_STAND_OUT = frozenset({"good", "warn", "bad", "critical"})


class _Place(NamedTuple):
    """Where a cell stands in its line."""

    cell: Cell
    first: int
    last: int
    """Columns of the source that it covers: one, or some empty ones too."""
    room: int
    numeric: bool


class VirtualTable(ScrollView, can_focus=True):
    """Shows a :class:`TableSource`; knows a cursor and which columns are scrolled away, and nothing else."""

    CELLS: ClassVar[bool] = True
    """Whether the cursor is on a cell; otherwise on a row, and there are no columns to go to."""
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--cursor-blurred",
        *(f"table--{tone}" for tone in _TONES),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("down,j", "move(1)", "table.down", "The next row"),
        hidden("up,k", "move(-1)", "table.up", "The row before"),
        hidden("pagedown,ctrl+f", "page(1)", "table.page-down", "A screen down"),
        hidden("pageup,ctrl+b", "page(-1)", "table.page-up", "A screen up"),
        hidden("ctrl+d", "page(0.5)", "table.half-down", "Half a screen down"),
        hidden("ctrl+u", "page(-0.5)", "table.half-up", "Half a screen up"),
        hidden("home,g", "edge(0)", "table.first", "The first row"),
        hidden("end,G", "edge(1)", "table.last", "The last row"),
        hidden("right,l", "columns(1)", "table.right", "The next column; those that do not fit scroll in"),
        hidden("left,h", "columns(-1)", "table.left", "The column before"),
        hidden("enter,space", "choose", "table.choose", "Open what is under the cursor"),
    ]

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, table: VirtualTable, row: int) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> VirtualTable:
            return self.table

    class Chosen(Moved):
        """Enter, space, or a click on the row under the cursor."""

    class Resized(Moved):
        """It has another size: a source that is made for a width is to be made anew."""

    class HeaderClicked(Message):
        """The header of a column was clicked."""

        def __init__(self, table: VirtualTable, column: str) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> VirtualTable:
            return self.table

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
        self._scroll_state: tuple[object, ...] = ()
        self._styles: dict[str, Style] = {}
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(_CACHED_LINES)

    # -- content ---------------------------------------------------------------------------------------------

    def show(self, source: TableSource, row: int = 0) -> None:
        """Show a source, the cursor on ``row``."""
        self.source = source
        if self.column >= len(source.columns):
            self.column, self._first = 0, None
        self.changed(row)

    def changed(self, row: int | None = None) -> None:
        """The source has other rows now."""
        self._strips.clear()
        self._set_height(self._count() + 1)
        self.put_cursor(self.row if row is None else row)
        self.refresh()

    def _set_height(self, lines: int) -> None:
        """Say how many lines there are. Nothing else on the screen moves for it, unless a scrollbar comes or goes."""
        size, height = Size(self.size.width, lines), self.styles.height
        if height is None or height.is_auto:
            self.virtual_size = size
        elif size != self.virtual_size:
            self.set_reactive(VirtualTable.virtual_size, size)
            self._scroll_update(size)

    def _scroll_update(self, virtual_size: Size) -> None:
        """Textual calls it at every layout, and draws the scrollbars anew each time: a frame of its own."""
        styles = self.styles
        state = (
            virtual_size,
            self.container_size,
            styles.overflow_x,
            styles.overflow_y,
            styles.scrollbar_size_vertical,
        )
        if state != self._scroll_state:
            self._scroll_state = state
            super()._scroll_update(virtual_size)

    def redraw(self) -> None:
        """The source shows the same rows in another way."""
        self._strips.clear()
        self.refresh()

    def _count(self) -> int:
        return 0 if self.source is None else len(self.source)

    def cells_at_cursor(self) -> list[str]:
        """The text of the row under the cursor, all columns of it, as it is copied."""
        if self.source is None or not 0 <= self.row < self._count():
            return []
        return [cell.text if cell.copied is None else cell.copied for cell in self.source.cells(self.row)]

    def cell_at_cursor(self) -> str:
        """The text of the cell under the cursor."""
        cells = self.cells_at_cursor()
        return cells[self.column].strip() if self.column < len(cells) else ""

    # -- cursor ----------------------------------------------------------------------------------------------

    def put_cursor(self, row: int) -> None:
        """Put the cursor on a row, or on the nearest there is."""
        before, top = self.row, self.scroll_offset.y
        self.row = max(0, min(row, self._count() - 1))
        self._scroll_to_cursor()
        if self.scroll_offset.y == top:
            for line in {before, self.row}:
                self.refresh(Region(0, line - top + 1, self.size.width, 1))
        self.post_message(self.Moved(self, self.row))

    def _page_rows(self) -> int:
        return max(1, self.size.height - 1)

    def _scroll_to_cursor(self) -> None:
        top, page = round(self.scroll_y), self._page_rows()
        if self.row < top:
            self.scroll_to(y=self.row, animate=False, force=True)
        elif self.row >= top + page:
            self.scroll_to(y=self.row - page + 1, animate=False, force=True)

    def action_move(self, step: int) -> None:
        self.put_cursor(self.row + step)

    def action_page(self, pages: float) -> None:
        self.put_cursor(self.row + round(pages * self._page_rows()))

    def action_edge(self, last: int) -> None:
        self.put_cursor(self._count() - 1 if last else 0)

    def action_choose(self) -> None:
        if self._count():
            self.post_message(self.Chosen(self, self.row))

    def action_columns(self, step: int) -> None:
        if self.source is not None and self.CELLS:
            self.put_column(self.column + step)

    def put_column(self, column: int) -> None:
        """Put the cursor in a column, and scroll it in if it is not there."""
        assert self.source is not None
        columns = self.source.columns
        self.column = max(0, min(column, len(columns) - 1))
        movable = sum(each.rank > 0 for each in columns)
        for first in (self._first, None, *range(movable)):
            if self.column in dict(fit_columns(columns, self._room, first)):
                self._first = first
                break
        self.redraw()

    # -- events ----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._strips.clear()
        self._set_height(self._count() + 1)
        self.call_after_refresh(self._scroll_to_cursor)
        self.post_message(self.Resized(self, self.row))

    def notify_style_update(self) -> None:
        self._strips.clear()
        self._styles.clear()
        super().notify_style_update()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def row_under(self, event: events.Click) -> int | None:
        """The row that was clicked."""
        offset = event.get_content_offset(self)
        if offset is None or self.source is None or offset.y == 0:
            return None
        row = round(self.scroll_y) + offset.y - 1
        return row if row < self._count() else None

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or self.source is None:
            return
        column = self._column_at(offset.x)
        if offset.y == 0:
            if column is not None:
                self.post_message(self.HeaderClicked(self, self.source.columns[column].name))
            return
        row = self.row_under(event)
        if row is None:
            return
        if row == self.row and column in (self.column, None):
            self.action_choose()
            return
        if column is not None and self.CELLS:
            self.put_column(column)
        self.put_cursor(row)

    def _column_at(self, x: int) -> int | None:
        start = self._gutter
        for index, width in self._layout():
            if start <= x < start + width + 2:
                return index
            start += width + 2
        return None

    # -- rendering -------------------------------------------------------------------------------------------

    def _layout(self) -> list[tuple[int, int]]:
        assert self.source is not None
        return fit_columns(self.source.columns, self._room, self._first)

    @property
    def _gutter(self) -> int:
        """Columns on the left for marks: none, where nothing is ever marked."""
        return _GUTTER if getattr(self.source, "marks", None) is not None else 0

    @property
    def _room(self) -> int:
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
        key = (index, self.column if index == self.row else -1, self.has_focus)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row(index, width)
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
        hidden = len(self.source.columns) - len(layout)
        if hidden:
            note = f" +{hidden}›"
            strip = strip.adjust_cell_length(width - len(note), style)
            strip = Strip([*strip, Segment(note, style)])
        return strip.adjust_cell_length(width, style)

    def _row(self, index: int, width: int) -> Strip:
        assert self.source is not None
        cells = self.source.cells(index)
        over = None
        if index == self.row:
            over = self._style("cursor" if self.has_focus else "cursor-blurred")
        segments = []
        if self._gutter:
            mark = self.source.mark(index) if isinstance(self.source, MarkedSource) else ""
            segments.append(Segment(_padded(mark, _GUTTER - 2), over or self._style("warn")))
        for place in self._places(cells):
            style = self._style(place.cell.tone) if over is None else over
            if over is not None and place.cell.tone in _STAND_OUT:
                style = _reversed(self._style(place.cell.tone))
            segments.append(Segment("  " if segments else "", style))
            here = over is not None and self.CELLS and place.first <= self.column <= place.last
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
                places[-1] = last._replace(last=column, room=last.room + room + 2)
            else:
                places.append(_Place(cell, column, column, room, self.source.columns[column].numeric))
        return places

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh(Region(0, 0, self.size.width, self.size.height))


def _reversed(style: Style) -> Style:
    """Its colours the other way round, if they are not so already."""
    return style if style.reverse else style + _HERE


def _padded(text: str, width: int, right: bool = False) -> str:
    """Exactly ``width`` terminal columns."""
    text = fit(text, width)
    gap = " " * max(0, width - display_width(text))
    return gap + text if right else text + gap
