"""Tasks that dump core, told apart by where to: for the plugins on core dumps and on core sockets."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Finding,
    KernelSetting,
    Plugin,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskFlag,
    borrower,
    task_name,
    task_reference,
)

__all__ = ("core_pattern", "dumping_findings", "dumps_to_socket", "is_dumping")

_SOCKET_FUNCTIONS = ("unix_find_bsd", "unix_find_other")
#: Slow disks take that long.
_STUCK_S = 10.0


def core_pattern(snapshot: Snapshot) -> KernelSetting | None:
    """The setting; ``None`` where the kernel has none or it was not read."""
    found = next((setting for setting in snapshot.settings if setting.name == "core_pattern"), None)
    return found if found is not None and found.value is not None else None


def is_dumping(task: Task) -> bool:
    """The task writes its process's dump now: ``PF_DUMPCORE``, and not yet past it."""
    return task.has_flag(TaskFlag.DUMPCORE) and not task.has_flag(TaskFlag.POSTCOREDUMP)


def dumps_to_socket(snapshot: Snapshot, task: Task) -> bool:
    """Whether it looks the socket up: its stack says so; without a stack, it walks the socket's path."""
    if task.stack:
        return any(frame.function in _SOCKET_FUNCTIONS for frame in task.stack)
    setting = core_pattern(snapshot)
    is_socket = setting is not None and (setting.value or "").startswith("@") and setting.path is not None
    return bool(
        is_socket and setting is not None and task.walk is not None and task.walk.path == setting.path
    )


def dumping_findings(
    plugin: Plugin, snapshot: Snapshot, tasks: list[Task], function: str, means: str
) -> Iterator[Finding]:
    """``BORROWER`` for those that look a path up in init's filesystem, ``STUCK`` for those that wait, and do not go on.

    ``function``: the kernel function of the look-up. ``means``: what it is for, one sentence.
    """
    for task in tasks:
        if task.borrowing:
            yield borrower(plugin, task, function, means)
        if task.state == "D" and task.waiting_s is not None and task.waiting_s >= _STUCK_S:
            yield _stuck(plugin, snapshot, task)


def _stuck(plugin: Plugin, snapshot: Snapshot, task: Task) -> Finding:
    """Not all that waits walks a path: a file's old version is removed first, and that has none."""
    path = task.walk.path if task.walk is not None else None
    setting = core_pattern(snapshot)
    where = f"at {path}" if path else f"with core_pattern {setting.value}" if setting is not None else ""
    return plugin.finding(
        "STUCK",
        Severity.MEDIUM,
        f"{task_name(task)} dumps core {where} and has waited for {task.waiting_s:.0f} s",
        [task_reference(task), Reference(kind="setting", address=None, label="core_pattern")],
        means="What the dump goes to does not answer, so the process cannot end: it keeps its memory, and whoever "
        "waits for it waits on.",
        do="Make the filesystem below that path answer, or abort it; change core_pattern for the next one.",
    )
