"""The targets of a fleet; enter opens what was read of one."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from explorer.analysis.query import QueryError, parse_query, toggle_term
from explorer.fleet import FleetTarget
from explorer.model import escape_text
from explorer.output import RowSet
from explorer.tui.keys import hidden
from explorer.tui.screens.tables import TableScreen
from explorer.tui.session import View
from explorer.tui.views.details import Detail, RecordTable
from explorer.tui.views.fleet import count_target_facets, describe_target, fleet_line, targets_table
from explorer.tui.widgets import DetailPane, FacetPane, Split, VirtualTable

__all__ = ("FleetScreen",)

#: Terminal columns from which on the facets are beside the rows without being asked for.
_ROOM_FOR_FACETS = 120


class FleetScreen(TableScreen):
    """One row a target. What is on it does not change: a fleet is read once."""

    ROWS = "targets"
    EMPTY = "no targets"
    NO_MATCH = "no target matches the filter; escape clears it"
    FILTER_HINT = "verdict:abandoned rules~PID1 release~7.3; tab completes"
    CSS = """
    #browse { height: 1fr; }
    #browse #rows { width: 1fr; }
    FleetScreen.-wide #browse { width: 66%; }
    FleetScreen.-wide #detail { width: 34%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden(
            "F", "facets", "fleet.facets", "To the counts by verdict, rule and release; from there: hide them"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._facets_wanted: bool | None = None
        """What the user has said of them; ``None``: they are there if there is room."""

    def compose_body(self) -> ComposeResult:
        yield from self.compose_filter()
        with Split():
            with Horizontal(id="browse"):
                yield VirtualTable(id="rows", empty=self.EMPTY)
                yield FacetPane(id="facets")
            yield DetailPane(id="detail")

    # -- what is shown -----------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Targets are of no snapshot: they are shown once, and stay as they were left."""
        if not self.is_there:
            return
        self.show_moment()
        if self.table.source is None:
            source = targets_table(self.shell.fleet.targets)
            source.what = self.ROWS
            self.arrange_source(source)
            self.table.show(source, 0)
            self._count()
        self.show_status()

    def show_view(self, view: View) -> None:
        """What is shown is not of a snapshot."""

    def make_source(self, view: View) -> RecordTable[Any]:
        return targets_table(self.shell.fleet.targets)

    def header_text(self) -> str | None:
        fleet = self.shell.fleet
        return fleet_line(fleet.targets, fleet.name)

    def crumbs(self) -> list[str]:
        """What all its targets are reached from."""
        return super().crumbs()[1:]

    def target_at(self, row: int) -> FleetTarget | None:
        found: FleetTarget | None = self.record_at(row)
        return found

    def detail_of(self, row: int) -> Detail | None:
        target = self.target_at(row)
        return None if target is None else describe_target(target)

    # -- keys --------------------------------------------------------------------------------------------------

    def choose(self, row: int) -> None:
        """Enter on a row: to what was read of that target."""
        target = self.target_at(row)
        if target is not None:
            self.shell.open_target(target)

    def action_where(self) -> None:
        self.choose(self.table.row)

    def action_deeper(self) -> None:
        self.choose(self.table.row)

    def action_copy_drgn(self) -> None:
        self.shell.say("There is no drgn expression for a target: enter opens it.")

    def action_export(self) -> None:
        self.shell.say("A fleet is exported by the command: nullfs-explorer fleet report FLEET -o FILE.")

    def row_set(self, view: View) -> RowSet | None:
        return None

    # -- facets ------------------------------------------------------------------------------------------------

    @property
    def facets(self) -> FacetPane:
        return self.query_one("#facets", FacetPane)

    def filtered(self) -> None:
        self._count()

    def leave_part(self) -> bool:
        if self.facets.has_focus:
            self.table.focus()
            return True
        return super().leave_part()

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._show_facets(event.size.width)

    def _show_facets(self, width: int) -> None:
        wanted = self._facets_wanted
        self.facets.display = width >= _ROOM_FOR_FACETS if wanted is None else wanted
        self._count()

    def action_facets(self) -> None:
        self._facets_wanted = not (self.facets.display and self.facets.has_focus)
        self._show_facets(self.size.width)
        self.set_focus(self.facets if self._facets_wanted else self.table)

    def _count(self) -> None:
        source = self.source()
        if isinstance(source, RecordTable) and self.facets.display:
            root = parse_query(self.matched, source.fields).root
            facets = count_target_facets(source.index, source.index.mask(root), root)
            self.facets.show_facets(facets, root)

    @on(FacetPane.Toggled)
    def _toggled(self, event: FacetPane.Toggled) -> None:
        source = self.source()
        if event.term.node is None or source is None:
            return
        try:
            query = toggle_term(self.query_text, event.term.node, event.excluded, source.fields)
        except QueryError as error:
            self.shell.say(f"The filter is no query yet: {escape_text(str(error))}")
            return
        self.show_query(query)
