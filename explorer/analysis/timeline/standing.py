"""What a timeline asks of a frame, most of which is as the frame before it was: only what differs is looked at again.

Two frames of a recording share the records that did not change (``Recording.still_frames``): a record that is the same
object is not compared. Of other frames every record is looked at, and the answers are the same. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import is_not
from typing import TypeVar

from explorer.analysis.worlds import WorldKey, find_worlds, world_of_root
from explorer.model import Frame, Snapshot, Task

from .phases import may_unpack

__all__ = ("Seen", "see")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that could be read."""

    frame: Frame
    snapshot: Snapshot
    busy: dict[int, Task]
    """By place among all tasks, in order, those that borrow, walk a path, or may be unpacking the initramfs."""
    worlds: dict[WorldKey, int]
    """How many tasks each has."""


def see(frame: Frame, snapshot: Snapshot, before: Seen | None) -> Seen:
    """:param before: the frame before it, if that could be read and is of the same boot"""
    if before is not None:
        others = _others(before.snapshot.tasks, snapshot.tasks)
        if others is not None:
            busy = {at: task for at, task in before.busy.items() if task is snapshot.tasks[at]}
            busy |= _busy(snapshot.tasks, others)
            worlds = before.worlds if _live_alike(before.snapshot, snapshot, others) else _worlds(snapshot)
            return Seen(frame, snapshot, dict(sorted(busy.items())), worlds)
    return Seen(frame, snapshot, _busy(snapshot.tasks, range(len(snapshot.tasks))), _worlds(snapshot))


def _others(before: Sequence[_T], after: Sequence[_T]) -> list[int] | None:
    """The places at which two lists have not the same object; ``None`` if they are not as long as each other."""
    if len(before) != len(after):
        return None
    return list(compress(range(len(before)), map(is_not, before, after)))


def _busy(tasks: Sequence[Task], places: Sequence[int]) -> dict[int, Task]:
    return {
        at: task
        for at in places
        if (task := tasks[at]).borrowing or task.walk is not None or may_unpack(task)
    }


def _worlds(snapshot: Snapshot) -> dict[WorldKey, int]:
    return {key: len(world.tasks) for key, world in find_worlds(snapshot).worlds.items()}


def _live_alike(before: Snapshot, after: Snapshot, others: Sequence[int]) -> bool:
    """Whether all that :func:`~explorer.analysis.worlds.find_worlds` goes by is the same."""
    a, b = before.kernel, after.kernel
    if (a.generation, a.init_fs, a.userspace_init_fs) != (b.generation, b.init_fs, b.userspace_init_fs):
        return False
    for at in others:
        old, new = before.tasks[at], after.tasks[at]
        if (old.owner, old.real_fs, old.fs) != (new.owner, new.real_fs, new.fs):
            return False
    moved = _others(before.fs_structs, after.fs_structs)
    if moved is None:
        return False
    pairs = [(before.fs_structs[at], after.fs_structs[at]) for at in moved]
    return all(old.address == new.address and world_of_root(old) is world_of_root(new) for old, new in pairs)
