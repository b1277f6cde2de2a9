"""The targets of a fleet; enter opens what was read of one."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import BindingType

from explorer.analysis.query import parse_query
from explorer.fleet import FleetTarget
from explorer.output import RowSet
from explorer.tui.keys import hidden
from explorer.tui.screens.tables import FacetedScreen
from explorer.tui.session import View
from explorer.tui.views.details import Detail, RecordTable
from explorer.tui.views.fleet import count_target_facets, describe_target, fleet_line, targets_table

__all__ = ("FleetScreen",)


class FleetScreen(FacetedScreen):
    """One row a target. What is on it does not change: a fleet is read once."""

    ROWS = "targets"
    EMPTY = "no targets"
    NO_MATCH = "no target matches the filter; escape clears it"
    FILTER_HINT = "verdict:abandoned rules~PID1 release~7.3; tab completes"
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden(
            "F", "facets", "fleet.facets", "To the counts by verdict, rule and release; from there: hide them"
        ),
    ]

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
            self.refresh_facets()
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

    def refresh_facets(self) -> None:
        source = self.source()
        if isinstance(source, RecordTable) and self.facets.display:
            root = parse_query(self.matched, source.fields).root
            facets = count_target_facets(source.index, source.index.mask(root), root)
            self.facets.show_facets(facets, root)
