"""What happened in a recording: the worlds over time, and every event; enter goes to its frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from textual.app import ComposeResult

from explorer.analysis.query import FieldType
from explorer.analysis.timeline import Event, EventKind, Timeline
from explorer.model import Reference, Snapshot, escape_text, fields_of, mount_name, namespace_name, task_name
from explorer.tui.session import Playback, View
from explorer.tui.views import Cell, ViewColumn
from explorer.tui.views.details import ColumnValue, Detail, RecordTable
from explorer.tui.widgets import WorldLines

from .tables import TableScreen

__all__ = ("TimelineScreen", "events_table")

_TONES = {
    EventKind.ABANDONED: "bad",
    EventKind.INITIAL: "muted",
    EventKind.BORROW_BEGIN: "warn",
    EventKind.BORROW_END: "warn",
    EventKind.HANG_BEGIN: "bad",
    EventKind.HANG_END: "warn",
    EventKind.SEGMENT: "group",
    EventKind.SWITCH_ROOT: "group",
    EventKind.PIVOT_ROOT: "group",
    EventKind.PID1_EXEC: "group",
    EventKind.END: "group",
}


def events_table(playback: Playback, snapshot: Snapshot) -> RecordTable[Event]:
    """Every event; those that the frame on the screen is the first to show are marked."""
    columns = (
        ViewColumn("now", "", 1),
        ViewColumn("time", "TIME", 9, numeric=True),
        ViewColumn("frame", "FRAME", 5, numeric=True, rank=2),
        ViewColumn("kind", "WHAT", 20, rank=1),
        ViewColumn("text", "EVENT", 30, 1),
    )

    def cells(event: Event) -> list[Cell]:
        return [
            Cell("▶" if event.frame == playback.index else ""),
            Cell(f"{event.seconds:.3f} s"),
            Cell(str(event.frame), "muted"),
            Cell(event.kind.value, _TONES.get(event.kind, "")),
            Cell(escape_text(event.text)),
        ]

    values = {
        "time": ColumnValue(FieldType.SECONDS, lambda event: event.seconds),
        "frame": ColumnValue(FieldType.NUMBER, lambda event: event.frame),
    }
    about = _Subjects(snapshot)
    return RecordTable(columns, playback.timeline.events, cells, about.of, values)


class _Subjects:
    """What events are about, as far as a snapshot has it: asked of all of them, and there are many."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def _tasks(self) -> dict[int, int]:
        """Where the task of an address is: its record is made when somebody asks for it."""
        [addresses] = fields_of(self._snapshot.tasks, "address")
        return {address: place for place, address in enumerate(addresses)}

    def of(self, event: Event) -> Reference | None:
        return None if event.address is None else self._found(event.address)

    def _found(self, address: int) -> Reference | None:
        snapshot, place = self._snapshot, self._tasks.get(address)
        if place is not None:
            return Reference(kind="task", address=address, label=task_name(snapshot.tasks[place]))
        return _find_other(snapshot, address)


def _find_other(snapshot: Snapshot, address: int) -> Reference | None:
    tables: tuple[tuple[str, Any], ...] = (
        ("mount", snapshot.mount_by_address.get(address)),
        ("fs_struct", snapshot.fs_by_address.get(address)),
        ("mount_namespace", snapshot.namespace_by_address.get(address)),
    )
    for kind, found in tables:
        if found is not None:
            return Reference(kind=kind, address=address, label=_label(kind, found))
    return None


def _label(kind: str, found: Any) -> str:
    labels = {
        "mount": lambda: mount_name(found),
        "mount_namespace": lambda: namespace_name(found),
    }
    return labels.get(kind, lambda: f"0x{found.address:x}")()


def _row_of_frame(events: Sequence[Event], frame: int) -> int:
    """The last of the newest events that this frame knows of, in whatever order they are."""
    known = [(event.frame, number) for number, event in enumerate(events) if event.frame <= frame]
    return max(known)[1] if known else 0


class TimelineScreen(TableScreen):
    """Only recordings have it."""

    EMPTY = "nothing happened in this recording"
    ROWS = "events"

    _told: Timeline | None = None
    """What is shown: of a large recording, more is found while one looks."""
    _followed = 0
    """The row that the moment has put the cursor on. While it plays, a cursor that the user has moved stays there."""

    def compose_body(self) -> ComposeResult:
        yield WorldLines(id="worldlines")
        yield from super().compose_body()

    def make_source(self, view: View) -> RecordTable[Any]:
        playback = self.shell.player.playback
        assert playback is not None
        return events_table(playback, view.snapshot)

    def show_view(self, view: View) -> None:
        playback = self.shell.player.playback
        if playback is None:
            return
        self._told = playback.timeline
        self.query_one(WorldLines).show_worlds(playback)
        self.pane.snapshot = view.snapshot
        source = self.fresh_source(view)
        events = source.records
        row = self.table.row
        if playback.playing and row != self._followed:
            self.table.show(source, row)
            return
        if not 0 <= row < len(events) or events[row].frame != playback.index or self.table.source is None:
            row = _row_of_frame(events, playback.index)
        self._followed = row
        self.table.show(source, row)

    def show_status(self) -> None:
        playback, view = self.shell.player.playback, self.shell.view
        is_told = playback is None or self._told is None or self._told is playback.timeline
        if self.is_current and self.is_mounted and view is not None and playback is not None and not is_told:
            self._show_more(playback, view)
        super().show_status()

    def _show_more(self, playback: Playback, view: View) -> None:
        """More was found: the cursor stays with its event, or with the moment."""
        self._told, event = playback.timeline, self.record_at(self.table.row)
        self.query_one(WorldLines).show_worlds(playback)
        source = self.fresh_source(view)
        row = next((at for at, each in enumerate(source.records) if each is event), 0)
        if self.table.row == self._followed:
            row = self._followed = _row_of_frame(source.records, playback.index)
        self.table.show(source, row)

    def detail_of(self, row: int) -> Detail | None:
        event: Event | None = self.record_at(row)
        if event is None:
            return None
        about = self.source().reference_at(row)
        title = f"{event.kind.value} at {event.seconds:.3f} s"
        detail = Detail(about or Reference(kind="kernel", address=None, label="kernel"), title)
        detail.add("event", event.text)
        detail.add("frame", f"{event.frame}: enter goes there")
        if about is not None:
            detail.add("about", about.label, about)
        elif event.address is not None:
            detail.add("about", f"0x{event.address:x}, which this frame does not have")
        return detail

    def choose(self, row: int) -> None:
        event: Event | None = self.record_at(row)
        if event is not None:
            self.shell.player.show_frame(event.frame)
