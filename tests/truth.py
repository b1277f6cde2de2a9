"""What a guest said of its tasks before it was dumped, one line a task, and what a snapshot says differently.

A line is ``T tid tgid umask zombie comm root root-magic root-ino cwd cwd-magic cwd-ino mnt_ns group``: texts in hex as
readlink(2) and read(2) gave them (``-``: there is none), umask in octal, magics in hex, ``group`` the number of the
fs_struct by kcmp(KCMP_FS), -1 for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from explorer.analysis.isolation import is_kernel_thread
from explorer.model import PathRef, Placement, Snapshot, Task, TaskKind, kernel_bytes

__all__ = ("TrueTask", "differences", "missing_values", "read_truth")


class TrueTask(NamedTuple):
    """One task, as the guest's kernel described it."""

    tid: int
    tgid: int
    umask: int
    zombie: bool
    comm: bytes
    root: bytes | None
    root_magic: int
    cwd: bytes | None
    cwd_magic: int
    mnt_ns: int | None
    group: int


def read_truth(path: Path) -> list[TrueTask]:
    """The tasks of a listing. :raises ValueError: if it is no listing, or not whole"""
    lines = path.read_text("ascii").splitlines()
    if not lines or lines[-1] != "READY":
        raise ValueError(f"{path}: not whole")
    return [_task(*line.split(" ")[1:]) for line in lines if line.startswith("T ")]


def _task(*fields: str) -> TrueTask:
    tid, tgid, umask, zombie, comm, root, root_magic, _, cwd, cwd_magic, _, mnt_ns, group = fields
    return TrueTask(
        int(tid),
        int(tgid),
        int(umask, 8),
        zombie == "1",
        bytes.fromhex(comm),
        None if root == "-" else bytes.fromhex(root),
        int(root_magic, 16),
        None if cwd == "-" else bytes.fromhex(cwd),
        int(cwd_magic, 16),
        None if mnt_ns == "-" else int(mnt_ns.removeprefix("mnt:[").removesuffix("]")),
        int(group),
    )


def differences(snapshot: Snapshot, truth: list[TrueTask]) -> list[str]:
    """Every value of every task that is not as the guest said; a value that is ``None`` is missing, not different.

    Tasks that one side alone has are differences.
    """
    found = {task.pid: task for task in snapshot.tasks if task.kind is not TaskKind.IDLE}
    said = {task.tid: task for task in truth}
    return [
        *(
            f"{pid} is in only one of snapshot and listing"
            for pid in sorted(found.keys() ^ said.keys(), key=str)
        ),
        *(
            f"{pid} {said[pid].comm!r}: {difference}"
            for pid in found.keys() & said.keys()
            for difference in _differences(snapshot, found[pid], said[pid])
        ),
        *_sharing(found, said),
    ]


def missing_values(snapshot: Snapshot, truth: list[TrueTask]) -> set[int]:
    """The pids of those of whom a value that the guest told is not in the snapshot."""
    said = {task.tid: task for task in truth}
    missing = set()
    for task in snapshot.tasks:
        fs = snapshot.fs_by_address.get(task.owned_fs or 0)
        if task.pid in said and not said[task.pid].zombie:
            values: list[object] = [task.tgid, task.comm, task.mnt_ns, fs]
            values += (
                []
                if fs is None
                else [fs.umask, fs.root, fs.pwd, fs.root and fs.root.path, fs.pwd and fs.pwd.path]
            )
            if None in values:
                missing.add(task.pid)
    return missing


def _differences(snapshot: Snapshot, found: Task, said: TrueTask) -> Iterator[str]:
    yield from _differ("tgid", found.tgid, said.tgid)
    comm = None if found.comm is None else kernel_bytes(found.comm)
    # /proc shows the whole name of a kernel thread, and a kworker's work. Whether it is one may not be known.
    if comm is not None and not (
        said.comm == comm or ((is_kernel_thread(found) or found.kind is None) and said.comm.startswith(comm))
    ):
        yield f"comm {comm!r}, the guest says {said.comm!r}"
    if said.zombie:
        yield from _differ("fs", found.owned_fs, None)
        return
    namespace = snapshot.namespace_by_address.get(found.mnt_ns or 0)
    yield from _differ("mnt_ns", None if namespace is None else namespace.inum, said.mnt_ns)
    fs = snapshot.fs_by_address.get(found.owned_fs or 0)
    if fs is None:
        return
    yield from _differ("umask", fs.umask, f"{said.umask:04o}")
    yield from _place(snapshot, "root", fs.root, said.root, said.root_magic)
    yield from _place(snapshot, "cwd", fs.pwd, said.cwd, said.cwd_magic)


def _differ(what: str, found: object, said: object) -> Iterator[str]:
    if found is not None and found != said:
        yield f"{what} {found!r}, the guest says {said!r}"


def _place(
    snapshot: Snapshot, what: str, found: PathRef | None, path: bytes | None, magic: int
) -> Iterator[str]:
    if found is None:
        return
    if path is not None:
        yield from _differ(f"{what} path", None if found.path is None else kernel_bytes(found.path), path)
    mount = snapshot.mount_by_address.get(found.mount)
    if mount is not None and found.placement is not Placement.FAILFS:  # every walk there fails, statfs too
        yield from _differ(f"{what} magic", mount.magic, magic)


def _sharing(found: dict[int, Task], said: dict[int, TrueTask]) -> Iterator[str]:
    """Two tasks have one fs_struct in the snapshot just if kcmp() says so."""
    group_of: dict[int, int] = {}
    for pid, task in said.items():
        address = found[pid].owned_fs if pid in found else None
        if address is not None and group_of.setdefault(address, task.group) != task.group:
            yield f"{pid} does not share an fs_struct with all that the snapshot says"
    groups = list(group_of.values())
    for group in {group for group in groups if groups.count(group) > 1}:
        yield f"the sharers of group {group} have more than one fs_struct"
