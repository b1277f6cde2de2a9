"""Compare a snapshot with what the guest's kernel says of itself: every task, every namespace, every reference."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Literal

from explorer.analysis.accounting import reconcile
from explorer.codec.snapshots import parse_snapshot
from explorer.model import Mount, MountNamespace, PathRef, Placement, Snapshot, Task, TaskKind, kernel_bytes
from tests.kernels.lab import Identity, MountInfo, Oracle, OracleTask
from tests.kernels.lab.oracle import OracleErrno

__all__ = (
    "common_tasks",
    "disagreements",
    "facts",
    "forget_readers",
    "misplaced",
    "printed_snapshot",
    "propagation",
    "task_differences",
)

_PATH_MAX = 4096
_ROOTS = (Placement.INIT_ROOT, Placement.NS_ROOT, Placement.NULLFS_NS_ROOT)


#: Where the lively scenario's states have their roots, on every kernel.
_LIVELY_ROOTS = {
    "chroot": Placement.CHROOT,
    "chdir": Placement.INIT_ROOT,
    "detached-root": Placement.DETACHED,
    "detached-cwd": Placement.INIT_ROOT,
    "container": Placement.NS_ROOT,
    "ns-plain": Placement.NS_ROOT,
    "root-deleted": Placement.CHROOT,
    "cross-root": Placement.INIT_ROOT,
}


def misplaced(snapshot: Snapshot, states: dict[str, int]) -> list[str]:
    """The states of the lively scenario whose root, or detached working directory, is not placed as it was made."""
    fs_of = {task.pid: task.owned_fs for task in snapshot.tasks if task.kind is not TaskKind.IDLE}

    def placement(state: str, which: Literal["root", "pwd"]) -> Placement | None:
        fs = snapshot.fs_by_address[fs_of[states[state]] or 0]
        place = fs.root if which == "root" else fs.pwd
        return None if place is None else place.placement

    found = {state: placement(state, "root") for state in _LIVELY_ROOTS}
    wrong = [
        f"{state}: its root is placed in {found[state]}, not {expected}"
        for state, expected in _LIVELY_ROOTS.items()
        if found[state] is not expected
    ]
    if (pwd := placement("detached-cwd", "pwd")) is not Placement.DETACHED:
        wrong.append(f"detached-cwd is placed in {pwd}")
    return wrong


def common_tasks(before: Oracle, after: Oracle) -> list[OracleTask]:
    """Tasks that the guest listed both before and after the capture: all of these must be in it."""
    later = {task.key for task in after.tasks}
    return [task for task in before.tasks if task.key in later]


def disagreements(snapshot: Snapshot, before: Oracle, after: Oracle) -> list[str]:
    """Every difference between the snapshot and the guest's own account; empty if they agree."""
    return [
        *(f"error: {error.where}: {error.what}: {error.why}" for error in snapshot.errors),
        *_tasks(snapshot, before, after),
        *_sharing(snapshot, before, after),
        *_mounts(snapshot, before),
        *_accounts(snapshot),
        *([] if snapshot.kernel.release == before.release else ["release"]),
        *([] if kernel_bytes(snapshot.kernel.cmdline or "") == before.cmdline.rstrip(b"\n") else ["cmdline"]),
    ]


def task_differences(snapshot: Snapshot, found: Task, said: OracleTask, later: OracleTask) -> Iterator[str]:
    """What a captured task and two of the guest's listings do not agree in."""
    return _task(snapshot, found, said, later)


def _key(task: Task, hz: int) -> tuple[int, int]:
    """/proc/PID/stat's start time, in ticks."""
    assert task.start_time is not None
    return task.pid, task.start_time * hz // 1_000_000_000


def _tasks(snapshot: Snapshot, before: Oracle, after: Oracle) -> Iterator[str]:
    captured = {_key(task, before.hz): task for task in snapshot.tasks if task.kind is not TaskKind.IDLE}
    listed_later = {task.key: task for task in after.tasks}
    for task in common_tasks(before, after):
        found = captured.get(task.key)
        if found is None:
            yield f"{task.pid} {task.comm!r} is missing"
            continue
        for difference in _task(snapshot, found, task, listed_later[task.key]):
            yield f"{task.pid} {task.comm!r}: {difference}"
    listed = {task.key for task in before.tasks} | set(listed_later)
    for key, found in captured.items():
        # A worker may have been born and gone between the two listings; nothing else may.
        if key not in listed and found.kind is not TaskKind.KWORKER:
            yield f"{found.pid} {found.comm!r} ({found.kind}) is in no listing of the guest"


def _task(snapshot: Snapshot, found: Task, said: OracleTask, later: OracleTask) -> Iterator[str]:
    yield from _differ("tgid", found.tgid, said.tgid)
    yield from _differ("ppid", found.ppid, said.ppid)
    yield from _differ("PF_KTHREAD", found.has_flag(0x200000), said.is_kthread)
    yield from _name(found, said)
    # PID 1 runs while it lists, and waits while it is captured; a worker's state is of the moment.
    if said.state == later.state and said.pid != 1 and not said.is_kthread:
        yield from _differ("state", found.state, said.state)
    if said.has_exited:
        yield from _differ("fs", found.owned_fs, None)
        return
    namespace = snapshot.namespace_by_address.get(found.mnt_ns or 0)
    yield from _differ("mnt_ns", None if namespace is None else namespace.inum, said.mnt_ns)
    fs = snapshot.fs_by_address.get(found.owned_fs or 0)
    if fs is None:
        yield "its fs_struct is not in the snapshot"
        return
    yield from _differ("umask", fs.umask, None if said.umask is None else f"{said.umask:04o}")
    yield from _path(snapshot, "root", fs.root, said.root, said.root_id)
    yield from _path(snapshot, "pwd", fs.pwd, said.cwd, said.cwd_id)


def _name(found: Task, said: OracleTask) -> Iterator[str]:
    comm = kernel_bytes(found.name)
    if not said.is_kthread:
        yield from _differ("comm", comm, said.comm)
        return
    full = found.kthread.full_name if found.kthread is not None else None
    # /proc shows a kthread's full name, and for a kworker its work behind a - or +.
    name = comm if full is None or found.kind is TaskKind.KWORKER else kernel_bytes(full)
    if not said.comm.startswith(name):
        yield f"name {name!r}, the guest says {said.comm!r}"


def _differ(what: str, found: object, said: object) -> Iterator[str]:
    if found != said:
        yield f"{what} {found!r}, the guest says {said!r}"


def _path(
    snapshot: Snapshot,
    what: str,
    found: PathRef | None,
    text: bytes | OracleErrno,
    where: Identity | OracleErrno,
) -> Iterator[str]:
    if found is None:
        yield f"{what} is missing"
        return
    path = kernel_bytes(found.path or "?")
    if isinstance(text, OracleErrno) and text.errno == errno.ENAMETOOLONG:
        # The kernel has one page for the text; the snapshot has no such limit.
        yield from _differ(f"{what} path does not fit a page", len(path) >= _PATH_MAX, True)
    else:
        yield from _differ(f"{what} path", path, text)
    if isinstance(where, OracleErrno):
        # Every walk in failfs ends in EOPNOTSUPP, that through the magic link too.
        if found.placement is not Placement.FAILFS:
            yield f"{what}: the guest says {where}, but it is placed in {found.placement}"
        return
    mount = snapshot.mount_by_address.get(found.mount)
    if mount is None:
        yield f"the mount of its {what} is not in the snapshot"
        return
    yield from _differ(f"{what} mnt_id", mount.id, where.mnt_id)
    if where.unique_mnt_id is not None:
        yield from _differ(f"{what} unique mnt_id", mount.unique_id, where.unique_mnt_id)
    yield from _differ(f"{what} filesystem magic", mount.magic, where.magic)


def _sharing(snapshot: Snapshot, before: Oracle, after: Oracle) -> Iterator[str]:
    """The same tasks share an fs_struct as kcmp(KCMP_FS) says."""
    stable = {task.pid: task for task in common_tasks(before, after) if not task.has_exited}
    said: dict[object, set[int]] = {}
    for task in stable.values():
        said.setdefault(task.fs_class, set()).add(task.pid)
    found: dict[object, set[int]] = {}
    for captured in snapshot.tasks:
        if captured.pid in stable and captured.kind is not TaskKind.IDLE:
            found.setdefault(captured.owned_fs, set()).add(captured.pid)
    for group in {frozenset(pids) for pids in found.values()} ^ {frozenset(pids) for pids in said.values()}:
        yield f"sharers {sorted(group)} are in only one of snapshot and kcmp()"


def _accounts(snapshot: Snapshot) -> Iterator[str]:
    for reference in reconcile(snapshot):
        if not reference.balanced:
            fs = reference.fs
            yield f"fs_struct 0x{fs.address:x}: users {fs.users}, but {reference.expected} found"


def _mounts(snapshot: Snapshot, said: Oracle) -> Iterator[str]:
    by_inum = {namespace.inum: namespace for namespace in snapshot.mount_namespaces}
    for inum, lines in said.mounts.items():
        namespace = by_inum.get(inum)
        if namespace is None:
            yield f"mount namespace {inum} is missing"
            continue
        found = {mount.id: mount for mount in snapshot.mounts if mount.mnt_ns == namespace.address}
        yield from _differ(f"namespace {inum} nr_mounts", namespace.nr_mounts, len(found))
        from_top = _views_from_top(snapshot, said.viewers[inum])
        for line in lines:
            mount = found.pop(line.mnt_id, None)
            if mount is None:
                yield f"namespace {inum}: mount {line.mnt_id} is missing"
                continue
            where = f"namespace {inum}, mount {line.mnt_id}"
            parent = snapshot.mount_by_address.get(mount.parent or 0, mount)
            yield from _differ(f"{where} parent", parent.id, line.parent_id)
            yield from _differ(f"{where} fstype", kernel_bytes(mount.fstype or "?"), line.fstype)
            yield from _differ(f"{where} source", kernel_bytes(mount.source or "none"), line.source)
            yield from _fields(where, mount, line)
            if from_top and not line.mountpoint.endswith(b"//deleted"):
                yield from _differ(
                    f"{where} mountpoint", kernel_bytes(mount.mountpoint or "?"), line.mountpoint
                )
        if from_top:
            yield from _unseen(snapshot, namespace, {mount.address for mount in found.values()})


def _views_from_top(snapshot: Snapshot, pid: int) -> bool:
    """Whether mountinfo of that task starts at the visible root of its namespace."""
    for task in snapshot.tasks:
        if task.pid == pid and task.kind is not TaskKind.IDLE:
            fs = snapshot.fs_by_address.get(task.owned_fs or 0)
            return fs is not None and fs.root is not None and fs.root.placement in _ROOTS
    return False


def _fields(where: str, mount: Mount, line: MountInfo) -> Iterator[str]:
    """What a line of mountinfo says of the mount itself."""
    yield from _differ(f"{where} device", mount.dev, "{}:{}".format(*line.dev))
    yield from _differ(f"{where} root", kernel_bytes(mount.root or "?"), line.root)
    options = [option.decode() for option in line.options]
    yield from _differ(f"{where} options", mount.options, options)
    yield from _differ(f"{where} propagation", propagation(mount), [word.decode() for word in line.optional])


def propagation(mount: Mount) -> list[str]:
    """The optional fields of its line in mountinfo."""
    named = (("shared", mount.shared), ("master", mount.master), ("propagate_from", mount.propagate_from))
    words = [f"{name}:{group}" for name, group in named if group is not None]
    return [*words, "unbindable"] if mount.unbindable else words


def _unseen(snapshot: Snapshot, namespace: MountNamespace, hidden: set[int]) -> Iterator[str]:
    """mountinfo leaves out just what is not below the visible root, however it came to be mounted."""
    expected = {
        mount.address
        for mount in snapshot.mounts
        if mount.mnt_ns == namespace.address and namespace.visible_root not in _chain(snapshot, mount)
    }
    yield from _differ(f"namespace {namespace.inum}: mounts out of sight", hidden, expected)


def _chain(snapshot: Snapshot, mount: Mount | None) -> list[int]:
    """The mount and its parents, upwards."""
    chain: list[int] = []
    while mount is not None and mount.address not in chain:
        chain.append(mount.address)
        mount = snapshot.mount_by_address.get(mount.parent or 0)
    return chain


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot says of the kernel, but for what filters and slices leave out: processes' own memory."""
    document = snapshot.model_dump(mode="json", exclude={"capture"})
    for helper in document["usermodehelpers"]:
        del helper["arguments"]
    return document


def printed_snapshot(printed: str, target: str = "live") -> Snapshot:
    """What the tool printed inside a guest; the line carries stderr too: what is not the document is progress."""
    return parse_snapshot(printed[printed.index("{") : printed.rindex("}") + 1].encode(), target)


def forget_readers(snapshot: Snapshot) -> int:
    """Take the tool's own tasks out of what it read live: they are in no listing of the guest's. How many they were."""
    readers = {task.address for task in snapshot.tasks if task.comm == "nullfs-explorer"}
    snapshot.tasks[:] = [task for task in snapshot.tasks if task.address not in readers]
    owned = {task.owned_fs for task in snapshot.tasks}
    snapshot.fs_structs[:] = [fs for fs in snapshot.fs_structs if fs.address in owned]
    return len(readers)
