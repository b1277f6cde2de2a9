"""Screens that are a table and a detail pane."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container

from explorer.model import Finding, Reference
from explorer.tui.keys import hidden
from explorer.tui.state import View
from explorer.tui.views.detail import describe, describe_finding, row_text
from explorer.tui.views.expressions import drgn_expression
from explorer.tui.views.facts import Detail
from explorer.tui.views.mounts import mounts_table
from explorer.tui.views.records import RecordTable, findings_table, fs_table, plugins_table
from explorer.tui.widgets.detail_pane import DetailPane
from explorer.tui.widgets.virtual_table import VirtualTable

from .base import BrowserScreen

__all__ = ("FindingsScreen", "FsStructsScreen", "MountsScreen", "SubsystemsScreen", "TableScreen")


class TableScreen(BrowserScreen):
    """A table above (or left of) the detail of its selected row."""

    AUTO_FOCUS = "#rows"
    EMPTY = "nothing here"
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("d", "toggle_detail", "detail.toggle", "Show or hide the detail pane"),
        hidden("c,y", "copy", "copy.row", "Copy the row, or the fact under the cursor"),
        hidden("C,Y", "copy_drgn", "copy.drgn", "Copy the drgn expression"),
        hidden("w", "where", "detail.where", "Show the detail's object in its own screen"),
    ]

    def compose_body(self) -> ComposeResult:
        with Container(id="split"):
            yield VirtualTable(id="rows", empty=self.EMPTY)
            yield DetailPane(id="detail")

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#rows", VirtualTable)

    @property
    def pane(self) -> DetailPane:
        return self.query_one("#detail", DetailPane)

    def source(self) -> Any:
        """The table's source: it has ``reference_at`` and ``find``."""
        return self.table.source

    def make_source(self, view: View) -> RecordTable[Any]:
        """The table of a view."""
        raise NotImplementedError

    def show_view(self, view: View) -> None:
        selected = self.selected()
        self.pane.snapshot = view.snapshot
        source = self.make_source(view)
        row = None if selected is None else source.find(selected)
        self.table.show(source, row or 0)

    def selected(self) -> Reference | None:
        """What the row under the cursor is about."""
        source = self.source()
        if source is None or not 0 <= self.table.row < len(source):
            return None
        reference: Reference | None = source.reference_at(self.table.row)
        return reference

    def select(self, reference: Reference) -> bool:
        """Put the cursor on an object. False: it is not in this table."""
        source = self.source()
        row = None if source is None else source.find(reference)
        if row is not None:
            self.table.changed(row)
            self.table.focus()
        return row is not None

    def detail_of(self, row: int) -> Detail | None:
        """What the pane shows for a row."""
        reference = self.selected()
        view = self.explorer.view
        return None if reference is None or view is None else describe(reference, view.snapshot)

    @on(VirtualTable.Moved, "#rows")
    def _moved(self, event: VirtualTable.Moved) -> None:
        self.pane.look_at(self.detail_of(event.row))

    @on(VirtualTable.Chosen, "#rows")
    def _chosen(self, event: VirtualTable.Chosen) -> None:
        self.choose(event.row)

    def choose(self, row: int) -> None:
        """Enter on a row: into its detail."""
        self.pane.display = True
        self.pane.focus()

    def action_toggle_detail(self) -> None:
        self.pane.display = not self.pane.display
        if not self.pane.display:
            self.table.focus()

    def action_copy(self) -> None:
        fact = self.pane.fact() if self.pane.has_focus else None
        text = row_text(self.table.cells_at_cursor()) if fact is None else fact.value
        self.explorer.copy_text(text)

    def action_copy_drgn(self) -> None:
        view = self.explorer.view
        detail = self.pane.detail
        if view is None or detail is None:
            return
        fact = self.pane.fact() if self.pane.has_focus else None
        target = fact.target if fact is not None else None
        expression = drgn_expression(target, view.snapshot.kernel) if target else detail.expression
        if expression is None:
            self.explorer.say("There is no drgn expression for this.")
        else:
            self.explorer.copy_text(expression)

    def action_where(self) -> None:
        detail = self.pane.detail
        fact = self.pane.fact() if self.pane.has_focus else None
        if fact is not None and fact.target is not None:
            self.explorer.go_to(fact.target)
        elif detail is not None:
            self.explorer.go_to(detail.reference)


class FsStructsScreen(TableScreen):
    """Every fs_struct: users against holders, root, pwd, who shares it."""

    def make_source(self, view: View) -> RecordTable[Any]:
        return fs_table(view.snapshot, view.worlds)


class MountsScreen(TableScreen):
    """A tree per mount namespace."""

    def make_source(self, view: View) -> RecordTable[Any]:
        return mounts_table(view.snapshot)


class SubsystemsScreen(TableScreen):
    """What the plugins report."""

    def make_source(self, view: View) -> RecordTable[Any]:
        return plugins_table(view.snapshot)


class FindingsScreen(TableScreen):
    """Findings by severity. Enter goes into a finding: its evidence comes first and can be followed."""

    EMPTY = "no findings"

    def make_source(self, view: View) -> RecordTable[Any]:
        return findings_table(view.audit.findings)

    def detail_of(self, row: int) -> Detail | None:
        source = self.source()
        if source is None or not 0 <= row < len(source):
            return None
        finding: Finding = source.records[row]
        return describe_finding(finding)

    def show_finding(self, number: int) -> None:
        """Put the cursor on the n-th finding."""
        self.table.changed(number)
