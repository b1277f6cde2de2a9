"""A table and the detail of its selected row, and how they share the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.layout import WidgetPlacement

from explorer.tui.keys import hidden

from .detail_pane import DetailPane
from .virtual_table import VirtualTable

__all__ = ("Split",)

#: What the pane may have of the screen, in percent.
_SHARES = (20, 35, 50, 65, 80)
#: Unless somebody says otherwise, below the table: a third, and no more than this many lines that the table could use.
_DEFAULT_SHARE, _LEAST, _MOST = 35, 8, 18
#: What the table keeps on the smallest terminal.
_HEADER_AND_ROW = 2


class Split(Container):
    """The pane is below the table, beside it on a wide screen. Keys make it larger, smaller, and all there is.

    What the table has no rows for is the pane's. Not where something else stands beside the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("right_parenthesis", "resize(1)", "detail.larger", "More room for the detail"),
        hidden("left_parenthesis", "resize(-1)", "detail.smaller", "Less room for the detail"),
        hidden("Z", "zoom", "detail.zoom", "The detail alone, and back"),
    ]

    def __init__(self) -> None:
        super().__init__(id="split")
        self._share: int | None = None
        """Percent, once somebody has said so."""

    @property
    def _pane(self) -> DetailPane:
        return self.query_one("#detail", DetailPane)

    @property
    def _table(self) -> VirtualTable:
        return self.query_one("#rows", VirtualTable)

    @property
    def _is_wide(self) -> bool:
        return self.screen.has_class("-wide")

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        # At every key that is typed into a filter.
        pane = self._pane
        if event.table.id == "rows" and self._is_shared and not self._is_wide:
            lines = self._pane_lines(self.size.height)
            if lines != pane.outer_size.height:
                pane.refresh(layout=True)

    @property
    def _is_shared(self) -> bool:
        return self._pane.display and not self.has_class("zoomed")

    def process_layout(self, placements: list[WidgetPlacement]) -> list[WidgetPlacement]:
        """Textual calls it with where the style sheet has both: here, so that a new size is laid out once."""
        if not self._is_shared or len(placements) != 2:
            return placements
        first, second = placements
        room = first.region.union(second.region)
        if not self._is_wide:
            table, pane = room.split_horizontal(-self._pane_lines(room.height))
        elif self._share is not None:
            table, pane = room.split_vertical(-max(1, room.width * self._share // 100))
        else:
            return placements
        return [first._replace(region=table), second._replace(region=pane)]

    def _pane_lines(self, lines: int) -> int:
        """How many lines the pane gets of so many, where it is below the table."""
        share = _DEFAULT_SHARE if self._share is None else self._share
        height = max(lines * share // 100, _LEAST)
        if self._share is None:
            height = max(min(height, _MOST), lines - self._rows_wanted(lines))
        return max(1, min(height, lines - _HEADER_AND_ROW))

    def _rows_wanted(self, lines: int) -> int:
        """With the header, and a line that says that there are none; all where something stands beside the table."""
        source = self._table.source
        if source is None or self._table.parent is not self:
            return lines
        return max(1, len(source)) + 1

    def action_resize(self, step: int) -> None:
        if not self._pane.display:
            return
        self.remove_class("zoomed")
        now = self._share or (38 if self._is_wide else _DEFAULT_SHARE)
        wanted = [share for share in _SHARES if (share > now if step > 0 else share < now)]
        if wanted:
            self._share = wanted[0] if step > 0 else wanted[-1]
        self._pane.refresh(layout=True)

    def action_zoom(self) -> None:
        self._pane.display = True
        self.toggle_class("zoomed")
        self.screen.set_focus(self._pane if self.has_class("zoomed") else self._table)
