"""A snapshot of very many tasks for the screen's measurements, scaled up from a real kernel's.

No kernel with 100,000 tasks was booted for this. What is cloned are the tasks of ``tests/tui/data/lively.json.zst``: a
saved snapshot of the sample, which is a guest of the lab with Debian's Linux 7.3.4 (112 tasks, 56 ``fs_structs``, 63
mounts). Clones get new addresses and pids, and each that owns a private ``fs_struct`` gets an ``fs_struct`` of its own;
those that share one go on sharing it, and its ``users`` and ``sharers`` are raised by their number. Names get a number
behind them, so that as many of them differ as on a busy machine. Mounts, namespaces and all else stay as they were.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from explorer.codec import load_snapshot, write_json
from explorer.model import FsStruct, Mount, Snapshot, Task
from explorer.output import open_output

__all__ = ("scale_up", "with_containers", "write_scaled")

#: Apart by more than a ``struct task_struct``, in a part of the direct map where the samples have nothing.
_FIRST_ADDRESS = 0xFFFF_9000_0000_0000
_STEP = 0x4000
_FIRST_NAMESPACE = 0xFFFF_A000_0000_0000
_COMM_BYTES = 15


def scale_up(snapshot: Snapshot, wanted: int) -> Snapshot:
    """A snapshot with ``wanted`` tasks: the real ones, and clones of them in turn."""
    scaled = snapshot.model_copy(deep=True)
    by_address = {fs.address: fs for fs in scaled.fs_structs}
    originals, addresses = list(scaled.tasks), count(_FIRST_ADDRESS, _STEP)
    pids = count(max(task.pid for task in originals) + 1)
    number = 0
    while len(scaled.tasks) < wanted:
        original = originals[number % len(originals)]
        scaled.tasks.append(_clone(original, next(addresses), next(pids), scaled, by_address))
        number += 1
    scaled.fs_structs.sort(key=lambda fs: fs.address)
    scaled.capture.notes.append(f"scaled up from {len(originals)} to {wanted} tasks for a measurement")
    return Snapshot.model_validate(scaled.model_dump())


def _clone(task: Task, address: int, pid: int, scaled: Snapshot, by_address: dict[int, FsStruct]) -> Task:
    changes: dict[str, object] = {"address": address, "pid": pid, "tgid": pid}
    stem = task.name[: _COMM_BYTES - len(str(pid)) - 1]
    changes["comm"] = f"{stem}.{pid}"
    fs = by_address.get(task.owned_fs or 0)
    if fs is not None and fs.sharers == 1:
        fs = fs.model_copy(update={"address": address + _STEP // 2})
        scaled.fs_structs.append(fs)
        changes["fs"] = fs.address
        changes["real_fs"] = None if task.real_fs is None else fs.address
    elif fs is not None:
        shared = by_address[fs.address]
        shared.sharers += 1
        shared.users = None if shared.users is None else shared.users + 1
    return task.model_copy(update=changes)


def with_containers(snapshot: Snapshot, wanted: int) -> Snapshot:
    """The same with ``wanted`` more mount namespaces, each a clone of one that is there, with all its mounts.

    Every ``fs_struct`` stays in the original: no task is in a clone. Ids, inode numbers and addresses are new.
    """
    scaled = snapshot.model_copy(deep=True)
    originals = [
        each for each in scaled.mount_namespaces if any(m.mnt_ns == each.address for m in scaled.mounts)
    ]
    addresses = count(_FIRST_NAMESPACE, _STEP)
    ids = count(max(mount.id or 0 for mount in scaled.mounts) + 1)
    numbers = count(max(each.inum or 0 for each in originals) + 1)
    for number in range(wanted):
        original = originals[number % len(originals)]
        mounts = [mount for mount in snapshot.mounts if mount.mnt_ns == original.address]
        new = {mount.address: next(addresses) for mount in mounts}
        namespace = original.model_copy(deep=True, update={"address": next(addresses), "inum": next(numbers)})
        namespace.root = new.get(namespace.root or 0, namespace.root)
        namespace.visible_root = new.get(namespace.visible_root or 0, namespace.visible_root)
        scaled.mount_namespaces.append(namespace)
        scaled.mounts += [_clone_mount(mount, new, namespace.address, next(ids)) for mount in mounts]
    return Snapshot.model_validate(scaled.model_dump())


def _clone_mount(mount: Mount, new: dict[int, int], namespace: int, id: int) -> Mount:
    links = {
        name: new.get(getattr(mount, name) or 0, getattr(mount, name)) for name in ("parent", "overmount")
    }
    return mount.model_copy(update={"address": new[mount.address], "mnt_ns": namespace, "id": id, **links})


def write_scaled(source: Path, wanted: int, out: Path) -> None:
    """Scale a saved snapshot up and save it."""
    with open_output(out) as file:
        write_json(scale_up(load_snapshot(source), wanted), file)
