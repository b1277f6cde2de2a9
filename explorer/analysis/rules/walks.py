"""Rules about path walks in progress: those that cannot succeed, and those that do not end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.analysis.covering import Covers
from explorer.analysis.isolation import is_kernel_thread
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import (
    STUCK_S,
    Mount,
    Placement,
    Severity,
    Snapshot,
    Task,
    TaskFlag,
    TaskKind,
    Walk,
    mount_name,
    task_name,
    task_reference,
)
from explorer.naming import count, name_tasks, place, seconds

__all__ = ("RULES",)

_ERRNO = {Placement.NULLFS: "ENOENT", Placement.FAILFS: "EOPNOTSUPP"}


def _where(task: Task, walk: Walk, snapshot: Snapshot) -> Placement | None:
    """Where the walk begins: at its root if it has one yet (absolute paths), else where it is.

    Before its first step it has neither: an absolute path will begin at the root of the ``fs_struct`` in use.
    """
    start = walk.root or walk.start
    if start is None and walk.path is not None and walk.path.startswith("/"):
        used = snapshot.kernel.userspace_init_fs if walk.in_init else task.fs
        fs = snapshot.fs_by_address.get(used or 0)
        start = None if fs is None else fs.root
    return None if start is None else start.placement


def _find_walks(context: AuditContext) -> Iterator[Case]:
    for task in context.snapshot.tasks:
        if task.walk is None:
            continue
        placement = _where(task, task.walk, context.snapshot)
        errno = None if placement is None else _ERRNO.get(placement)
        if errno is None or placement is None:
            continue
        path = "a path" if task.walk.path is None else task.walk.path
        title = f"{task_name(task)} looks up {path} in {placement.value} and will get {errno}{_code(task)}"
        evidence = [task_reference(task)]
        if task.borrowing:
            yield Case(
                title,
                evidence,
                explanation="It borrows userspace_init_fs as it should, but PID 1 has abandoned that to nullfs.",
                advice="See NX-PID1-ABANDONED.",
            )
        elif is_kernel_thread(task):
            yield Case(title, evidence)
        else:
            yield Case(
                title,
                evidence,
                Severity.LOW if placement is Placement.FAILFS else Severity.MEDIUM,
                "A user task whose root is there finds nothing by an absolute path. In failfs it asked for that with "
                "fchroot(); in nullfs it was moved by PID 1's unshare(), or walked there.",
                "Open files relative to a descriptor, or give the task a root: chroot() through a descriptor that it "
                "still holds.",
            )


def _code(task: Task) -> str:
    kthread = task.kthread
    if kthread is None:
        return ""
    function = kthread.current_func or kthread.threadfn
    return "" if function is None else f", in {function}"


@dataclass(frozen=True)
class _Hanging:
    """A task that sleeps in a walk."""

    task: Task
    walk: Walk
    waiting_s: float
    into: Mount | None
    """The mount that it is about to enter."""


def _hanging(snapshot: Snapshot) -> list[list[_Hanging]]:
    """Who hangs, by the filesystem that does not answer and by whether it is grave, who has waited longest first.

    All who want something of it wait for the same thing: its server, or the first of them, that has a directory locked.
    One that has waited for so long that no disk explains it is enough: NFS wakes others each time that it tries again.
    """
    covers: Covers | None = None
    groups: dict[tuple[int, bool], list[_Hanging]] = {}
    for task in snapshot.tasks:
        walk, waiting_s = task.walk, task.waiting_s
        if walk is None or waiting_s is None or not _waits_for_a_server(task, walk):
            continue
        covers = covers or Covers(snapshot)
        hanging = _Hanging(task, walk, waiting_s, _next_mount(walk, covers))
        groups.setdefault((_silent(hanging, snapshot), _is_grave(task)), []).append(hanging)
    ordered = [sorted(group, key=lambda hanging: -hanging.waiting_s) for group in groups.values()]
    return [group for group in ordered if group[0].waiting_s >= STUCK_S]


def _silent(hanging: _Hanging, snapshot: Snapshot) -> int:
    """The superblock of what does not answer. Where that is not known: its mount, or the task, which is alone then."""
    at = hanging.walk.start
    mount = hanging.into or snapshot.mount_by_address.get(0 if at is None else at.mount)
    if mount is not None:
        return mount.superblock or mount.address
    return hanging.task.address if at is None else at.mount


def _waits_for_a_server(task: Task, walk: Walk) -> bool:
    """In D state; in S only on a FUSE, which is waited for like that, and short of the path's end: an open of a FIFO or
    a terminal is a walk, too, and may well wait for ever."""
    at = walk.start
    if task.state == "D":
        return True
    if task.state != "S" or at is None or at.path is None or walk.path is None:
        return False
    at_its_end = _last_name(at.path) == _last_name(walk.path)
    return (at.fstype or "").split(".")[0] in _FUSE and not at_its_end


def _last_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _cannot_tell_hanging(context: AuditContext) -> str | None:
    silent = [
        task
        for task in context.snapshot.tasks
        if task.walk is not None and task.state == "D" and task.waiting_s is None
    ]
    return f"how long {name_tasks(silent)} waited is not known" if silent else None


def _next_mount(walk: Walk, covers: Covers) -> Mount | None:
    """What is mounted on the next name of an absolute path: an automount is waited for before it is entered."""
    at = walk.start
    if at is None or at.path is None or walk.path is None:
        return None
    below = at.path.rstrip("/") + "/"
    name = walk.path.removeprefix(below).lstrip("/").split("/", 1)[0]
    return covers.on(at.mount, below + name) if name and walk.path.startswith(below) else None


def _find_hanging(context: AuditContext) -> Iterator[Case]:
    """One for each filesystem, and one more for what is grave. Where all are borrowers, their own rule says it."""
    for group in _hanging(context.snapshot):
        if all(hanging.task.borrowing for hanging in group):
            continue
        first, *others = group
        yield Case(
            _hangs(first, context.snapshot) + _behind([hanging.task for hanging in others]),
            [task_reference(hanging.task) for hanging in group],
            Severity.HIGH if _is_grave(first.task) else None,
        )


def _hangs(first: _Hanging, snapshot: Snapshot) -> str:
    task, walk = first.task, first.walk
    path = "a path" if walk.path is None else walk.path
    at = "" if walk.start is None else f", at {place(walk.start, snapshot)}"
    if first.into is not None:
        at += f", on the way into {mount_name(first.into)}"
    how_long = f"for {seconds(first.waiting_s)}, in {task.state} state"
    return f"{task_name(task)} has looked up {path} {how_long}{at}{_code(task)}"


def _behind(others: list[Task]) -> str:
    if not others:
        return ""
    waits = "waits" if len(others) == 1 else "wait"
    return f"; {count(len(others), 'other task')} {waits} for the same filesystem: {name_tasks(others)}"


def _is_grave(task: Task) -> bool:
    """What the kernel started, or everything waits for."""
    return (
        task.kind in (TaskKind.INIT, TaskKind.USERMODEHELPER)
        or is_kernel_thread(task)
        or task.has_flag(TaskFlag.DUMPCORE)
    )


_FUSE = ("fuse", "fuseblk", "virtiofs")


RULES = (
    Rule(
        id="NX-WALK-NOWHERE",
        severity=Severity.HIGH,
        title="A path walk in nullfs or failfs: it will fail",
        explanation="A kernel thread looks a path up without borrowing userspace_init_fs. Before 7.3 that worked; on "
        "this kernel it ends with ENOENT, each time. The code it runs has not been converted.",
        advice="Wrap the lookup in scoped_with_init_fs(), or hand the thread an opened file. Until the module is "
        "fixed, run the last kernel before 7.3.",
        find=_find_walks,
    ),
    Rule(
        id="NX-WALK-HANGS",
        severity=Severity.MEDIUM,
        title="A path walk has not got on for 10 s or more; high for kernel threads, PID 1, helpers and core dumps",
        explanation="What answers for that place does not answer: an automounter, a FUSE or network server, a disk. "
        "Who wants anything else of that filesystem is likely to wait as long: those that do are told with the one "
        "that has waited longest.",
        advice="Look at the filesystem it has got to: its daemon, its server, its disk. Ending the server, umount -f, "
        "or abort in /sys/fs/fuse/connections releases the lookup; SIGKILL does where the wait can be killed.",
        find=_find_hanging,
        cannot_tell=_cannot_tell_hanging,
    ),
)
