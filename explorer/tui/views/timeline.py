"""The timeline bar as text: phases, borrows and tasks over the width of the terminal, and the moment on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from explorer.analysis.timeline import BorrowSpan, Event, Phase, Timeline
from explorer.model import display_width, escape_text
from explorer.naming import frame_words
from explorer.output import fit
from explorer.recording import Recording

from .table import Cell

__all__ = ("TimelineText", "event_text", "spark", "world_lines")

_BARS = "▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 9
_PLAYHEAD = "◆"
_PHASE_CHARS = {Phase.UNSEEN: " ", Phase.UNREADABLE: "·", Phase.UNPACKING: "═", Phase.REAL_ROOT: "━"}


class Playback(Protocol):
    """A recording, and the moment of it that is on the screen."""

    recording: Recording
    timeline: Timeline
    looked_at: int
    readable: list[int]
    index: int
    speed: float
    playing: bool

    @property
    def seconds(self) -> float: ...

    @property
    def why_unreadable(self) -> str | None: ...

    def event_before(self, index: int) -> Event | None: ...


def spark(value: int, most: int) -> str:
    """One character for a number: a dot for none, a full block for the most."""
    if value <= 0 or most <= 0:
        return "·"
    return _BARS[max(0, min(len(_BARS), -(-value * len(_BARS) // most)) - 1)]


def event_text(event: Event) -> str:
    """An event in one line, escaped."""
    return escape_text(event.line)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Which frames a terminal column stands for. Those before ``start`` have no place in it."""

    times: Sequence[float]
    start: int
    width: int

    @classmethod
    def of(cls, playback: Playback, width: int) -> _Scale:
        """From just before the kernel could be read: what came before is a third of a boot, and empty."""
        return cls(playback.recording.times, max(0, playback.readable[0] - 1), max(10, width))

    def column(self, index: int) -> int:
        first = self.times[self.start]
        span = self.times[-1] - first
        return 0 if span <= 0 else round((self.times[index] - first) / span * (self.width - 1))

    def frames(self) -> list[range]:
        """For every column the frames in it; one without any stands for the last frame before it."""
        found: list[list[int]] = [[] for _ in range(self.width)]
        for index in range(self.start, len(self.times)):
            found[self.column(index)].append(index)
        columns, last = [], self.start
        for inside in found:
            if inside:
                last = inside[-1]
                columns.append(range(inside[0], last + 1))
            else:
                columns.append(range(last, last + 1))
        return columns

    def nearest(self, column: int) -> int:
        """The frame that a click on a column means."""
        inside = self.frames()[max(0, min(column, self.width - 1))]
        return inside[0]


class TimelineText:
    """Lines of cells for one width and what is known by now; made anew when either changes."""

    def __init__(self, playback: Playback, width: int) -> None:
        self.playback = playback
        self.timeline = playback.timeline
        self.width = width
        self._scale = _Scale.of(playback, width - _LABEL_WIDTH - 1)
        self._columns = self._scale.frames()
        self._phases = self._phase_line()
        self._borrows = self._borrow_line()
        self._tasks = self._task_line()

    def frame_at(self, x: int) -> int | None:
        """The frame below a place in the line; ``None`` left of the picture."""
        return None if x < _LABEL_WIDTH else self._scale.nearest(x - _LABEL_WIDTH)

    def lines(self, height: int) -> list[list[Cell]]:
        """The bar in so many lines: where we are, what happens, phases, borrows, and tasks if there is room."""
        pictures = [("phases", self._phases), ("borrows", self._borrows), ("tasks", self._tasks)]
        lines = [self._status(), *(self._picture(*picture) for picture in pictures)]
        return [*lines[: height - 1], self._event()]

    def _picture(self, label: str, line: str) -> list[Cell]:
        """A line with the moment marked in it: by its own character in the phases, reversed in all."""
        place = self._scale.column(self.playback.index)
        here = _PLAYHEAD if label == "phases" else line[place]
        tone = {"borrows": "warn", "tasks": "muted"}.get(label, "")
        name = Cell(f" {label:<{_LABEL_WIDTH - 1}}", "muted")
        return [name, Cell(line[:place], tone), Cell(here, "cursor"), Cell(line[place + 1 :], tone)]

    def _status(self) -> list[Cell]:
        playback = self.playback
        recording, phase = playback.recording, playback.timeline.phases[playback.index]
        state = f"▶ playing {playback.speed:g}x" if playback.playing else f"paused {playback.speed:g}x"
        boot = f"   boot {recording.segment_numbers[playback.index] + 1} of {len(recording.segments)}"
        where = (
            f" {playback.seconds:.3f} s   {frame_words(playback.index, len(recording))}   {phase.value}"
            f"{boot if len(recording.segments) > 1 else ''}"
        )
        keys = f"{state}   , . frame  [ ] event  p play "
        room = self.width - display_width(where) - display_width(keys)
        if room < 2:
            keys, room = f"{state} ", self.width - display_width(where) - display_width(state) - 1
        return [Cell(where, "group"), Cell(" " * max(1, room)), Cell(keys, "muted")]

    def _event(self) -> list[Cell]:
        playback = self.playback
        if playback.index >= playback.looked_at:
            text = f"not known yet: {playback.looked_at} of {len(playback.recording)} frames looked at"
            return [Cell(f" {'event':<{_LABEL_WIDTH - 1}}", "muted"), Cell(text, "muted")]
        now = playback.timeline.events_at(playback.index)
        event = now[0] if now else playback.event_before(playback.index)
        room = self.width - _LABEL_WIDTH - 1
        if event is None:
            why = playback.why_unreadable
            text = (
                "nothing yet"
                if why is None
                else f"the kernel could not be read before this: {escape_text(why)}"
            )
            return [Cell(f" {'event':<{_LABEL_WIDTH - 1}}", "muted"), Cell(fit(text, room), "muted")]
        more = f"  and {len(now) - 1} more now (L)" if len(now) > 1 else ""
        since = "" if now else f"{event.seconds:.3f} s  "
        text = fit(since + event_text(event), max(20, room - len(more)))
        return [
            Cell(f" {'now' if now else 'last':<{_LABEL_WIDTH - 1}}", "muted"),
            Cell(text),
            Cell(more, "muted"),
        ]

    # -- pictures ----------------------------------------------------------------------------------------------

    def _phase_line(self) -> str:
        phases = self.playback.timeline.phases
        segments = self.playback.recording.segment_numbers
        marks = [(phases[inside[0]], segments[inside[0]]) for inside in self._columns]
        line = ""
        start = 0
        for place in range(1, len(marks) + 1):
            if place < len(marks) and marks[place] == marks[start]:
                continue
            reboot = start > 0 and marks[start][1] != marks[start - 1][1]
            line += _labelled(marks[start][0], place - start, "║" if reboot else "┬" if start else "")
            start = place
        return line

    def _borrow_line(self) -> str:
        timeline = self.playback.timeline
        counts = [max(timeline.borrowers[index] for index in inside) for inside in self._columns]
        line = "".join(spark(count, timeline.most_borrowers) for count in counts)
        taken = 0
        for span in timeline.borrows:
            line, taken = self._with_name(line, span, taken)
        return line

    def _with_name(self, line: str, span: BorrowSpan, taken: int) -> tuple[str, int]:
        """A borrower's name inside its span, where that is long enough."""
        name = f" {escape_text(span.comm)} "
        first, last = self._scale.column(span.first), self._scale.column(span.last)
        start = max(taken, first + (last + 1 - first - display_width(name)) // 2)
        if not name.isascii() or start < first + 1 or start + len(name) > last:
            return line, taken
        return line[:start] + name + line[start + len(name) :], start + len(name)

    def _task_line(self) -> str:
        timeline = self.playback.timeline
        most = max(timeline.tasks, default=0)
        return "".join(spark(timeline.tasks[inside[-1]], most) for inside in self._columns)


def _labelled(phase: Phase, width: int, edge: str) -> str:
    """A phase in ``width`` columns: its edge, and its name where there is room."""
    char = _PHASE_CHARS.get(phase, "─")
    text = edge + phase.value if width >= len(edge) + len(phase.value) else edge
    return text[:width] + char * (width - len(text))


def world_lines(playback: Playback, width: int) -> list[list[Cell]]:
    """A sparkline for every world and for those who borrow: over time, how many now, how many at most."""
    timeline = playback.timeline
    rows = [(key.value, numbers) for key, numbers in timeline.worlds.items() if any(numbers)]
    rows.insert(2, ("borrowing", timeline.borrowers))  # right below the two worlds, for low terminals
    names = max(len(name) for name, _ in rows)
    most = max((max(numbers, default=0) for _, numbers in rows), default=0)
    digits = len(str(most))
    scale = _Scale.of(playback, width - names - 2 * digits - 20)
    columns, place = scale.frames(), scale.column(playback.index)
    lines = []
    for name, numbers in rows:
        high = max(numbers, default=0)
        line = "".join(spark(max(numbers[index] for index in inside), high) for inside in columns)
        tone = "warn" if name == "borrowing" else "muted"
        lines.append(
            [
                Cell(f" {name:<{names}}  ", "muted"),
                Cell(line[:place], tone),
                Cell(line[place], "cursor"),
                Cell(line[place + 1 :], tone),
                Cell(f"  {numbers[playback.index]:>{digits}} now  {high:>{digits}} at most"),
            ]
        )
    return lines
