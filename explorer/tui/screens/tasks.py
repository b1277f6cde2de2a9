"""The task table: grouped by fs_struct or flat, sorted by any column, filtered as you type."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from explorer.analysis.query import QueryError, count_facets, parse_query, toggle_term
from explorer.model import Reference, display_width, escape_text
from explorer.output import RowSet, task_row_set
from explorer.tui.keys import hidden, shown
from explorer.tui.session import MANY_TASKS, View, freeze_more, give_way, in_background
from explorer.tui.views.tasks import TaskTable
from explorer.tui.widgets import NO_CONTROL, DetailPane, FacetPane, FilterBox, Split, VirtualTable

from .tables import TableScreen

__all__ = ("TasksScreen",)

#: Terminal columns from which on the facets are beside the rows without being asked for.
_ROOM_FOR_FACETS = 120
#: Facets of many tasks are counted when no key has come for a moment; of few between a key and its paint.
_PAUSE_S = 0.08
#: Terminal columns by which the count of tasks may be wider than it has to be.
_SLACK = 12


def _warm_up(tasks: TaskTable) -> None:
    """What the first key in the filter, and the facets, would wait for: not on the screen's time."""
    parse_query("")
    if len(tasks.rows) > MANY_TASKS:
        with in_background():
            tasks.index.warm_up(give_way)
        freeze_more(len(tasks.rows))


class TasksScreen(TableScreen):
    """Tasks, with the filter above them."""

    EMPTY = "no task matches the filter; escape clears it"
    ROWS = "tasks"
    CSS = """
    #filterwrong { display: none; height: auto; max-height: 6; padding: 0 1; color: $error; text-style: bold; }
    #browse { height: 1fr; }
    #browse #rows { width: 1fr; }
    TasksScreen.-wide #browse { width: 66%; }
    TasksScreen.-wide #detail { width: 34%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        shown(
            "slash",
            "filter",
            "tasks.filter",
            "Filter",
            "Type a query: kind:kernel placement:nullfs",
            first=True,
        ),
        hidden("escape", "leave", "tasks.clear", "Leave the detail, then clear the filter"),
        hidden("F", "facets", "tasks.facets", "To the counts by kind, root and owner; from there: hide them"),
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
        self._said = 0
        """Terminal columns of what is beside the filter."""
        self._matched = ""
        """The query that the rows are of: the last one that was right."""
        self._facets_wanted: bool | None = None
        """What the user has said of them; ``None``: they are there if there is room."""
        self._counting: Timer | None = None
        self._warm = False
        """Whether counting facets is quick."""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="filterbar"):
            yield Static(" filter ▏", id="filterlabel", markup=False)
            yield FilterBox(
                id="filter",
                restrict=NO_CONTROL,
                compact=True,
                placeholder="/ to type: kind:kernel placement:nullfs",
            )
            yield Static(id="counts", markup=False)
        yield Static(id="filterwrong", markup=False)
        with Split():
            with Horizontal(id="browse"):
                yield VirtualTable(id="rows", empty=self.EMPTY)
                yield FacetPane(id="facets")
            yield DetailPane(id="detail")

    @property
    def tasks(self) -> TaskTable | None:
        source = self.table.source
        return source if isinstance(source, TaskTable) else None

    def show_view(self, view: View) -> None:
        selected, at = self.selected(), self.table.row
        old = self.tasks
        tasks = TaskTable(view.snapshot)
        self._warm = len(tasks.rows) <= MANY_TASKS
        self.run_worker(self._make_ready(tasks), group="warm-up", exclusive=True)
        tasks.marks = self.shell.marks
        self.pane.snapshot = view.snapshot
        self.table.source = tasks
        self._apply(self._query)
        if old is not None:
            tasks.resemble(old)
        row = None if selected is None else tasks.reveal(selected)
        self._renewed = selected
        self.table.show(tasks, at if row is None else row)

    async def _make_ready(self, tasks: TaskTable) -> None:
        await asyncio.to_thread(_warm_up, tasks)
        if tasks is self.tasks and not self._warm:
            self._warm = True
            self._count_soon()

    # -- filter ----------------------------------------------------------------------------------------------

    def filter_by(self, query: str) -> None:
        """Show the tasks that a query selects, and go to them."""
        self.show_query(query)
        self.table.focus()

    def show_query(self, query: str) -> None:
        """Show the tasks that a query selects, as if the user had typed it."""
        box = self.query_one("#filter", Input)
        with box.prevent(Input.Changed):
            box.value = query
        self._query = query
        self._apply(query)
        self.table.changed(0)

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
        tasks, view = self.tasks, self.shell.view
        if tasks is None or view is None:
            return
        try:
            tasks.set_filter(parse_query(query) if query.strip() else None)
        except QueryError as error:
            self._complain(escape_text(str(error)))
            self._say("not valid", wrong=True)
        else:
            self._matched = query.strip()
            self._complain("")
            self._say(tasks.counts(), wrong=False)
            self._count_soon()

    def _complain(self, why: str) -> None:
        """In lines of its own, as it is longer than the room beside the filter; the rows are of another filter then."""
        tasks, wrong = self.tasks, self.query_one("#filterwrong", Static)
        empty = tasks is None or not tasks.matching
        kept = f"of the filter {escape_text(self._matched)}" if self._matched else "without a filter"
        if why:
            wrong.update(Content(f"the filter is not valid: {why}{'' if empty else f'; rows below: {kept}'}"))
        wrong.display = bool(why)
        self.table.empty = "the filter is not valid; escape clears it" if why else self.EMPTY

    def _say(self, text: str, wrong: bool) -> None:
        """Beside the filter: how many tasks there are, or what is wrong with the query."""
        counts = self.query_one("#counts", Static)
        if not wrong and len(text) < self._said <= len(text) + _SLACK:
            text = text.rjust(self._said)  # as wide as before: what is beside it need not be laid out anew
        width = display_width(text)
        counts.update(Content(f" {text} "), layout=width != self._said)
        counts.set_class(wrong, "wrong")
        self._said = width

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter a slash is a slash."""
        return action != "filter" or not isinstance(self.focused, FilterBox)

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))

    def action_leave(self) -> None:
        if self.pane.has_focus or self.facets.has_focus:
            self.table.focus()
        else:
            self.filter_by("")

    def row_set(self, view: View) -> RowSet | None:
        tasks = self.tasks
        if tasks is None or not tasks.matching:
            return None
        return task_row_set(tasks.matching_tasks(), view.snapshot, self._matched)

    # -- facets ----------------------------------------------------------------------------------------------

    @property
    def facets(self) -> FacetPane:
        return self.query_one("#facets", FacetPane)

    def on_resize(self, event: events.Resize) -> None:
        self._show_facets(event.size.width)

    def _show_facets(self, width: int) -> None:
        wanted = self._facets_wanted
        before = self.facets.display
        self.facets.display = width >= _ROOM_FOR_FACETS if wanted is None else wanted
        if self.facets.display and not before:
            self._count_soon()

    def action_facets(self) -> None:
        self._facets_wanted = not (self.facets.display and self.facets.has_focus)
        self._show_facets(self.size.width)
        self.set_focus(self.facets if self._facets_wanted else self.table)

    def _count_soon(self) -> None:
        """Count what the filter lets through: at once where that takes no time, else when typing pauses."""
        if self._counting is not None:
            self._counting.stop()
            self._counting = None
        tasks = self.tasks
        if tasks is None or not self.facets.display:
            return
        if len(tasks.rows) <= MANY_TASKS:
            self._count()
            return
        self.facets.mark_stale()
        if self._warm:
            self._counting = self.set_timer(_PAUSE_S, self._count)

    def _count(self) -> None:
        tasks = self.tasks
        if tasks is not None:
            root = parse_query(self._matched).root
            self.facets.show_facets(count_facets(tasks.index, tasks.mask, root), root)

    @on(FacetPane.Toggled)
    def _toggled(self, event: FacetPane.Toggled) -> None:
        if event.term.node is None:
            return
        try:
            query = toggle_term(self._query, event.term.node, event.excluded)
        except QueryError as error:
            self.shell.say(f"The filter is no query yet: {escape_text(str(error))}")
            return
        self.show_query(query)

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
