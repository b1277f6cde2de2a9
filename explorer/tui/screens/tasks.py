"""The task table: grouped by fs_struct or flat, sorted by any column, filtered as you type."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from explorer.analysis.query import QueryError, count_facets, parse_query, toggle_term
from explorer.model import Reference, escape_text
from explorer.output import RowSet, task_row_set
from explorer.tui.keys import hidden, key_of
from explorer.tui.session import MANY_TASKS, View, freeze_more, give_way, in_background
from explorer.tui.views.tasks import TaskTable
from explorer.tui.widgets import DetailPane, FacetPane, Split, VirtualTable

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

    EMPTY = NO_MATCH = "no task matches the filter; escape clears it"
    ROWS = "tasks"
    FILTER_HINT = "/ to type: kind:kernel placement:nullfs"
    FILTER_ALWAYS = True
    WARMS_UP = False  # in its own way
    CSS = """
    #browse { height: 1fr; }
    #browse #rows { width: 1fr; }
    TasksScreen.-wide #browse { width: 66%; }
    TasksScreen.-wide #detail { width: 34%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("F", "facets", "tasks.facets", "To the counts by kind, root and owner; from there: hide them"),
        hidden("v", "flat", "tasks.flat", "Grouped by fs_struct, or one row a task"),
        hidden("e", "expand(True)", "tasks.expand", "Open all groups"),
        hidden("E", "expand(False)", "tasks.collapse", "Close all groups"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._facets_wanted: bool | None = None
        """What the user has said of them; ``None``: they are there if there is room."""
        self._counting: Timer | None = None
        self._warm = False
        """Whether counting facets is quick."""

    def compose_body(self) -> ComposeResult:
        yield from self.compose_filter()
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
        self.arrange_source(tasks)
        if old is not None:
            tasks.resemble(old)
        self.table.source = tasks
        self.filtered()
        row = None if selected is None else tasks.reveal(selected)
        self._renewed = selected
        self.table.show(tasks, at if row is None else row)

    async def _make_ready(self, tasks: TaskTable) -> None:
        await asyncio.to_thread(_warm_up, tasks)
        if tasks is self.tasks and not self._warm:
            self._warm = True
            self._count_soon()

    # -- filter ----------------------------------------------------------------------------------------------

    def filtered(self) -> None:
        self._count_soon()

    def leave_part(self) -> bool:
        if self.facets.has_focus:
            self.table.focus()
            return True
        return super().leave_part()

    def row_set(self, view: View) -> RowSet | None:
        tasks = self.tasks
        picked = [] if tasks is None else [row.task for row in tasks.picked_records()]
        if tasks is None or not (picked or tasks.matching):
            return None
        return task_row_set(picked or tasks.matching_tasks(), view.snapshot, "" if picked else self.matched)

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

    def room_hint(self) -> str:
        key, width = key_of(self, "tasks.facets"), self.facets.outer_size.width
        return f"; without the counts beside ({key}) {width} more" if self.facets.display else ""

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
            root = parse_query(self.matched).root
            self.facets.show_facets(count_facets(tasks.index, tasks.mask, root), root)

    @on(FacetPane.Toggled)
    def _toggled(self, event: FacetPane.Toggled) -> None:
        if event.term.node is None:
            return
        try:
            query = toggle_term(self.query_text, event.term.node, event.excluded)
        except QueryError as error:
            self.shell.say(f"The filter is no query yet: {escape_text(str(error))}")
            return
        self.show_query(query)

    # -- groups ---------------------------------------------------------------------------------------------

    def action_flat(self) -> None:
        if self.tasks is not None:
            selected = self.selected()
            self.tasks.set_grouped(not self.tasks.grouped)
            self.rearranged(selected)

    def action_expand(self, opened: bool) -> None:
        if self.tasks is not None:
            selected = self.selected()
            self.tasks.open_all(opened)
            self.rearranged(selected)

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

    def row_of(self, reference: Reference) -> int | None:
        return None if self.tasks is None else self.tasks.reveal(reference)
