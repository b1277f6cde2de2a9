"""A recording as a whole: events, phases, who borrowed for how long, and how the worlds grew. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from explorer.analysis.worlds import WorldKey
from explorer.model import Frame, KernelText, Task, comm_and_pid, no_garbage_collection, task_name
from explorer.naming import seconds

from .events import Event, EventKind, events_between, first_events
from .hangs import Hangs
from .lookups import lookup_events
from .phases import Phase, PhaseSpan, find_phase, runs, spans_of, unpacker
from .standing import Seen, see

__all__ = ("BorrowSpan", "Timeline", "TimelineBuilder", "build_timeline")


@dataclass(slots=True)
class BorrowSpan:
    """One task borrowing ``userspace_init_fs``, over consecutive frames in the same function."""

    address: int
    """Of the task."""
    pid: int
    comm: KernelText
    function: KernelText | None
    """The work or thread function it did it in; ``None`` for user tasks."""
    path: KernelText | None
    """What it was looking up in the first frame that showed a path walk."""
    segment: int
    first: int
    """Index of the first frame that shows it."""
    last: int
    begin_s: float
    end_s: float
    """When it was seen to be over; while ``ended`` is false: the last frame that shows it."""
    ended: bool = False
    from_start: bool = False
    """The first readable frame of its boot shows it: it began before, and is longer than is known."""

    @property
    def seconds(self) -> float:
        """How long: from the first frame that shows it to the first one that does not."""
        return self.end_s - self.begin_s


@dataclass(slots=True)
class Timeline:
    """Lists named "one per frame" have an entry for every frame, unreadable ones included."""

    events: list[Event] = field(default_factory=list)
    """By frame."""
    phases: list[Phase] = field(default_factory=list)
    """One per frame."""
    spans: list[PhaseSpan] = field(default_factory=list)
    borrows: list[BorrowSpan] = field(default_factory=list)
    """By beginning."""
    most_borrowers: int = 0
    """At once, in one frame."""
    worlds: dict[WorldKey, list[int]] = field(default_factory=dict)
    """Tasks in each world that ever had any, one per frame; 0 where the frame cannot be read."""
    borrowers: list[int] = field(default_factory=list)
    """One per frame."""
    tasks: list[int] = field(default_factory=list)
    """One per frame."""

    def events_at(self, frame: int) -> list[Event]:
        """The events that this frame is the first to show."""
        return [event for event in self.events if event.frame == frame]

    def next_event(self, frame: int) -> Event | None:
        """The first event behind this frame."""
        return next((event for event in self.events if event.frame > frame), None)

    def previous_event(self, frame: int) -> Event | None:
        """The last event before this frame."""
        return next((event for event in reversed(self.events) if event.frame < frame), None)


def build_timeline(frames: Iterable[Frame], end: tuple[float, str] | None = None) -> Timeline:
    """Look at every frame once, in order.

    :param end: seconds and reason of the recording's end: its last event
    """
    builder = TimelineBuilder()
    with no_garbage_collection():
        for frame in frames:
            builder.add(frame)
    return builder.finish(end)


def _phase(seen: Seen) -> Phase:
    return find_phase(seen.snapshot, unpacker(seen.snapshot, seen.busy))


def _without_snapshot(frame: Frame) -> Frame:
    return Frame(frame.index, frame.seconds, frame.segment, None, frame.why)


class TimelineBuilder:
    """Makes a timeline frame by frame."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self._frames: list[Frame] = []
        self._before: Seen | None = None
        """The last readable frame of this boot."""
        self._open: dict[tuple[int, int | None, KernelText | None], BorrowSpan] = {}
        self._hangs = Hangs()

    def add(self, frame: Frame) -> None:
        timeline = self.timeline
        if self._frames and self._frames[-1].segment != frame.segment:
            self._close_all(frame)
            self._before = None
            text = f"boot {frame.segment + 1} begins"
            timeline.events.append(Event(frame.index, frame.seconds, frame.segment, EventKind.SEGMENT, text))
        snapshot = frame.snapshot
        seen = None if snapshot is None else see(frame, snapshot, self._before)
        self._frames.append(_without_snapshot(frame))  # a recording of an hour must not be held in memory
        timeline.phases.append(Phase.UNREADABLE if seen is None else _phase(seen))
        self._count(seen)
        timeline.events.extend(lookup_events(frame))
        if seen is None:
            return
        if self._before is None:
            timeline.events.extend(first_events(seen))
        else:
            timeline.events.extend(events_between(self._before, seen))
        self._borrowing(seen)
        self._hanging(seen)
        self._before = seen

    def finish(self, end: tuple[float, str] | None) -> Timeline:
        timeline = self.timeline
        timeline.spans = spans_of(self._frames, timeline.phases)
        if end is not None and self._frames:
            last = self._frames[-1]
            timeline.events.append(Event(last.index, end[0], last.segment, EventKind.END, end[1]))
        return timeline

    def so_far(self, frames: int) -> Timeline:
        """What is known of a recording of so many frames, of which only the first ones have been added."""
        known, rest = self.timeline, frames - len(self._frames)
        return Timeline(
            events=list(known.events),
            phases=known.phases + [Phase.UNSEEN] * rest,
            spans=spans_of(self._frames, known.phases),
            borrows=[replace(span) for span in known.borrows],
            most_borrowers=known.most_borrowers,
            worlds={key: numbers + [0] * rest for key, numbers in known.worlds.items()},
            borrowers=known.borrowers + [0] * rest,
            tasks=known.tasks + [0] * rest,
        )

    def _count(self, seen: Seen | None) -> None:
        timeline, position = self.timeline, len(self._frames) - 1
        counts = {} if seen is None else seen.worlds
        for key in counts:
            if key not in timeline.worlds:
                timeline.worlds[key] = [0] * position
        for key, numbers in timeline.worlds.items():
            numbers.append(counts.get(key, 0))
        timeline.tasks.append(0 if seen is None else len(seen.snapshot.tasks))
        borrowers = 0 if seen is None else sum(bool(task.borrowing) for task in seen.busy)
        timeline.borrowers.append(borrowers)
        timeline.most_borrowers = max(timeline.most_borrowers, borrowers)

    def _borrowing(self, seen: Seen) -> None:
        frame = seen.frame
        now: dict[tuple[int, int | None, KernelText | None], Task] = {}
        for task in seen.busy:
            if task.borrowing:
                now[task.address, task.start_time, runs(task, seen.snapshot)] = task
        for key in [key for key in self._open if key not in now]:
            self._close(key, frame)
        for key, task in now.items():
            path = None if task.walk is None else task.walk.path
            span = self._open.get(key)
            if span is None:
                self._begin(frame, task, key, path)
            else:
                span.last, span.end_s = frame.index, frame.seconds
                span.path = span.path if span.path is not None else path

    def _hanging(self, seen: Seen) -> None:
        """What hung in the first readable frame of a boot began before it."""
        frame = seen.frame
        for change in self._hangs.changes(seen.snapshot, seen.busy):
            kind = EventKind.HANG_BEGIN if change.begins else EventKind.HANG_END
            kind = EventKind.INITIAL if self._before is None else kind
            where = (frame.index, frame.seconds, frame.segment)
            self.timeline.events.append(
                Event(*where, kind, change.text, change.task.address, change.task.pid)
            )

    def _begin(
        self,
        frame: Frame,
        task: Task,
        key: tuple[int, int | None, KernelText | None],
        path: KernelText | None,
    ) -> None:
        where = (frame.segment, frame.index, frame.index, frame.seconds, frame.seconds)
        initial = self._before is None
        span = BorrowSpan(task.address, task.pid, task.comm_word, key[2], path, *where, from_start=initial)
        self._open[key] = span
        self.timeline.borrows.append(span)
        words = f"{task_name(task)} {'is borrowing' if initial else 'borrows'} userspace_init_fs"
        words += "" if key[2] is None else f" in {key[2]}"
        words += "" if path is None else f", for {path}"
        self._event(frame, EventKind.INITIAL if initial else EventKind.BORROW_BEGIN, words, span)

    def _close(self, key: tuple[int, int | None, KernelText | None], frame: Frame) -> None:
        span = self._open.pop(key)
        span.end_s, span.ended = frame.seconds, True
        function = "" if span.function is None else f" ({span.function})"
        least = "at least " if span.from_start else ""
        text = f"{comm_and_pid(span.comm, span.pid)} no longer borrows{function}, after {least}{seconds(span.seconds)}"
        self._event(frame, EventKind.BORROW_END, text, span)

    def _event(self, frame: Frame, kind: EventKind, text: str, span: BorrowSpan) -> None:
        self.timeline.events.append(
            Event(frame.index, frame.seconds, frame.segment, kind, text, span.address, span.pid)
        )

    def _close_all(self, frame: Frame) -> None:
        """A boot has ended, and with it whoever borrowed in it: nobody saw them stop."""
        self._open.clear()
        self._hangs = Hangs()
