"""Which tasks hang in a path walk, and in what: path walks (fs/namei.c) that wait for a server, a daemon or a disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.analysis.isolation import is_kernel_thread
from explorer.analysis.mounts import Covers
from explorer.model import (
    STUCK_S,
    Mount,
    Snapshot,
    Task,
    TaskFlag,
    TaskKind,
    Walk,
    mount_name,
    task_name,
)
from explorer.naming import count, name_tasks, place, seconds

__all__ = ("HangingTask", "code_words", "find_hanging", "hanging_words", "is_grave", "others_words")

_FUSE = ("fuse", "fuseblk", "virtiofs")


@dataclass(frozen=True)
class HangingTask:
    """A task that sleeps in a walk."""

    task: Task
    walk: Walk
    waiting_s: float
    into: Mount | None
    """The mount that it is about to enter."""


def find_hanging(snapshot: Snapshot, among: Iterable[Task] | None = None) -> list[list[HangingTask]]:
    """Who hangs, by the filesystem that does not answer and by whether it is grave, who has waited longest first.

    All who want something of it wait for the same thing: its server, or the first of them, that has a directory locked.
    One that has waited for so long that no disk explains it is enough: NFS wakes others each time that it tries again.

    :param among: all tasks that are in a walk, and perhaps others
    """
    covers: Covers | None = None
    groups: dict[tuple[int, bool], list[HangingTask]] = {}
    for task in snapshot.tasks if among is None else among:
        walk, waiting_s = task.walk, task.waiting_s
        if walk is None or waiting_s is None or not _waits_for_a_server(task, walk):
            continue
        covers = covers or Covers(snapshot)
        hanging = HangingTask(task, walk, waiting_s, _next_mount(walk, covers))
        groups.setdefault((_silent(hanging, snapshot), is_grave(task)), []).append(hanging)
    ordered = [sorted(group, key=lambda hanging: -hanging.waiting_s) for group in groups.values()]
    return [group for group in ordered if group[0].waiting_s >= STUCK_S]


def _silent(hanging: HangingTask, snapshot: Snapshot) -> int:
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


def _next_mount(walk: Walk, covers: Covers) -> Mount | None:
    """What is mounted on the next name of an absolute path: an automount is waited for before it is entered."""
    at = walk.start
    if at is None or at.path is None or walk.path is None:
        return None
    below = at.path.rstrip("/") + "/"
    name = walk.path.removeprefix(below).lstrip("/").split("/", 1)[0]
    return covers.on(at.mount, below + name) if name and walk.path.startswith(below) else None


def hanging_words(first: HangingTask, snapshot: Snapshot) -> str:
    """``cat (99) has looked up /mnt/file for 12 s, in D state, at fuse#82:/``."""
    task, walk = first.task, first.walk
    path = "a path" if walk.path is None else walk.path
    at = "" if walk.start is None else f", at {place(walk.start, snapshot)}"
    if first.into is not None:
        at += f", on the way into {mount_name(first.into)}"
    how_long = f"for {seconds(first.waiting_s)}, in {task.state} state"
    return f"{task_name(task)} has looked up {path} {how_long}{at}{code_words(task)}"


def others_words(others: list[Task]) -> str:
    """Who waits behind the first one, as the rest of a sentence."""
    if not others:
        return ""
    waits = "waits" if len(others) == 1 else "wait"
    return f"; {count(len(others), 'other task')} {waits} for the same filesystem: {name_tasks(others)}"


def code_words(task: Task) -> str:
    """Of a kernel thread, what it runs, as the rest of a sentence."""
    kthread = task.kthread
    if kthread is None:
        return ""
    function = kthread.current_func or kthread.threadfn
    return "" if function is None else f", in {function}"


def is_grave(task: Task) -> bool:
    """What the kernel started, or everything waits for."""
    return (
        task.kind in (TaskKind.INIT, TaskKind.USERMODEHELPER)
        or is_kernel_thread(task)
        or task.has_flag(TaskFlag.DUMPCORE)
    )
