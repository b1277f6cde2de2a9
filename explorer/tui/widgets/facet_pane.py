"""The facets beside the task table: what the rows have in common, how many have it, and a key to ask for it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from explorer.analysis.query import Facet, FacetTerm, Node
from explorer.tui.keys import hidden
from explorer.tui.views.tasks import FACETS_WIDTH, FacetTable

from .virtual_table import VirtualTable

__all__ = ("FacetPane",)


class FacetPane(VirtualTable):
    """A :class:`FacetTable`. Enter or a click asks for a value or stops asking for it; ``-`` asks for all others."""

    CELLS = False
    DEFAULT_CSS = f"""
    FacetPane {{ width: {FACETS_WIDTH}; height: 1fr; border-left: solid $panel; scrollbar-size-vertical: 1; }}
    FacetPane:focus {{ border-left: solid $primary; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("enter,space", "ask(False)", "facets.toggle", "Only tasks with this value, or no longer"),
        hidden("minus", "ask(True)", "facets.exclude", "No tasks with this value, or again"),
    ]

    class Toggled(Message):
        """A value was asked for, or is no longer."""

        def __init__(self, term: FacetTerm, excluded: bool) -> None:
            super().__init__()
            self.term = term
            self.excluded = excluded

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, empty="no tasks")

    def header_text(self) -> str:
        if isinstance(self.source, FacetTable) and self.source.stale:
            return "counting …"
        return "facets  enter + , - not" if self.has_focus else "facets"

    def show_facets(self, facets: list[Facet], query: Node) -> None:
        """Show counts that are true now; the cursor stays on its value."""
        before = self.term()
        table = FacetTable(facets, query)
        at = None if before is None else table.find(before)
        self.show(table, self.row if at is None else at)

    def mark_stale(self) -> None:
        """The rows have changed, and the counts are not made yet."""
        if isinstance(self.source, FacetTable) and not self.source.stale:
            self.source.stale = True
            self.redraw()

    def term(self) -> FacetTerm | None:
        """The value under the cursor."""
        return self.source.term_at(self.row) if isinstance(self.source, FacetTable) else None

    def action_ask(self, excluded: bool) -> None:
        term = self.term()
        if term is not None and term.node is not None:
            self.post_message(self.Toggled(term, excluded))

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()
        row = self.row_under(event)
        if row is not None:
            self.put_cursor(row)
            self.action_ask(event.ctrl)
