"""Does the isolation of kernel threads hold? The facts that the rules and the verdict share. Pure functions."""

from __future__ import annotations

from itertools import compress
from typing import NamedTuple

from explorer.model import (
    FsStruct,
    Generation,
    Owner,
    PathRef,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    is_isolating,
)

__all__ = (
    "KERNEL_KINDS",
    "Abandonment",
    "find_abandonment",
    "find_intruders",
    "find_pid1",
    "host_namespaces",
    "init_fs_off_nullfs",
    "is_kernel_thread",
    "is_user_task",
    "rooted_elsewhere_by_design",
)

#: Tasks that never left the kernel. Helpers and io_uring's workers are user tasks: they have a user's ``fs_struct``.
KERNEL_KINDS = frozenset({TaskKind.KTHREAD, TaskKind.KWORKER, TaskKind.RESCUER, TaskKind.IDLE})
_USER_KINDS = frozenset(TaskKind) - KERNEL_KINDS


class Abandonment(NamedTuple):
    """PID 1 no longer owns what the kernel looks paths up in, or that lies in nullfs."""

    pid1: Task | None
    """``None`` if it could not be read."""
    fs: FsStruct | None
    """``userspace_init_fs``; ``None`` if it could not be read."""
    left: bool
    """PID 1 owns another ``fs_struct``."""
    in_nullfs: bool
    """The root of ``userspace_init_fs`` is in the kernel's private nullfs."""
    collateral: tuple[Task, ...]
    """Tasks that hold ``userspace_init_fs`` without being PID 1: they were moved with it."""


def is_kernel_thread(task: Task) -> bool:
    """Whether it is known to be one: a task whose kind could not be read is neither this nor a user task."""
    return task.kind in KERNEL_KINDS


def is_user_task(task: Task) -> bool:
    """Whether it is known to be none of the kernel's threads."""
    return task.kind is not None and task.kind not in KERNEL_KINDS


def find_pid1(snapshot: Snapshot) -> Task | None:
    """The leader of thread group 1."""
    return next((task for task in snapshot.tasks if task.pid == 1), None)


def find_abandonment(snapshot: Snapshot) -> Abandonment | None:
    """Whether PID 1 has left ``userspace_init_fs`` behind.

    Mirrors fs/fs_struct.c: when PID 1 unshares its filesystem state, the kernel moves what it leaves behind into
    nullfs. Either half alone is as bad: kernel lookups no longer start at PID 1's root.
    """
    kernel = snapshot.kernel
    if not is_isolating(kernel.generation) or kernel.userspace_init_fs is None:
        return None
    pid1 = find_pid1(snapshot)
    fs = snapshot.fs_by_address.get(kernel.userspace_init_fs)
    # A leader that has exited owns nothing: its threads may still be PID 1.
    left = pid1 is not None and pid1.owned_fs is not None and pid1.owned_fs != kernel.userspace_init_fs
    in_nullfs = fs is not None and fs.root is not None and fs.root.placement is Placement.NULLFS
    if not left and not in_nullfs:
        return None
    holders = snapshot.sharers_by_fs.get(kernel.userspace_init_fs, [])
    collateral = tuple(task for task in holders if task.tgid not in (1, None))
    return Abandonment(pid1, fs, left, in_nullfs, collateral)


def host_namespaces(snapshot: Snapshot) -> frozenset[int]:
    """The mount namespaces of the host, whom no container should reach: the initial one, and PID 1's."""
    pid1 = find_pid1(snapshot)
    found = (snapshot.kernel.init_mnt_ns, None if pid1 is None else pid1.mnt_ns)
    return frozenset(address for address in found if address is not None)


def find_intruders(snapshot: Snapshot) -> dict[int, list[Task]]:
    """Tasks that share an ``fs_struct`` across the border, by ``fs_struct``; empty where there is no border.

    In ``init_fs`` those are the user tasks, in any other the kernel threads.
    """
    if not is_isolating(snapshot.kernel.generation):
        return {}
    intruders = {}
    # Of very many, each with an fs_struct of its own, only those are looked at that both are among.
    owned, kinds = snapshot.owned_and("kind")
    of_kernel = set(compress(owned, map(KERNEL_KINDS.__contains__, kinds)))
    of_users = set(compress(owned, map(_USER_KINDS.__contains__, kinds)))
    crossed = of_kernel & {*of_users, snapshot.kernel.userspace_init_fs}
    if not crossed:
        return {}
    for address, sharers in snapshot.sharers_by_fs.items():
        if address not in crossed:
            continue
        kernel = [task for task in sharers if is_kernel_thread(task)]
        users = [task for task in sharers if is_user_task(task)]
        if address == snapshot.kernel.userspace_init_fs:
            found = kernel
        elif not kernel or not users:
            continue
        elif address == snapshot.kernel.init_fs:
            found = users
        else:
            found = kernel
        if found:
            intruders[address] = found
    return intruders


def init_fs_off_nullfs(snapshot: Snapshot) -> PathRef | None:
    """The root or working directory of ``init_fs``, if it is known and not in nullfs, and should be."""
    fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    if fs is None or not is_isolating(snapshot.kernel.generation):
        return None
    for path in (fs.root, fs.pwd):
        if path is not None and path.placement not in (None, Placement.NULLFS):
            return path
    return None


def rooted_elsewhere_by_design(task: Task, generation: Generation) -> bool:
    """RFC v1 forks the idle tasks of further CPUs from PID 1 after that has moved: they live on the rootfs."""
    return task.kind is TaskKind.IDLE and generation is Generation.RFC_V1 and task.owner is not Owner.INIT_FS
