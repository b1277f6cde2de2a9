"""The event log: what changed from reading to reading, and what the app said. Bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from explorer.analysis.diff import EventKind, HappenedEvent
from explorer.model import escape_text
from explorer.tui.views import LogEntry

__all__ = ("MOST_ENTRIES", "EventLog")

MOST_ENTRIES = 10_000
_BAD = {EventKind.VERDICT, EventKind.FINDING_NEW, EventKind.REBOOT}
_NOTED = {EventKind.BORROW_BEGINS, EventKind.MOVED_FS, EventKind.ROOT}


class EventLog:
    """Newest last; the oldest are dropped when there are too many."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=most)
        self.added = 0
        """How many there ever were."""
        self.seen = 0
        """How many there were when the log was last looked at."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def dropped(self) -> int:
        return self.added - len(self._entries)

    @property
    def unseen(self) -> int:
        return self.added - self.seen

    def clear(self) -> None:
        """What is looked at from now on is something else."""
        self._entries.clear()
        self.added = self.seen = 0

    def newest_first(self) -> list[LogEntry]:
        return list(reversed(self._entries))

    def _add(self, entry: LogEntry) -> None:
        self._entries.append(entry)
        self.added += 1

    def add_events(self, events: Iterable[HappenedEvent], when: datetime) -> None:
        """What changed; of one reading, the first event is to stand above the others."""
        time = when.strftime("%H:%M:%S")
        for event in reversed(list(events)):
            tone = "bad" if event.kind in _BAD else "warn" if event.kind in _NOTED else ""
            self._add(LogEntry(time, event.kind.value, escape_text(event.text), event.reference, tone))

    def note(self, what: str, text: str, when: datetime, tone: str = "") -> None:
        """A notice of the app's own. :param text: escaped"""
        self._add(LogEntry(when.strftime("%H:%M:%S"), what, text, None, tone))
