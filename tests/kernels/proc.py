"""What a snapshot from /proc and one from memory do not agree in: of what /proc tells, nothing may differ."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.model import FsStruct, Mount, PathRef, Snapshot, Task, TaskFlag, TaskKind

__all__ = ("differences", "of_proc")

_TICK_NS = 10_000_000
#: What of a task /proc tells in the words of a capture.
_OF_TASK = ("tgid", "ppid", "kind", "owner", "cgroup", "container", "pid_in_namespace")
#: Bits that come and go as a task works.
_PASSING = TaskFlag.MEMALLOC | TaskFlag.SUPERPRIV | TaskFlag.RANDOMIZE
_OF_MOUNT = (
    "id", "unique_id", "fstype", "source", "mountpoint", "dev", "root", "options", "shared", "master", "unbindable",
)  # fmt: skip


def _key(task: Task) -> tuple[int, int]:
    assert task.start_time is not None
    return task.pid, task.start_time // _TICK_NS


def of_proc(seen: Snapshot) -> dict[tuple[int, int], Task]:
    """Tasks by pid and start time in ticks, but those that read."""
    return {
        _key(task): task
        for task in seen.tasks
        if task.comm != "nullfs-explorer" and task.kind is not TaskKind.IDLE
    }


def differences(seen: Snapshot, captured: Snapshot) -> list[str]:
    """In words; of a kernel thread that works, what it is at work on may change between the two."""
    return [*_tasks(seen, captured), *_groups(seen, captured), *_mounts(seen, captured)]


def _tasks(seen: Snapshot, captured: Snapshot) -> Iterator[str]:
    both = of_proc(captured)
    for key, task in of_proc(seen).items():
        other = both.get(key)
        if other is None:
            if task.kind is not TaskKind.KWORKER:  # they come and go
                yield f"{task.pid} {task.comm} is in /proc alone"
            continue
        for name in _OF_TASK:
            mine, theirs = getattr(task, name), getattr(other, name)
            if mine is not None and mine != theirs:
                yield f"{task.pid} {task.comm}: {name} is {mine} in /proc, {theirs} in memory"
        if task.comm != other.comm:
            yield f"{task.pid}: {task.comm!r} in /proc, {other.comm!r} in memory"
        if ((task.flags or 0) ^ (other.flags or 0)) & ~_PASSING & TaskFlag.KTHREAD:
            yield f"{task.pid} {task.comm}: flags"
        yield from _place(task, other, seen, captured)


def _place(task: Task, other: Task, seen: Snapshot, captured: Snapshot) -> Iterator[str]:
    mine, theirs = seen.fs_by_address.get(task.fs or 0), captured.fs_of(other)
    namespaces = [
        None if space is None else space.inum
        for space in (
            seen.namespace_by_address.get(task.mnt_ns or 0), captured.namespace_by_address.get(other.mnt_ns or 0)
        )
    ]  # fmt: skip
    if namespaces[0] is not None and namespaces[0] != namespaces[1]:
        yield f"{task.pid} {task.comm}: namespace {namespaces}"
    if mine is None:
        return
    if theirs is None:
        yield f"{task.pid} {task.comm} has an fs_struct in /proc alone"
        return
    if mine.umask != theirs.umask:
        yield f"{task.pid} {task.comm}: umask {mine.umask}, {theirs.umask}"
    yield from _paths(f"{task.pid} {task.comm}", mine, theirs, seen, captured)


def _paths(who: str, mine: FsStruct, theirs: FsStruct, seen: Snapshot, captured: Snapshot) -> Iterator[str]:
    pairs: list[tuple[str, PathRef | None, PathRef | None]] = [
        ("root", mine.root, theirs.root), ("pwd", mine.pwd, theirs.pwd)
    ]  # fmt: skip
    for which, here, there in pairs:
        if here is None:
            continue
        if there is None:
            yield f"{who}: {which} is in /proc alone"
            continue
        for name in ("path", "fstype", "placement"):
            one, other = getattr(here, name), getattr(there, name)
            if one is not None and one != other:
                yield f"{who}: {which} {name} is {one!r} in /proc, {other!r} in memory"
        mount = captured.mount_by_address.get(there.mount)
        if mount is not None and here.mount != mount.id:
            yield f"{who}: {which} is on mount {here.mount} in /proc, {mount.id} in memory"


def _groups(seen: Snapshot, captured: Snapshot) -> Iterator[str]:
    """Who shares with whom: each group of /proc is one ``fs_struct``, and two of them are two."""
    both = of_proc(captured)
    owned: dict[int, set[int]] = {}
    for key, task in of_proc(seen).items():
        other = both.get(key)
        if task.fs is not None and other is not None and other.owned_fs is not None:
            owned.setdefault(task.fs, set()).add(other.owned_fs)
    yield from (
        f"group {group} is {len(found)} fs_structs in memory"
        for group, found in owned.items()
        if len(found) != 1
    )
    flat = [address for found in owned.values() for address in found]
    if len(flat) != len(set(flat)):
        yield "two groups of /proc are one fs_struct in memory"


def _mounts(seen: Snapshot, captured: Snapshot) -> Iterator[str]:
    known: dict[int | None, Mount] = {mount.id: mount for mount in captured.mounts}
    for mount in seen.mounts:
        other = known.get(mount.id)
        if other is None:
            yield f"mount {mount.id} ({mount.fstype} on {mount.mountpoint}) is in /proc alone"
            continue
        for name in _OF_MOUNT:
            mine, theirs = getattr(mount, name), getattr(other, name)
            if mine is not None and mine != theirs:
                yield f"mount {mount.id}: {name} is {mine!r} in /proc, {theirs!r} in memory"
