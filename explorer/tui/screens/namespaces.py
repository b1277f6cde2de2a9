"""Every mount namespace, also those that no task is in; enter goes to its mounts."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import BindingType

from explorer.analysis.mounts import NamespaceFacts
from explorer.model import Record
from explorer.tui.keys import hidden
from explorer.tui.session import View
from explorer.tui.views import namespaces_table
from explorer.tui.views.details import RecordTable

from .tables import TableScreen

__all__ = ("NamespacesScreen",)


class NamespacesScreen(TableScreen):
    """Who is in a namespace, or keeps it without any task; how many mounts it has, and how deep its ``/`` is."""

    EMPTY = "no mount namespace could be read"
    ROWS = "mount_namespaces"
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("a", "inside", "namespaces.tasks", "Its tasks, in the task table"),
    ]

    def make_source(self, view: View) -> RecordTable[Any]:
        return namespaces_table(view.snapshot)

    def record_of(self, record: NamespaceFacts) -> Record | None:
        return record.namespace

    def facts(self) -> NamespaceFacts | None:
        """Of the namespace under the cursor."""
        found: NamespaceFacts | None = self.record_at(self.table.row)
        return found

    def choose(self, row: int) -> None:
        """Enter on a row: to its mounts."""
        selected = self.selected()
        if selected is not None:
            self.shell.show_mounts(selected)

    def action_inside(self) -> None:
        facts = self.facts()
        if facts is None or facts.namespace.inum is None or not facts.tasks:
            self.shell.say("No task is in it.")
        else:
            self.shell.filter_tasks(f"mnt_ns:{facts.namespace.inum}")
