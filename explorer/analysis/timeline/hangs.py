"""Who begins and who ceases to hang in a path walk, as NX-WALK-HANGS judges it; borrowers too. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from explorer.analysis.completeness import lost_tasks
from explorer.analysis.rules import HangingTask, find_hanging, hanging_words, others_words
from explorer.model import KernelText, Snapshot, Task
from explorer.naming import name_tasks, seconds

__all__ = ("HangChange", "Hangs")

_Key = tuple[int, int | None]


class HangChange(NamedTuple):
    """One that begins, or one that ends."""

    begins: bool
    text: KernelText
    task: Task
    """Who has waited longest."""


class Hangs:
    """Follows them from frame to frame of one boot."""

    def __init__(self) -> None:
        self._hanging: dict[_Key, HangingTask] = {}

    def changes(self, snapshot: Snapshot, among: Iterable[Task]) -> Iterator[HangChange]:
        """What the next frame shows. One for all that begin to wait for the same filesystem, one for all that end.

        :param among: all tasks that are in a walk, and perhaps others
        """
        groups = find_hanging(snapshot, among)
        now = {_key(hanging.task): hanging for group in groups for hanging in group}
        ended = [key for key in self._hanging if key not in now and _is_known(key, snapshot)]
        if ended:
            yield _end([self._hanging.pop(key) for key in ended], snapshot)
        for group in groups:
            new = [hanging for hanging in group if _key(hanging.task) not in self._hanging]
            if new:
                words = hanging_words(new[0], snapshot) + others_words([other.task for other in new[1:]])
                yield HangChange(True, words, new[0].task)
        self._hanging |= now


def _key(task: Task) -> _Key:
    return task.address, task.start_time


def _is_known(key: _Key, snapshot: Snapshot) -> bool:
    """Whether the frame tells what that task does: what it does not show has not ended."""
    task = snapshot.task_by_address.get(key[0])
    if task is None:
        return lost_tasks(snapshot) is None
    return task.state is not None and (task.walk is None or task.waiting_s is not None)


def _end(ended: list[HangingTask], snapshot: Snapshot) -> HangChange:
    longest = max(ended, key=lambda hanging: hanging.waiting_s)
    there = {_key(task) for task in snapshot.tasks}
    gone = [hanging.task for hanging in ended if _key(hanging.task) not in there]
    verb = "hangs" if len(ended) == 1 else "hang"
    path = "" if len(ended) > 1 or longest.walk.path is None else f" in the lookup of {longest.walk.path}"
    text = f"{name_tasks([hanging.task for hanging in ended])} no longer {verb}{path}"
    text += f", after at least {seconds(longest.waiting_s)}"
    text += "" if not gone else f"; gone: {name_tasks(gone)}"
    return HangChange(False, text, longest.task)
