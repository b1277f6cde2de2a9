"""The event log as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.model import KERNEL, Reference, Snapshot, escape_text
from explorer.tui.views.details import Detail, Fact, RecordTable, describe

from .table import Cell, ViewColumn

__all__ = ("LogEntry", "describe_entry", "events_table")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line. All text is escaped."""

    when: str
    """``14:03:59``, by this machine's clock."""
    what: str
    text: str
    reference: Reference | None = None
    tone: str = ""


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
    reference = entry.reference or KERNEL
    detail = Detail(reference, f"{entry.when}  {entry.what}")
    detail.facts.append(Fact("event", entry.text, tone=entry.tone))
    if entry.reference is not None:
        now = describe(entry.reference, snapshot)
        gone = not now.found
        value = escape_text(entry.reference.label)
        detail.facts.append(
            Fact("about", f"{value}, gone by now" if gone else value, None if gone else entry.reference)
        )
        detail.facts += () if gone else now.facts
        detail.expression = now.expression
    return detail
