"""Events become lookups: each walk finds its end, and a walk that the kernel began again is the same lookup.

A task may be inside several lookups at once (an automount or a filesystem's own lookup in the midst of one), and each
has its own ``struct nameidata`` on the task's stack: its address tells them apart. ``path_openat()`` may hand on to
``path_lookupat()`` (O_PATH, O_TMPFILE): then a second end comes for a lookup that has ended, and is nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

from .decode import EndEvent, WalkEvent

__all__ = ("JoinedLookup", "Joiner")

#: After these the kernel begins again, at once: first without RCU, then with LOOKUP_REVAL (``filename_lookup()``).
_AGAIN = (-errno.ECHILD, -errno.ESTALE)
#: Open lookups of all tasks; more than that is a flood of ends that were lost.
_MAX_OPEN = 65_536
#: ``path_openat()`` may hand on to ``path_lookupat()``.
_INNER, _OUTER = "look", "open"
#: Of one task: a kernel stack has no room for more.
_MAX_NESTED = 32
#: Within this, the same ``nd`` is the same call of a function, and not another that has the same place on the stack.
_STACK_REACH = 1 << 14


@dataclass(slots=True)
class JoinedLookup:
    """A lookup, from its first walk to its last end."""

    walk: WalkEvent
    tries: int = 1
    result: int | None = None
    ended: int | None = None


@dataclass(slots=True)
class Joiner:
    """Events of all CPUs, in the order of their times."""

    orphans: int = 0
    """Ends of which the walk was lost."""
    _open: dict[int, list[JoinedLookup]] = field(default_factory=dict, init=False)
    """By pid, the innermost last."""
    _last: dict[int, int] = field(default_factory=dict, init=False)
    """By pid, the ``nd`` of the lookup that ``path_lookupat()`` ended last, until another begins."""
    _count: int = field(default=0, init=False)

    def walk(self, event: WalkEvent) -> Iterator[JoinedLookup]:
        """A walk begins. Comes out: what is known now to have ended."""
        stack = self._open.setdefault(event.pid, [])
        self._last.pop(event.pid, None)
        for at in reversed(range(len(stack))):
            lookup = stack[at]
            if lookup.walk.nd == event.nd:
                # Where the end is that of a caller, the tries before the last have none.
                if lookup.result in (*_AGAIN, None) and lookup.walk.path == event.path:
                    # What the last try had is what counts; a stack that was lost once may be there of another.
                    event.stack = event.stack or lookup.walk.stack
                    event.time, lookup.walk = lookup.walk.time, event
                    lookup.tries, lookup.result, lookup.ended = lookup.tries + 1, None, None
                    yield from self._close(event.pid, stack, at + 1)
                    return
                yield from self._close(event.pid, stack, at)
                break
        while stack and stack[-1].result is not None:  # it was not begun again
            yield from self._close(event.pid, stack, len(stack) - 1)
        stack.append(JoinedLookup(event))
        self._open[event.pid] = stack
        self._count += 1
        if len(stack) > _MAX_NESTED:
            self._count -= 1
            yield stack.pop(0)  # its end was lost
        if self._count > _MAX_OPEN:
            yield from self.flush(None)

    def end(self, event: EndEvent) -> Iterator[JoinedLookup]:
        """A walk has ended."""
        stack = self._open.get(event.pid, [])
        at = self._of_end(stack, event)
        if at is None:
            if not self._is_second(event):
                self.orphans += 1
            return
        yield from self._close(event.pid, stack, at + 1)  # their ends were lost
        lookup = stack[at]
        if event.name == _INNER:
            if len(self._last) >= _MAX_OPEN:
                self._last.clear()
            self._last[event.pid] = lookup.walk.nd
        lookup.result, lookup.ended = event.result, event.time
        if event.result not in _AGAIN:
            yield from self._close(event.pid, stack, at)

    def flush(self, before: int | None) -> Iterator[JoinedLookup]:
        """What has ended before a time and was not begun again by now; with ``None`` all, also what has not ended."""
        for pid, stack in list(self._open.items()):
            over: list[JoinedLookup] = []
            keep: list[JoinedLookup] = []
            for lookup in stack:
                waits = before is not None and (lookup.ended is None or lookup.ended >= before)
                (keep if waits else over).append(lookup)
            yield from over
            self._count -= len(over)
            if keep:
                self._open[pid] = keep
            else:
                del self._open[pid]

    def _of_end(self, stack: list[JoinedLookup], event: EndEvent) -> int | None:
        """Which of a task's open lookups an end belongs to."""
        waiting = [at for at, lookup in enumerate(stack) if lookup.result is None]
        if event.nd is not None:
            return next((at for at in reversed(waiting) if stack[at].walk.nd == event.nd), None)
        if event.stack is None:
            return waiting[-1] if waiting else None
        above = [at for at in waiting if 0 <= stack[at].walk.nd - event.stack < _STACK_REACH]
        nearest = min(above, key=lambda at: stack[at].walk.nd, default=None)
        last = self._last.get(event.pid)
        if (
            event.name == _OUTER
            and nearest is not None
            and last is not None
            and event.stack <= last < stack[nearest].walk.nd
        ):
            return None  # of the one that has just ended
        return nearest

    def _is_second(self, event: EndEvent) -> bool:
        """Whether it is ``path_openat()``, of what it handed on to ``path_lookupat()``."""
        last = self._last.get(event.pid)
        if last is None or event.name != _OUTER:
            return False
        if event.nd is not None:
            return event.nd == last
        return event.stack is not None and 0 <= last - event.stack < _STACK_REACH

    def _close(self, pid: int, stack: list[JoinedLookup], start: int) -> Iterator[JoinedLookup]:
        """All from a place in the stack on are over, the innermost first."""
        while len(stack) > start:
            lookup = stack.pop()
            self._count -= 1
            yield lookup
        if not stack:
            self._open.pop(pid, None)
