"""How findings and verdicts name things in a sentence. Kernel text stays unescaped: the output escapes it."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.model import Mount, PathRef, Snapshot, Task

__all__ = (
    "MOST_NAMES",
    "count",
    "join_names",
    "known",
    "name_mount",
    "name_task",
    "name_tasks",
    "place",
    "seconds",
)

#: Names in a title before "and N more".
MOST_NAMES = 3


def name_task(task: Task) -> str:
    """``kworker/0:1 (29)``."""
    return f"{task.name} ({task.pid})"


def name_tasks(tasks: Sequence[Task]) -> str:
    """``a (1), b (2) and c (3)``; of more than that, the first three ``and N more``."""
    names = [name_task(task) for task in tasks[:MOST_NAMES]]
    more = len(tasks) - len(names)
    return join_names([*names, f"{more} more"] if more > 0 else names)


def join_names(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``: of one or more."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place(path: PathRef, snapshot: Snapshot) -> str:
    """``rootfs#2:/jail``: filesystem and mount id, then the path; the text alone is ``/`` for nearly everyone."""
    text = path.path or "?"
    if path.fstype is not None and text.startswith(f"{path.fstype}:"):
        return text  # a filesystem that names itself
    mount = snapshot.mount_by_address.get(path.mount)
    return f"{path.fstype or '?'}:{text}" if mount is None else f"{name_mount(mount)}:{text}"


def name_mount(mount: Mount) -> str:
    """``tmpfs#35``."""
    return f"{mount.fstype or '?'}#{known(mount.id)}"


def known(value: object) -> str:
    """A value as text; ``?`` for one that could not be read."""
    return "?" if value is None else str(value)


def seconds(value: float) -> str:
    """A duration: ``0.3 s``, ``42 s``, ``5 min``, ``3 h``."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h"
