"""A timeline as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.analysis.timeline import BorrowSpan, Timeline
from explorer.model import comm_and_pid, escape_text, hex_address
from explorer.naming import count

__all__ = ("TimelineHead", "render_timeline", "timeline_json")


@dataclass(frozen=True, slots=True)
class TimelineHead:
    """What stands above the events. Texts are not escaped."""

    target: str
    kernels: Sequence[str]
    """One for each boot: its release, or that it could never be read."""
    frames: int
    unreadable: int
    seconds: float
    end: str | None
    """Why the recording ended; ``None``: the recorder was killed."""
    damage: str | None


def render_timeline(timeline: Timeline, head: TimelineHead) -> list[str]:
    """Lines of text."""
    return [*_head(head), "", *_phases(timeline), "", *_events(timeline), *_borrows(timeline)]


def _head(head: TimelineHead) -> Iterator[str]:
    kernels = ", then ".join(escape_text(kernel) for kernel in head.kernels) or "no kernel"
    yield f"{escape_text(head.target)}: {kernels}"
    before = f", {head.unreadable} of them not readable" if head.unreadable else ""
    yield f"{count(head.frames, 'frame')} in {head.seconds:.3f} s{before}"
    yield f"Ended: {'the recorder was killed' if head.end is None else escape_text(head.end)}"
    if head.damage is not None:
        yield f"The file is cut off or damaged: {head.damage}; everything before is shown."


def _phases(timeline: Timeline) -> Iterator[str]:
    yield "Phases"
    for span in timeline.spans:
        frames = f"#{span.first}" if span.first == span.last else f"#{span.first} to #{span.last}"
        yield f"  {span.begin_s:8.3f} s  {span.phase.value}, {span.end_s - span.begin_s:.3f} s ({frames})"


def _events(timeline: Timeline) -> Iterator[str]:
    yield "Events"
    for event in timeline.events:
        yield f"  {event.seconds:8.3f} s  #{event.frame}  {escape_text(event.line)}"


def _borrows(timeline: Timeline) -> Iterator[str]:
    if not timeline.borrows:
        return
    yield ""
    yield f"Borrowing userspace_init_fs: at most {timeline.most_borrowers} at once"
    for span in timeline.borrows:
        function = "" if span.function is None else f" in {escape_text(span.function)}"
        path = "" if span.path is None else f", for {escape_text(span.path)}"
        least = "at least " if span.from_start else ""
        lasted = f"{least}{span.seconds:.3f} s"
        end = lasted if span.ended else f"still at the end, {lasted} so far"
        yield f"  {span.begin_s:8.3f} s  {escape_text(comm_and_pid(span.comm, span.pid))}{function}{path}: {end}"


def timeline_json(timeline: Timeline, head: TimelineHead) -> str:
    """One document: ``recording``, ``phases``, ``events``, ``borrows``, ``worlds``; addresses in hex."""
    document = {
        "schema_version": 1,
        "recording": asdict(head),
        "phases": [asdict(span) for span in timeline.spans],
        "events": [_addressed(asdict(event)) for event in timeline.events],
        "most_borrowers": timeline.most_borrowers,
        "borrows": [_borrow(span) for span in timeline.borrows],
        "worlds": {key.value: numbers for key, numbers in timeline.worlds.items()},
        "borrowers": timeline.borrowers,
        "tasks": timeline.tasks,
    }
    return json.dumps(document, indent=2)


def _borrow(span: BorrowSpan) -> dict[str, Any]:
    return _addressed(asdict(span)) | {"seconds": round(span.seconds, 6)}


def _addressed(values: dict[str, Any]) -> dict[str, Any]:
    address = values["address"]
    return values | {"address": None if address is None else hex_address(address)}
