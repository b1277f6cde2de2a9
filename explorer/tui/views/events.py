"""The event log as a table."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.model import Reference, Snapshot, escape_text
from explorer.tui.session.event_log import LogEntry

from .detail import describe
from .facts import Detail, Fact
from .records import RecordTable
from .table import Cell, ViewColumn

__all__ = ("describe_entry", "events_table")


def events_table(entries: Sequence[LogEntry]) -> RecordTable[LogEntry]:
    """A row an event, as they are given: newest first."""
    columns = (
        ViewColumn("when", "TIME", 8),
        ViewColumn("what", "WHAT", 15),
        ViewColumn("text", "", 30, 1),
    )

    def cells(entry: LogEntry) -> list[Cell]:
        return [Cell(entry.when, "muted"), Cell(entry.what, entry.tone), Cell(entry.text)]

    return RecordTable(columns, entries, cells, lambda entry: entry.reference)


def describe_entry(entry: LogEntry, snapshot: Snapshot) -> Detail:
    """All of an event's text, and the object as it is now."""
    reference = entry.reference or Reference(kind="kernel", address=None, label="kernel")
    detail = Detail(reference, f"{entry.when}  {entry.what}")
    detail.facts.append(Fact("event", entry.text, tone=entry.tone))
    if entry.reference is not None:
        now = describe(entry.reference, snapshot)
        gone = any(fact.value == "not in this snapshot" for fact in now.facts)
        value = escape_text(entry.reference.label)
        detail.facts.append(
            Fact("about", f"{value}, gone by now" if gone else value, None if gone else entry.reference)
        )
        detail.facts += () if gone else now.facts
        detail.expression = now.expression
    return detail
