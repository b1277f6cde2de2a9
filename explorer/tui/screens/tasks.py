"""The task table: grouped by fs_struct or flat, sorted by any column, filtered as you type."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.binding import BindingType
from textual.timer import Timer

from explorer.analysis.query import count_facets, parse_query
from explorer.model import Reference
from explorer.output import RowSet, task_row_set
from explorer.tui.keys import hidden, key_of
from explorer.tui.session import MANY_TASKS, View, freeze_more, give_way, in_background
from explorer.tui.views.tasks import TaskTable

from .tables import FacetedScreen

__all__ = ("TasksScreen",)

#: Facets of many tasks are counted when no key has come for a moment; of few between a key and its paint.
_PAUSE_S = 0.15


def _warm_up(tasks: TaskTable) -> None:
    """What the first key in the filter, and the facets, would wait for: not on the screen's time."""
    parse_query("")
    if len(tasks.rows) > MANY_TASKS:
        with in_background():
            tasks.index.warm_up(give_way)
        freeze_more(len(tasks.rows))


class TasksScreen(FacetedScreen):
    """Tasks, with the filter above them."""

    EMPTY = NO_MATCH = "no task matches the filter; escape clears it"
    ROWS = "tasks"
    FILTER_HINT = "/ to type: kind:kernel placement:nullfs"
    FILTER_ALWAYS = True
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("F", "facets", "tasks.facets", "To the counts by kind, root and owner; from there: hide them"),
        hidden("v", "flat", "tasks.flat", "Grouped by fs_struct, or one row a task"),
        hidden("e", "expand(True)", "tasks.expand", "Open all groups"),
        hidden("E", "expand(False)", "tasks.collapse", "Close all groups"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._counting: Timer | None = None
        self._warm = False
        """Whether counting facets is quick."""

    @property
    def warms_up(self) -> bool:
        return False  # in its own way

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
            self.refresh_facets()

    def row_set(self, view: View) -> RowSet | None:
        tasks = self.tasks
        picked = [] if tasks is None else [row.task for row in tasks.picked_records()]
        if tasks is None or not (picked or tasks.matching):
            return None
        return task_row_set(picked or tasks.matching_tasks(), view.snapshot, "" if picked else self.matched)

    # -- facets ----------------------------------------------------------------------------------------------

    def room_hint(self) -> str:
        key, width = key_of(self, "tasks.facets"), self.facets.outer_size.width
        return f"; without the counts beside ({key}) {width} more" if self.facets.display else ""

    def refresh_facets(self) -> None:
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
