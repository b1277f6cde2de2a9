"""A table that renders only the lines on the screen: as fast for a million rows as for ten.

Cells are escaped text with a tone; they become segments directly and are never parsed as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

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
from explorer.output.table import fit
from explorer.tui.keys import hidden
from explorer.tui.views.table import Cell, TableSource, fit_columns

__all__ = ("VirtualTable",)

_CACHED_LINES = 1000
_TONES = ("muted", "good", "warn", "bad", "group")


class VirtualTable(ScrollView, can_focus=True):
    """Shows a :class:`TableSource`; knows a cursor and which columns are scrolled away, and nothing else."""

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
        hidden("right,l", "columns(1)", "table.right", "Columns further right"),
        hidden("left,h", "columns(-1)", "table.left", "Columns further left"),
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
        self.skip = 0
        self.sort_mark: tuple[str, bool] | None = None
        """Column ordered by, and whether the largest comes first."""
        self._empty = empty
        self._strips: LRUCache[tuple[int, bool, bool], Strip] = LRUCache(_CACHED_LINES)

    # -- content ---------------------------------------------------------------------------------------------

    def show(self, source: TableSource, row: int = 0) -> None:
        """Show a source, the cursor on ``row``."""
        self.source = source
        self.changed(row)

    def changed(self, row: int | None = None) -> None:
        """The source has other rows now."""
        self._strips.clear()
        self.virtual_size = Size(self.size.width, self._count() + 1)
        self._put_cursor(self.row if row is None else row)
        self.refresh()

    def _count(self) -> int:
        return 0 if self.source is None else len(self.source)

    def cells_at_cursor(self) -> list[str]:
        """The text of the row under the cursor, all columns of it."""
        if self.source is None or not 0 <= self.row < self._count():
            return []
        return [cell.text for cell in self.source.cells(self.row)]

    # -- cursor ----------------------------------------------------------------------------------------------

    def _put_cursor(self, row: int) -> None:
        self.row = max(0, min(row, self._count() - 1))
        self._scroll_to_cursor()
        self.refresh()
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
        self._put_cursor(self.row + step)

    def action_page(self, pages: float) -> None:
        self._put_cursor(self.row + round(pages * self._page_rows()))

    def action_edge(self, last: int) -> None:
        self._put_cursor(self._count() - 1 if last else 0)

    def action_choose(self) -> None:
        if self._count():
            self.post_message(self.Chosen(self, self.row))

    def action_columns(self, step: int) -> None:
        if self.source is None:
            return
        movable = sum(column.rank > 0 for column in self.source.columns)
        self.skip = max(0, min(self.skip + step, movable - 1))
        self._strips.clear()
        self.refresh()

    # -- events ----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._strips.clear()
        self.virtual_size = Size(self.size.width, self._count() + 1)
        self.call_after_refresh(self._scroll_to_cursor)

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or self.source is None:
            return
        if offset.y == 0:
            self._click_header(offset.x)
            return
        row = round(self.scroll_y) + offset.y - 1
        if row >= self._count():
            return
        if row == self.row:
            self.action_choose()
        else:
            self._put_cursor(row)

    def _click_header(self, x: int) -> None:
        assert self.source is not None
        start = 0
        for index, width in self._layout():
            if start <= x < start + width + 2:
                self.post_message(self.HeaderClicked(self, self.source.columns[index].name))
                return
            start += width + 2

    # -- rendering -------------------------------------------------------------------------------------------

    def _layout(self) -> list[tuple[int, int]]:
        assert self.source is not None
        return fit_columns(self.source.columns, self._width, self.skip)

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
            return Strip.blank(width, self.rich_style)
        if y == 0:
            return self._header(width)
        index = round(self.scroll_y) + y - 1
        if index >= self._count():
            if index == 0:
                return self._plain(self._empty, width, self._style("muted"))
            return Strip.blank(width, self.rich_style)
        key = (index, index == self.row, self.has_focus)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row(index, width)
        return strip

    def _style(self, tone: str) -> Style:
        return self.get_component_rich_style(f"table--{tone}") if tone else self.rich_style

    def _plain(self, text: str, width: int, style: Style) -> Strip:
        return Strip([Segment(_padded(text, width), style)]).adjust_cell_length(width, style)

    def _header(self, width: int) -> Strip:
        style = self.get_component_rich_style("table--header")
        text = self.header_text()
        if text is not None:
            return self._plain(text, width, style)
        assert self.source is not None
        layout = self._layout()
        parts = []
        for index, room in layout:
            column = self.source.columns[index]
            title = column.title
            if self.sort_mark is not None and self.sort_mark[0] == column.name:
                title = fit(f"{'▼' if self.sort_mark[1] else '▲'}{title}", room)
            parts.append(_padded(title, room, column.numeric))
        text = "  ".join(parts)
        hidden = len(self.source.columns) - len(layout)
        if hidden:
            note = f" +{hidden}›"
            text = _padded(text.rstrip(), width - len(note)) + note
        return self._plain(text, width, style)

    def _row(self, index: int, width: int) -> Strip:
        assert self.source is not None
        cells = self.source.cells(index)
        over = None
        if index == self.row:
            name = "table--cursor" if self.has_focus else "table--cursor-blurred"
            over = self.get_component_rich_style(name)
        segments = []
        for gap, cell, room, numeric in self._places(cells):
            style = self._style(cell.tone) if over is None else over
            segments.append(Segment(gap + _padded(cell.text, room, numeric), style))
        strip = Strip(segments)
        return strip.adjust_cell_length(width, over or self.rich_style).crop(0, width)

    def _places(self, cells: Sequence[Cell]) -> list[tuple[str, Cell, int, bool]]:
        """Gap, cell, width and alignment; a text that is too long runs on into cells that are empty."""
        assert self.source is not None
        places: list[tuple[str, Cell, int, bool]] = []
        for column, room in self._layout():
            cell = cells[column]
            if not cell.text and places:
                gap, last, width, numeric = places[-1]
                if not numeric and display_width(last.text) > width:
                    places[-1] = (gap, last, width + room + 2, numeric)
                    continue
            places.append(("  " if places else "", cell, room, self.source.columns[column].numeric))
        return places

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh(Region(0, 0, self.size.width, self.size.height))


def _padded(text: str, width: int, right: bool = False) -> str:
    """Exactly ``width`` terminal columns."""
    text = fit(text, width)
    gap = " " * max(0, width - display_width(text))
    return gap + text if right else text + gap
