"""A table and the detail of its selected row, and how they share the screen."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Container
from textual.timer import Timer

from explorer.tui.keys import hidden

from .detail_pane import DetailPane
from .virtual_table import VirtualTable

__all__ = ("Split",)

#: What the pane may have of the screen, in percent.
_SHARES = (20, 35, 50, 65, 80)
#: Unless somebody says otherwise, below the table: a third, and no more than this many lines that the table could use.
_DEFAULT_SHARE, _LEAST, _MOST = 35, 8, 18
#: A filter that is typed empties the table at every key: the pane waits until it has settled.
_PAUSE_S = 0.2


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
        self._waiting: Timer | None = None

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
        if event.table.id == "rows" and self._waiting is None:
            self._waiting = self.set_timer(_PAUSE_S, self._settled)

    def on_resize(self, event: events.Resize) -> None:
        self.share_out()

    def _settled(self) -> None:
        self._waiting = None
        self.share_out()

    def share_out(self) -> None:
        """Give both their room."""
        pane, share = self._pane.styles, self._share
        pane.width = pane.height = pane.max_height = None
        table = self._table.styles
        table.width = None
        if self.has_class("zoomed"):
            return
        if self._is_wide:
            if share is not None:
                pane.width, table.width = f"{share}%", f"{100 - share}%"
            return
        lines = self.size.height
        if share is not None:
            height = lines * share // 100
        else:
            height = min(max(lines * _DEFAULT_SHARE // 100, _LEAST), _MOST)
            height = max(height, lines - self._rows_wanted(lines))
        pane.height = pane.max_height = max(1, height)

    def _rows_wanted(self, lines: int) -> int:
        """With the header; all there are where something stands beside the table."""
        source = self._table.source
        if source is None or self._table.parent is not self:
            return lines
        return len(source) + 1

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
