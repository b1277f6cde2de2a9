"""Kinds of tasks in the plural, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from explorer.model import TaskKind

__all__ = ("count_kinds", "counted_kind", "kind_plural")

_WORDS = {
    TaskKind.INIT: ("thread of PID 1", "threads of PID 1"),
    TaskKind.USER: ("user task", "user tasks"),
    TaskKind.KTHREAD: ("kthread", "kthreads"),
    TaskKind.KWORKER: ("kworker", "kworkers"),
    TaskKind.RESCUER: ("rescuer", "rescuers"),
    TaskKind.IDLE: ("idle", "idle"),
    TaskKind.IO_WORKER: ("io worker", "io workers"),
    TaskKind.USERMODEHELPER: ("usermodehelper", "usermodehelpers"),
}


def kind_plural(kind: TaskKind | None) -> str:
    """``user tasks``; ``not known`` where a kind could not be read."""
    return "not known" if kind is None else _WORDS[kind][1]


def counted_kind(kind: TaskKind | None, number: int) -> str:
    """``1 rescuer``, ``21 kthreads``."""
    return f"{number} of unknown kind" if kind is None else f"{number} {_WORDS[kind][number != 1]}"


def count_kinds(kinds: Iterable[TaskKind | None]) -> str:
    """``23 rescuers, 21 kthreads``: most first."""
    return ", ".join(counted_kind(kind, number) for kind, number in Counter(kinds).most_common())
