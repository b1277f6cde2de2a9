"""The plugins' reports: a row each, and all that was found of the selected one."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import work
from textual.binding import BindingType

from explorer.tui.keys import hidden
from explorer.tui.session import View
from explorer.tui.views import Subsystem, describe_subsystem, subsystems_table
from explorer.tui.views.details import Detail, RecordTable

from .tables import TableScreen

__all__ = ("SubsystemsScreen",)


class SubsystemsScreen(TableScreen):
    """What each plugin expects, what was seen, and what is wrong."""

    ROWS = "subsystems"
    EMPTY = "no plugin is installed, and the snapshot has facts of none"
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("a", "inside", "subsystems.tasks", "Its tasks, in the task table"),
        hidden("N", "findings", "subsystems.findings", "The first of its findings, among all"),
    ]

    def make_source(self, view: View) -> RecordTable[Any]:
        if not view.is_audited:
            self._audit(view)
        return subsystems_table(view.snapshot, view.audit if view.is_audited else None, view.plugins)

    @work(thread=True, exclusive=True)
    def _audit(self, view: View) -> None:
        """As on the overview: not on the screen's time."""
        _ = view.audit
        self.app.call_from_thread(self._audited, view)

    def _audited(self, view: View) -> None:
        if view is self._shown and self.is_there:
            self.show_view(view)

    def subsystem(self) -> Subsystem | None:
        """The one under the cursor."""
        found: Subsystem | None = self.record_at(self.table.row)
        return found

    def detail_of(self, row: int) -> Detail | None:
        subsystem, view = self.subsystem(), self.shell.view
        return None if subsystem is None or view is None else describe_subsystem(subsystem, view.snapshot)

    def action_inside(self) -> None:
        subsystem = self.subsystem()
        if subsystem is not None and subsystem.query:
            self.shell.filter_tasks(subsystem.query)
        else:
            self.shell.say("It speaks for no task that is there now.")

    def action_findings(self) -> None:
        subsystem, view = self.subsystem(), self.shell.view
        if subsystem is not None and view is not None and subsystem.findings:
            self.shell.show_finding(view.audit.findings.index(subsystem.findings[0]))
        else:
            self.shell.say("There is no finding about it.")
