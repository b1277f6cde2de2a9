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
from explorer.model import FsStruct, Snapshot, Task
from explorer.output import open_output

__all__ = ("scale_up", "write_scaled")

#: Apart by more than a ``struct task_struct``, in a part of the direct map where the samples have nothing.
_FIRST_ADDRESS = 0xFFFF_9000_0000_0000
_STEP = 0x4000
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


def write_scaled(source: Path, wanted: int, out: Path) -> None:
    """Scale a saved snapshot up and save it."""
    with open_output(out) as file:
        write_json(scale_up(load_snapshot(source), wanted), file)
