"""A table that renders only the lines on the screen: as fast for a million rows as for ten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message

from explorer.tui.keys import hidden
from explorer.tui.views import ColumnChoice, TableSource

from .table_lines import TableLines

__all__ = ("VirtualTable",)


class VirtualTable(TableLines):
    """Shows a :class:`TableSource`; knows a cursor and which columns are scrolled away, and nothing else."""

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
        hidden("enter", "choose", "table.choose", "Open what is under the cursor"),
    ]

    class _AtRow(Message):
        def __init__(self, table: VirtualTable, row: int) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> VirtualTable:
            return self.table

    class Moved(_AtRow):
        """The cursor is on another row."""

    class Chosen(_AtRow):
        """Enter, or a click on the row under the cursor."""

    class Resized(_AtRow):
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

    class MoreClicked(Message):
        """What says that there are more columns was clicked."""

        def __init__(self, table: VirtualTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> VirtualTable:
            return self.table

    def __init__(self, *, id: str | None = None, classes: str | None = None, empty: str = "nothing") -> None:
        super().__init__(id=id, classes=classes, empty=empty)
        self._scroll_state: tuple[object, ...] = ()

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

    def cells_at_cursor(self) -> list[str]:
        """The text of the row under the cursor, all columns of it, as it is copied."""
        if self.source is None or not 0 <= self.row < self._count():
            return []
        return [cell.taken for cell in self.source.cells(self.row)]

    def chosen(self, values: Sequence[str]) -> list[str]:
        """Of values by column those of the columns that are not left out, in the order chosen, whether they have room
        or not."""
        shown = () if self.source is None or not values else self.choice.shown(self.source.columns)
        return [values[place] for place in shown]

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
            shown = self.choice.shown(self.source.columns)
            at = shown.index(self.column) + step if self.column in shown else 0
            if 0 <= at < len(shown):
                self.put_column(shown[at])

    def put_column(self, column: int) -> None:
        """Put the cursor in a column, and scroll it in if it is not there."""
        assert self.source is not None
        columns = self.source.columns
        self.column = max(0, min(column, len(columns) - 1))
        movable = sum(each.rank > 0 for each in columns)
        for first in (self._first, None, *range(movable)):
            if self.column in dict(self._fit(first)):
                self._first = first
                break
        self.redraw()

    def choose_columns(self, choice: ColumnChoice) -> None:
        """Show these columns; the cursor stays in its own, if that is among them."""
        self.choice = choice
        if self.source is not None:
            shown = choice.shown(self.source.columns)
            self._first = None
            self.put_column(self.column if self.column in shown else shown[0])

    # -- events ----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._set_height(self._count() + 1)
        self.call_after_refresh(self._scroll_to_cursor)
        self.post_message(self.Resized(self, self.row))

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
            if self.more_key and offset.x >= self._width - self._note_width:
                self.post_message(self.MoreClicked(self))
            elif column is not None:
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

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self.refresh(Region(0, 0, self.size.width, self.size.height))
