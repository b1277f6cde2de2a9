"""A table and the detail of its selected row, and how they share the screen."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Container

from explorer.tui.keys import hidden

from .detail_pane import DetailPane
from .virtual_table import VirtualTable

__all__ = ("Split",)

#: What the pane may have of the screen, in percent.
_SHARES = (20, 35, 50, 65, 80)
#: Unless somebody says otherwise, below the table: a third, and no more than this many lines that the table could use.
_DEFAULT_SHARE, _LEAST, _MOST = 35, 8, 18


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
        self._given: tuple[int | None, int | None] = (None, None)

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
        if event.table.id == "rows":
            self.share_out()

    def on_resize(self, event: events.Resize) -> None:
        self.share_out()

    def share_out(self) -> None:
        """Give both their room. Asked at every key that is typed into a filter: what is as it was is not set."""
        wanted = self._wanted()
        if wanted == self._given:
            return
        self._given = wanted
        width, height = wanted
        pane, table = self._pane.styles, self._table.styles
        pane.width, table.width = (None, None) if width is None else (f"{width}%", f"{100 - width}%")
        pane.height = pane.max_height = height

    def _wanted(self) -> tuple[int | None, int | None]:
        """The pane's width, in percent, or its height, in lines; ``None``: as the style sheet has it."""
        if self.has_class("zoomed"):
            return None, None
        if self._is_wide:
            return self._share, None
        lines = self.size.height
        if self._share is not None:
            return None, max(1, lines * self._share // 100)
        height = min(max(lines * _DEFAULT_SHARE // 100, _LEAST), _MOST)
        return None, max(1, height, lines - self._rows_wanted(lines))

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
        self.share_out()

    def action_zoom(self) -> None:
        self._pane.display = True
        self.toggle_class("zoomed")
        self.share_out()
        self.screen.set_focus(self._pane if self.has_class("zoomed") else self._table)
