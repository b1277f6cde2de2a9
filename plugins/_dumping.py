"""Tasks that dump core, told apart by where to: for the plugins on core dumps and on core sockets.

``core_pattern`` and ``suid_dumpable`` are read once, when a dump begins: what they say now is no account of a dump in
flight. Its stack is one, or its walk: ``unix_find_bsd()`` alone forbids every symbolic link (``LOOKUP_NO_SYMLINKS``),
and a file is opened to be made. Where neither is there, nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from explorer.plugin import (
    STUCK_S,
    Finding,
    KernelSetting,
    Plugin,
    PluginKernel,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskFlag,
    borrower,
    frame_in,
    task_name,
    task_reference,
)

__all__ = ("Destination", "core_pattern", "destination", "dumping_findings", "is_dumping", "knows_sockets")

Destination = Literal["file", "socket", "unknown"]

_SOCKET_FUNCTIONS = ("unix_find_bsd", "unix_find_other")
#: ``coredump_file()`` is inlined on some kernels; what it calls is not, and no socket is opened.
_FILE_FUNCTIONS = ("coredump_file", "filp_open", "file_open_root", "path_openat", "filename_unlinkat")
#: include/linux/namei.h of every kernel that knows core sockets (6.16 on).
_LOOKUP_NO_SYMLINKS = 1 << 24


def core_pattern(snapshot: Snapshot) -> KernelSetting | None:
    """The setting; ``None`` where the kernel has none or it was not read."""
    found = next((setting for setting in snapshot.settings if setting.name == "core_pattern"), None)
    return found if found is not None and found.value is not None else None


def knows_sockets(kernel: PluginKernel) -> bool:
    """Whether this kernel can send core dumps to a socket (6.16 on)."""
    try:
        kernel.prog.constant("COREDUMP_SOCK")
    except LookupError:
        return False
    return True


def is_dumping(task: Task) -> bool:
    """The task writes its process's dump now: ``PF_DUMPCORE``, and not yet past it."""
    return task.has_flag(TaskFlag.DUMPCORE) and not task.has_flag(TaskFlag.POSTCOREDUMP)


def destination(task: Task, sockets: bool) -> Destination:
    """Where a dump goes, by its stack or else by the walk it is in. Never by what ``core_pattern`` says by now.

    :param sockets: this kernel can send core dumps to a socket; where it cannot, a walk is a file's
    """
    if frame_in(task, _SOCKET_FUNCTIONS):
        return "socket"
    if frame_in(task, _FILE_FUNCTIONS):
        return "file"
    if task.walk is None:
        return "unknown"
    if not sockets:
        return "file"
    if task.walk.flags is None:
        return "unknown"  # a snapshot of an earlier version
    return "socket" if task.walk.flags & _LOOKUP_NO_SYMLINKS else "file"


def dumping_findings(
    plugin: Plugin, snapshot: Snapshot, tasks: list[Task], function: str, means: str
) -> Iterator[Finding]:
    """``BORROWER`` for those that look a path up in init's filesystem, ``STUCK`` for those that wait, and do not go on.

    ``function``: the kernel function of the look-up. ``means``: what it is for, one sentence.
    """
    for task in tasks:
        if task.borrowing:
            yield borrower(plugin, task, function, means)
        if task.state == "D" and task.waiting_s is not None and task.waiting_s >= STUCK_S:
            yield _stuck(plugin, snapshot, task)


def _stuck(plugin: Plugin, snapshot: Snapshot, task: Task) -> Finding:
    """Not all that waits walks a path: a file's old version is removed first, and that has none."""
    path = task.walk.path if task.walk is not None else None
    setting = core_pattern(snapshot)
    where = f"at {path}"
    if not path:
        now = f" (core_pattern is {setting.value} now)" if setting is not None else ""
        where = f"to what cannot be told without its stack{now},"
    return plugin.finding(
        "STUCK",
        Severity.MEDIUM,
        f"{task_name(task)} dumps core {where} and has waited for {task.waiting_s:.0f} s",
        [task_reference(task), Reference(kind="setting", address=None, label="core_pattern")],
        means="What the dump goes to does not answer, so the process cannot end: it keeps its memory, and whoever "
        "waits for it waits on.",
        do=(
            "Make the filesystem below that path answer, or abort it"
            if path
            else "Look at the task's kernel stack"
        )
        + "; change core_pattern for the next one: this one does not read it again.",
    )
