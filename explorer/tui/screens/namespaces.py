"""Mounts, and the mount namespaces that they are in, also those that no task is in; enter goes to the mounts of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual.binding import BindingType

from explorer.analysis.mounts import NamespaceFacts
from explorer.model import Record, Reference, escape_text, namespace_reference
from explorer.tui.keys import hidden
from explorer.tui.session import View
from explorer.tui.views import mounts_table, namespaces_table
from explorer.tui.views.details import RecordTable

from .places import Place
from .tables import TableScreen

__all__ = ("MountsScreen", "NamespacesScreen")


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


class MountsScreen(TableScreen):
    """A tree per mount namespace; or the one of one of them."""

    ROWS = "mounts"
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("v", "only", "mounts.only", "Only the mounts of this namespace; all again"),
    ]

    _only: Reference | None = None
    """The namespace of which the mounts are shown; ``None``: all mounts are."""

    def show_only(self, namespace: Reference | None) -> None:
        """Show the mounts of a namespace; of all, for ``None``."""
        view = self.shell.view
        self._only = namespace
        if view is not None and self.is_there:
            self.show_view(view)
            self.show_status()

    def place(self) -> Place:
        return replace(super().place(), only=self._only)

    def come_back(self, place: Place) -> bool:
        if place.only != self._only:
            self.show_only(place.only)
        return super().come_back(place)

    def select(self, reference: Reference) -> bool:
        if super().select(reference):
            return True
        if self._only is None:
            return False
        self.show_only(None)  # it is among those that are not shown
        return super().select(reference)

    def action_only(self) -> None:
        if self._only is not None:
            self.show_only(None)
            return
        row, view = self.record_at(self.table.row), self.shell.view
        if row is None or view is None:
            return
        address = row.mount.mnt_ns if row.mount is not None else row.namespace and row.namespace.address
        namespace = view.snapshot.namespace_by_address.get(address or 0)
        if namespace is None:
            self.shell.say("It is in no namespace.")
        else:
            self.show_only(namespace_reference(namespace))

    def header(self, view: View) -> str:
        if self._only is None:
            return super().header(view)
        return f"only {escape_text(self._only.label)}: v shows all mounts   {super().header(view)}"

    def record_of(self, record: Any) -> Record | None:
        # The heads of namespaces are no mounts.
        return record.mount if isinstance(record.mount, Record) else None

    def make_source(self, view: View) -> RecordTable[Any]:
        only = None
        if self._only is not None:
            only = view.snapshot.namespace_by_address.get(self._only.address or 0)
            if only is None:
                self.shell.say(f"{escape_text(self._only.label)} is gone: all mounts are shown.")
                self._only = None
        return mounts_table(view.snapshot, only)
