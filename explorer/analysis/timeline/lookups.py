"""Path lookups that failed in nullfs between two frames, where a recording has them: by who asked for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from explorer.analysis.lookups import asker_of, path_words, result_name
from explorer.model import Frame, KernelText, Lookup, Placement, comm_and_pid
from explorer.naming import count

from .events import Event, EventKind

__all__ = ("lookup_events",)

#: Of one frame; what is beyond is counted.
_MOST = 20


def lookup_events(frame: Frame) -> Iterator[Event]:
    """An event for each task, path and asker, and one for what was lost or is too much."""
    failed = [lookup for lookup in frame.lookups if _failed_in_nullfs(lookup)]
    groups = Counter(_words(lookup) for lookup in failed)
    first = {_words(lookup): lookup for lookup in reversed(failed)}
    for words, number in list(groups.items())[:_MOST]:
        times = f", {number} times" if number > 1 else ""
        yield _event(frame, EventKind.LOOKUP, f"{words}{times}", first[words].pid)
    more = sum(list(groups.values())[_MOST:])
    if more:
        yield _event(frame, EventKind.LOOKUP, f"{count(more, 'other lookup')} failed in nullfs")
    if frame.lookups_lost:
        lost = f"{count(frame.lookups_lost, 'lookup')} or events of such were lost"
        yield _event(frame, EventKind.LOOKUP, lost)


def _failed_in_nullfs(lookup: Lookup) -> bool:
    return (
        lookup.start is not None
        and lookup.start.placement is Placement.NULLFS
        and lookup.result is not None
        and lookup.result < 0
    )


def _words(lookup: Lookup) -> KernelText:
    asker = asker_of(lookup, {})
    asked = "" if asker is None else f", asked for by {asker.label}"
    return (
        f"{comm_and_pid(lookup.comm, lookup.pid)} looked up {path_words(lookup)} in nullfs: "
        f"{result_name(lookup.result)}{asked}"
    )


def _event(frame: Frame, kind: EventKind, text: KernelText, pid: int | None = None) -> Event:
    return Event(frame.index, frame.seconds, frame.segment, kind, text, None, pid)
