"""The task table: grouped by fs_struct or flat, sorted by any column, filtered as you type."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from explorer.analysis.query import QueryError, compile_query
from explorer.model import Reference, escape_text
from explorer.tui.keys import hidden, shown
from explorer.tui.state import View
from explorer.tui.views.tasks import TaskTable
from explorer.tui.widgets.detail_pane import DetailPane
from explorer.tui.widgets.filter_box import NO_CONTROL, FilterBox
from explorer.tui.widgets.virtual_table import VirtualTable

from .tables import TableScreen

__all__ = ("TasksScreen",)


class TasksScreen(TableScreen):
    """Tasks, with the filter above them."""

    EMPTY = "no task matches the filter; escape clears it"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown(
            "slash", "filter", "tasks.filter", "Filter", "Type a query: kind:kthread root:nullfs", first=True
        ),
        hidden("escape", "leave", "tasks.clear", "Leave the detail, then clear the filter"),
        hidden("v", "flat", "tasks.flat", "Grouped by fs_struct, or one row a task"),
        hidden("e", "expand(True)", "tasks.expand", "Open all groups"),
        hidden("E", "expand(False)", "tasks.collapse", "Close all groups"),
        hidden("less_than_sign", "sort(-1)", "tasks.sort-left", "Sort by the column before"),
        hidden("greater_than_sign", "sort(1)", "tasks.sort-right", "Sort by the next column"),
        hidden("i", "invert", "tasks.invert", "Sort the other way round"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._query = ""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="filterbar"):
            yield Static(" filter ▏", id="filterlabel", markup=False)
            yield FilterBox(
                id="filter",
                restrict=NO_CONTROL,
                compact=True,
                placeholder="/ to type: kind:kthread root:nullfs borrowing …",
            )
            yield Static(id="counts", markup=False)
        with Container(id="split"):
            yield VirtualTable(id="rows", empty=self.EMPTY)
            yield DetailPane(id="detail")

    @property
    def tasks(self) -> TaskTable | None:
        source = self.table.source
        return source if isinstance(source, TaskTable) else None

    def show_view(self, view: View) -> None:
        selected = self.selected()
        old = self.tasks
        tasks = TaskTable(view.snapshot)
        if old is not None:
            tasks.grouped = old.grouped
            tasks.sort_by(old.sort_column, old.descending)
        self.pane.snapshot = view.snapshot
        self.table.source = tasks
        self._apply(self._query)
        row = None if selected is None else tasks.reveal(selected)
        self.table.show(tasks, row or 0)

    # -- filter ----------------------------------------------------------------------------------------------

    def filter_by(self, query: str) -> None:
        """Show the tasks that a query selects, as if the user had typed it."""
        box = self.query_one("#filter", Input)
        with box.prevent(Input.Changed):
            box.value = query
        self._query = query
        self._apply(query)
        self.table.changed(0)
        self.table.focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        selected = self.selected()
        self._query = event.value
        self._apply(event.value)
        tasks = self.tasks
        row = tasks.find(selected) if tasks is not None and selected is not None else None
        self.table.changed(row or 0)

    def _apply(self, query: str) -> None:
        """Filter; a query that is not finished yet, or wrong, leaves the rows as they are and says why."""
        tasks, view = self.tasks, self.explorer.view
        if tasks is None or view is None:
            return
        counts = self.query_one("#counts", Static)
        try:
            tasks.set_filter(compile_query(query, view.snapshot) if query.strip() else None)
        except QueryError as error:
            counts.update(Content(f" {escape_text(str(error))} "))
            counts.add_class("wrong")
        else:
            counts.update(Content(f" {tasks.counts()} "))
            counts.remove_class("wrong")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter a slash is a slash."""
        return action != "filter" or not isinstance(self.focused, FilterBox)

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))

    def action_leave(self) -> None:
        if self.pane.has_focus:
            self.table.focus()
        else:
            self.filter_by("")

    # -- order -----------------------------------------------------------------------------------------------

    def _rearranged(self, selected: Reference | None) -> None:
        tasks = self.tasks
        if tasks is None:
            return
        self.table.sort_mark = None if tasks.sort_column is None else (tasks.sort_column, tasks.descending)
        row = None if selected is None else tasks.find(selected)
        self.table.changed(row or 0)

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Order by a column; ``None``: world by world."""
        if self.tasks is not None:
            selected = self.selected()
            self.tasks.sort_by(column, descending)
            self._rearranged(selected)

    @on(VirtualTable.HeaderClicked, "#rows")
    def _header(self, event: VirtualTable.HeaderClicked) -> None:
        tasks = self.tasks
        if tasks is not None:
            self.sort_by(event.column, tasks.sort_column == event.column and not tasks.descending)

    def action_sort(self, step: int) -> None:
        tasks = self.tasks
        if tasks is None:
            return
        names: list[Any] = [None, *(column.name for column in tasks.columns)]
        self.sort_by(names[(names.index(tasks.sort_column) + step) % len(names)], tasks.descending)

    def action_invert(self) -> None:
        if self.tasks is not None:
            self.sort_by(self.tasks.sort_column or "pid", not self.tasks.descending)

    def action_flat(self) -> None:
        if self.tasks is not None:
            selected = self.selected()
            self.tasks.set_grouped(not self.tasks.grouped)
            self._rearranged(selected)

    def action_expand(self, opened: bool) -> None:
        if self.tasks is not None:
            selected = self.selected()
            self.tasks.open_all(opened)
            self._rearranged(selected)

    # -- rows ------------------------------------------------------------------------------------------------

    def choose(self, row: int) -> None:
        if self.tasks is not None and self.tasks.toggle(row):
            self.table.changed(row)
        else:
            super().choose(row)

    def select(self, reference: Reference) -> bool:
        tasks = self.tasks
        if tasks is None:
            return False
        if tasks.find(reference) is None:
            self.filter_by("")
        row = tasks.reveal(reference)
        if row is not None:
            self.table.changed(row)
            self.table.focus()
        return row is not None
