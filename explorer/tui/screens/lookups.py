"""Path lookups, a row each or counted by who asked: of a saved trace, or of the running kernel as they come."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual.binding import BindingType

from explorer.analysis.lookups import lost_words
from explorer.model import KERNEL, escape_text
from explorer.naming import count
from explorer.output import RowSet
from explorer.tui.keys import hidden, shown
from explorer.tui.session import MOST_LOOKUPS, View
from explorer.tui.views import (
    LookupGroup,
    LookupRow,
    describe_lookup,
    describe_lookups,
    group_lookups,
    groups_table,
    lookups_table,
)
from explorer.tui.views.details import Detail, RecordTable
from explorer.wire import PROGRAM

from .tables import TableScreen

__all__ = ("LookupsScreen",)

#: Of its time, the screen may spend so much on showing what has come: else it would do nothing else.
_SHARE = 0.1


class LookupsScreen(TableScreen):
    """Follows the trace while it is on the screen. Enter goes into the detail: the stack, and the way to the task."""

    ROWS = "lookups"
    FILTER_HINT = "meaning:bad path~/etc asker:badfn module:bad; tab completes"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown(
            "v",
            "group",
            "lookups.group",
            "Group",
            "Grouped by who asked and what it means, or one row a lookup",
        ),
        shown("P", "pause", "lookups.pause", "Pause", "Show nothing that is new for a while; or go on"),
        hidden("a", "inside", "lookups.inside", "Of a group: its lookups, a row each"),
        hidden("E", "end", "lookups.end", "End the trace of the kernel; or begin another one"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._is_grouped = self._is_paused = False
        self._changes = -1
        """What of the trace is shown."""
        self._rows: list[LookupRow] = []
        """Newest first; while it is paused, those of then."""
        self._due = 0.0

    # -- what is shown -----------------------------------------------------------------------------------------

    @property
    def warms_up(self) -> bool:
        """While lookups come there is another table each second."""
        return not self.shell.tracing.is_running

    def catch_up(self) -> None:
        if not self.is_there:
            return
        self.show_moment()
        view = self.shell.view
        if view is not None and view is not self._shown:
            self._shown, self.pane.snapshot = view, view.snapshot
        self.show_status()

    def show_view(self, view: View) -> None:
        """Lookups are of no snapshot: what leads to one is in the detail."""

    def show_status(self) -> None:
        tracing = self.shell.tracing
        new = self.is_there and not self._is_paused and self._changes != tracing.changes
        if new and self.is_current and (time.monotonic() >= self._due or not tracing.is_running):
            self._changes = tracing.changes
            self._rows = tracing.newest_first()
            self._show_rows()
        super().show_status()

    def _show_rows(self) -> None:
        """At the top it follows what is new; further down the cursor stays with its row."""
        began = time.monotonic()
        before, top = self.selected(), self.table.row == 0
        self.EMPTY = self._nothing()
        source = self._make_table()
        source.what = "askers" if self._is_grouped else self.ROWS
        source.marks = None
        self.arrange_source(source)
        row = 0
        if before is not None and not top:
            found = source.find(before)
            row = self.table.row if found is None else found
        self.table.show(source, row)
        ended = time.monotonic()
        self._due = ended + (ended - began) / _SHARE

    def _make_table(self) -> RecordTable[Any]:
        return groups_table(group_lookups(self._rows)) if self._is_grouped else lookups_table(self._rows)

    def _nothing(self) -> str:
        """What stands in place of the rows, where there are none."""
        tracing = self.shell.tracing
        if tracing.problem:
            return f"the kernel is not traced: {tracing.problem}"
        if tracing.is_running and tracing.header is None:
            return "the kernel is asked to tell of its lookups …"
        return "no lookup by a kernel thread so far" if tracing.is_running else "no lookup was seen"

    def crumbs(self) -> list[str]:
        """A saved trace has no overview to come from."""
        crumbs = super().crumbs()
        return crumbs if self.shell.view is not None else crumbs[1:]

    def header_text(self) -> str | None:
        tracing = self.shell.tracing
        header = tracing.header
        parts = [count(tracing.added, "lookup")]
        if tracing.bad:
            parts.append(f"{tracing.bad} {'fail' if tracing.fails_now else 'would fail on 7.3'}")
        if tracing.dropped:
            parts.append(f"only the last {MOST_LOOKUPS:,} kept: {tracing.dropped} older ones dropped")
        if self._is_paused:
            parts.append("PAUSED: P goes on")
        parts.append(self._state())
        if header is not None:
            parts += [f"Linux {escape_text(header.release)}", escape_text(header.nodename)]
        return "   ".join(filter(None, parts))

    def _state(self) -> str:
        """Whether there will be more, and whether anything is missing."""
        tracing = self.shell.tracing
        if tracing.is_running:
            return "traced now"
        if tracing.problem:
            return "TRACE ENDED"
        if tracing.header is None:
            return ""
        return "  ".join(filter(None, (tracing.name, "NOT ALL OF IT" if lost_words(tracing.end) else "")))

    def detail_of(self, row: int) -> Detail | None:
        record = self.record_at(row)
        view = self.shell.view
        snapshot = None if view is None else view.snapshot
        if isinstance(record, LookupGroup):
            return describe_lookups(record, snapshot)
        return self._why_nothing() if record is None else describe_lookup(record, snapshot)

    def _why_nothing(self) -> Detail | None:
        """In full: there is more room than in the place of the rows."""
        problem = self.shell.tracing.problem
        if not problem:
            return None
        detail = Detail(KERNEL, "the kernel is not traced")
        detail.add_text("why", problem)
        detail.add("what to do", f"{PROGRAM} doctor says what this machine offers; E tries again")
        return detail

    def row_set(self, view: View | None) -> RowSet | None:
        """Those that are marked, or all that the filter left: of a trace, as its file has them."""
        source, header = self.source(), self.shell.tracing.header
        chosen = None if source is None else source.picked_records() or source.records
        if not chosen or header is None:
            return None
        return RowSet(
            source.what,
            header,
            "" if source.picked else self.matched,
            [row.lookup for row in chosen if isinstance(row, LookupRow)] or None,
            self.table.chosen([column.name for column in source.columns]),
            [self.texts_of(each) for each in chosen],
        )

    def action_export(self) -> None:
        self.export(self.row_set(None))

    def action_where(self) -> None:
        fact = self.pane.fact() if self.pane.has_focus else None
        detail = self.pane.detail
        if detail is None or (detail.reference.kind == "kernel" and (fact is None or fact.target is None)):
            self.shell.say("It is nothing that was read: there is no screen that shows it.")
        else:
            super().action_where()

    # -- keys --------------------------------------------------------------------------------------------------

    def action_group(self) -> None:
        self._is_grouped = not self._is_grouped
        if self.query_text:
            self.show_query("")  # it is of other columns
        self._sort = (None, False)
        self.table.sort_mark = None
        self.table.row = 0
        self._show_rows()

    def action_pause(self) -> None:
        self._is_paused = not self._is_paused
        self.show_status()

    def action_inside(self) -> None:
        group = self.record_at(self.table.row)
        if not isinstance(group, LookupGroup):
            self.shell.say("This is a lookup: v groups them by who asked.")
            return
        self.action_group()
        self.filter_by(_query_of(group))

    async def action_end(self) -> None:
        tracing = self.shell.tracing
        if tracing.is_running:
            await tracing.stop()
        elif tracing.is_file:
            self.shell.say("This is a saved trace: there is nothing to end.")
        else:
            tracing.begin()


def _query_of(group: LookupGroup) -> str:
    """What leaves its lookups, and no others."""
    judged = group.last.judged
    asker = None if judged.asker is None else judged.asker.function
    values = {"asker": asker, "module": judged.module, "means": judged.meaning.says}
    return " ".join(
        f"not {name}:*" if value is None else f'{name}:"{escape_text(value)}"'
        for name, value in values.items()
    )
