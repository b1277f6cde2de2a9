"""What a timeline asks of a frame, most of which is as the frame before it was: only what differs is looked at again.

Two frames of a recording share the records that did not change (``Recording.still_frames``): a record that is the same
object is not compared. Of other frames every record is looked at, and the answers are the same. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from explorer.analysis.worlds import WorldKey, find_worlds, world_of_root
from explorer.model import Frame, Snapshot, Task, other_places

from .phases import may_unpack

__all__ = ("Seen", "see")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that could be read."""

    frame: Frame
    snapshot: Snapshot
    busy_at: list[int]
    """Places of the tasks that borrow, walk a path, or may be unpacking the initramfs."""
    worlds: dict[WorldKey, int]
    """How many tasks each has."""

    @property
    def busy(self) -> list[Task]:
        """These tasks, in order."""
        return [self.snapshot.tasks[at] for at in self.busy_at]


def see(frame: Frame, snapshot: Snapshot, before: Seen | None) -> Seen:
    """:param before: the frame before it, if that could be read and is of the same boot"""
    if before is None:
        busy_at = [at for at, task in enumerate(snapshot.tasks) if _is_busy(task)]
        return Seen(frame, snapshot, busy_at, _worlds(snapshot))
    others = _others(before.snapshot.tasks, snapshot.tasks)
    moved = _others(before.snapshot.fs_structs, snapshot.fs_structs)
    if moved == []:
        snapshot.share_fs_by_address(before.snapshot)
    alike = others is not None and moved is not None and _live_alike(before.snapshot, snapshot, others, moved)
    busy_at = _busy_at(snapshot.tasks, before, others)
    return Seen(frame, snapshot, busy_at, before.worlds if alike else _worlds(snapshot))


def _busy_at(tasks: Sequence[Task], before: Seen, others: list[int] | None) -> list[int]:
    """:param others: places at which there is another task than before; ``None`` where tasks have come or gone"""
    if others is not None:
        still = set(before.busy_at).difference(others)
        return sorted(still.union(at for at in others if _is_busy(tasks[at])))
    known, busy = set(map(id, before.snapshot.tasks)), set(map(id, before.busy))
    return [
        at for at, task in enumerate(tasks) if (id(task) in busy if id(task) in known else _is_busy(task))
    ]


def _is_busy(task: Task) -> bool:
    return bool(task.borrowing) or task.walk is not None or may_unpack(task)


def _others(before: Sequence[_T], after: Sequence[_T]) -> list[int] | None:
    """The places at which two lists have not the same object; ``None`` if they are not as long as each other."""
    if len(before) != len(after):
        return None
    return other_places(before, after)


def _worlds(snapshot: Snapshot) -> dict[WorldKey, int]:
    return {key: len(world.tasks) for key, world in find_worlds(snapshot).worlds.items()}


def _live_alike(before: Snapshot, after: Snapshot, others: Sequence[int], moved: Sequence[int]) -> bool:
    """Whether all that :func:`~explorer.analysis.worlds.find_worlds` goes by is the same.

    :param others: places at which there is another task; ``moved``: another fs_struct
    """
    a, b = before.kernel, after.kernel
    if (a.generation, a.init_fs, a.userspace_init_fs) != (b.generation, b.init_fs, b.userspace_init_fs):
        return False
    for at in others:
        old, new = before.tasks[at], after.tasks[at]
        if (old.owner, old.real_fs, old.fs) != (new.owner, new.real_fs, new.fs):
            return False
    pairs = [(before.fs_structs[at], after.fs_structs[at]) for at in moved]
    return all(old.address == new.address and world_of_root(old) is world_of_root(new) for old, new in pairs)
