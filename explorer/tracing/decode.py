"""Events of the ring buffer, decoded: the walk of a lookup with its stack, or its end.

A stack is an event of its own (``kernel_stack``), which the trigger ``stacktrace`` puts right behind the walk, on the
same CPU and of the same task. So is the path: before the walk or behind its stack, as kernels have it. Each may be on
the next page, or lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .events import END_EVENTS, PATH_EVENT, WALK_EVENT, result_of
from .formats import EventFormat, Field

__all__ = ("CpuDecoder", "EndEvent", "Formats", "WalkEvent")

_WORD = 8
_MAX_FRAMES = 512


@dataclass(slots=True)
class WalkEvent:
    """``path_init()`` returned, or ``terminate_walk()`` was called."""

    time: int
    """The trace clock, in nanoseconds."""
    cpu: int
    pid: int
    comm: bytes
    path: bytes | None
    path_cut: bool
    nd: int
    start: int | None
    """``struct vfsmount``; 0 is none, ``None``: cannot be told by this event."""
    root: int
    flags: int
    stack: list[int] | None = None
    path_event: bool = False
    """The event of its path has come."""


@dataclass(slots=True)
class EndEvent:
    """One of the functions that walk returned."""

    time: int
    pid: int
    name: str
    """Of the event: which function returned."""
    result: int
    nd: int | None
    stack: int | None
    """The stack pointer at the return: ``nd`` lies above it."""


@dataclass(frozen=True, slots=True)
class Formats:
    """By the number of the event."""

    walk: EventFormat
    path: EventFormat
    ends: Mapping[int, tuple[str, EventFormat]]
    stack: EventFormat

    @classmethod
    def of(cls, formats: Mapping[str, EventFormat], stack: EventFormat) -> Formats:
        """:param formats: by the name of the event: the walk, and those ends that there are"""
        ends = {formats[name].id: (name, formats[name]) for name in END_EVENTS if name in formats}
        return cls(formats[WALK_EVENT], formats[PATH_EVENT], ends, stack)


@dataclass(slots=True)
class CpuDecoder:
    """The events of one CPU, in their order."""

    formats: Formats
    cpu: int
    damaged: int = 0
    """Events that were shorter than their format says."""
    _walk: WalkEvent | None = field(default=None, init=False)
    _path: tuple[int | None, int | None, bytes | None] = field(default=(None, None, None), init=False)
    """Of the walk that comes next, if it has not come: its pid, ``nd`` and path."""

    def decode(self, events: Iterable[tuple[int, bytes]]) -> Iterator[WalkEvent | EndEvent]:
        """What the events of a page are. A walk comes out when what stands behind it is another event."""
        formats = self.formats
        number = formats.walk.fields["common_type"]
        for time, event in events:
            kind = number.integer(event)
            if kind == formats.stack.id:
                self._take_stack(event)
                continue
            if kind == formats.path.id and self._take_path(formats.path, event):
                continue
            yield from self.flush()
            if kind == formats.walk.id:
                self._walk = self._read_walk(time, event)
            elif kind is not None and kind in formats.ends:
                end = self._read_end(time, event, *formats.ends[kind])
                if end is not None:
                    yield end

    def flush(self) -> Iterator[WalkEvent]:
        """A walk that waits for its stack; it will not come any more."""
        if self._walk is not None:
            yield self._walk
            self._walk = None

    def waits_since(self) -> int | None:
        """When the walk was that waits for its stack; ``None``: none does."""
        return None if self._walk is None else self._walk.time

    def flush_old(self, before: int) -> Iterator[WalkEvent]:
        """As :meth:`flush`, of one that is older than a time."""
        if self._walk is not None and self._walk.time < before:
            yield from self.flush()

    def _take_stack(self, event: bytes) -> None:
        walk, fields = self._walk, self.formats.stack.fields
        caller, size = fields.get("caller"), fields.get("size")
        if walk is None or caller is None or fields["common_pid"].integer(event) != walk.pid:
            return
        number = None if size is None else size.integer(event)
        words = (len(event) - caller.offset) // _WORD
        words = min(words if number is None else min(number, words), _MAX_FRAMES)
        at = range(caller.offset, caller.offset + words * _WORD, _WORD)
        walk.stack = [int.from_bytes(event[where : where + _WORD], "little") for where in at]

    def _take_path(self, form: EventFormat, event: bytes) -> bool:
        """Whether it is of the walk before it; if not, it is kept for the next."""
        pid, nd = (_number(form.fields.get(name), event) for name in ("common_pid", "nd"))
        path, walk = _text(form.fields.get("path"), event), self._walk
        if walk is None or (walk.pid, walk.nd) != (pid, nd) or walk.path_event:
            self._path = pid, nd, path
            return False
        if path is not None:
            walk.path, walk.path_cut = path, False
        walk.path_event = True
        return True

    def _read_walk(self, time: int, event: bytes) -> WalkEvent | None:
        fields = self.formats.walk.fields
        pid, nd, flags = (_number(fields.get(name), event) for name in ("common_pid", "nd", "flags"))
        root, start = (_number(fields.get(name), event) for name in ("root", "start"))
        if (
            pid is None
            or nd is None
            or flags is None
            or root is None
            or ("start" in fields and start is None)
        ):
            self.damaged += 1
            return None
        comm = _text(fields.get("comm"), event)
        path, cut, has_path = self._path_of(pid, nd, fields.get("head"), event)
        return WalkEvent(
            time, self.cpu, pid, comm or b"", path, cut, nd, start, root, flags, path_event=has_path
        )

    def _path_of(
        self, pid: int, nd: int, head: Field | None, event: bytes
    ) -> tuple[bytes | None, bool, bool]:
        """The path of the event before, or as much as the walk itself has; whether it goes on; whether that event was
        there."""
        path, self._path = self._path, (None, None, None)
        if path[:2] == (pid, nd) and path[2] is not None:
            return path[2], False, True
        raw = None if head is None else head.raw(event)
        return (None, False, False) if raw is None else (raw.split(b"\0", 1)[0], b"\0" not in raw, False)

    def _read_end(self, time: int, event: bytes, name: str, form: EventFormat) -> EndEvent | None:
        fields = form.fields
        pid, result = (_number(fields.get(name), event) for name in ("common_pid", "result"))
        if pid is None or result is None:
            self.damaged += 1
            return None
        nd, stack = (_number(fields.get(name), event) for name in ("nd", "stack"))
        return EndEvent(time, pid, name, result_of(result, name), nd, stack)


def _number(field_: Field | None, event: bytes) -> int | None:
    return None if field_ is None else field_.integer(event)


def _text(field_: Field | None, event: bytes) -> bytes | None:
    return None if field_ is None else field_.text(event)
