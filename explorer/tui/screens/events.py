"""The event log: what changed from reading to reading, newest first; enter goes to what it is about."""

from __future__ import annotations

from typing import Any

from explorer.tui.session import MOST_ENTRIES, View
from explorer.tui.views import LogEntry, describe_entry, events_table
from explorer.tui.views.details import Detail, RecordTable

from .tables import TableScreen

__all__ = ("EventsScreen",)


class EventsScreen(TableScreen):
    """Follows the log while it is on the screen."""

    EMPTY = "nothing has changed since the first reading: r reads again, R at an interval"

    ROWS = "events"

    def __init__(self) -> None:
        super().__init__()
        self._added = -1

    def make_source(self, view: View) -> RecordTable[Any]:
        self._added = self.shell.source.log.added
        return events_table(self.shell.source.log.newest_first())

    def header(self, view: View) -> str:
        book = self.shell.source.log
        more = f", {book.dropped} older ones dropped" if book.dropped else ""
        return f"event log: {len(book)} of at most {MOST_ENTRIES}{more}   {view.header}"

    def show_view(self, view: View) -> None:
        entry, top = self._entry(self.table.row), self.table.row == 0
        self.pane.snapshot = view.snapshot
        source = self.fresh_source(view)
        # At the top it follows what is new; further down the cursor stays with its entry.
        row = 0
        if entry is not None and not top:
            row = next((i for i, each in enumerate(source.records) if each is entry), len(source) - 1)
        self.table.show(source, row)

    def show_status(self) -> None:
        book, view = self.shell.source.log, self.shell.view
        if self.is_current and self.is_mounted and view is not None:
            book.seen = book.added
            if self._added != book.added:
                self.show_view(view)
        super().show_status()

    def _entry(self, row: int) -> LogEntry | None:
        entry: LogEntry | None = self.record_at(row)
        return entry

    def detail_of(self, row: int) -> Detail | None:
        entry, view = self._entry(row), self.shell.view
        return None if entry is None or view is None else describe_entry(entry, view.snapshot)

    def choose(self, row: int) -> None:
        detail = self.detail_of(row)
        target = (
            next((fact.target for fact in detail.facts if fact.name == "about"), None) if detail else None
        )
        if target is not None:
            self.shell.go_to(target)
        else:
            super().choose(row)
