"""Runs in the guest: capture the live kernel again and again, in one process, and say what came of it.

``many_captures.py COUNT``. A line of JSON for every capture: its size and errors, this process's memory, and which rows
of tasks that were there from the first capture to this one are not what they were. Ten times, evenly spread, also how
many objects of Python's and of drgn's are left when the snapshot is gone.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Sequence

import drgn

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Snapshot, Task, TaskKind
from explorer.plugin import Plugin, load_plugins
from explorer.targets.kernel import OpenKernel, OpenOptions, open_kernel
from explorer.targets.privilege import drop_privileges
from explorer.targets.spec import TargetSpec

#: Kernel threads and the storm change what they do; who owns what does not.
_SKIPPED = frozenset({TaskKind.KWORKER, TaskKind.USERMODEHELPER})


def row(snapshot: Snapshot, task: Task) -> list[object]:
    """What must not change in a task that sleeps."""
    fs = snapshot.fs_by_address.get(task.owned_fs or 0)
    places = (
        []
        if fs is None
        else [(ref.mount, ref.dentry, ref.path) if ref else None for ref in (fs.root, fs.pwd)]
    )
    return [task.comm, task.kind, task.owner, task.owned_fs, task.mnt_ns, *places]


def rows(snapshot: Snapshot) -> dict[tuple[int, int], list[object]]:
    return {
        (task.pid, task.start_time): row(snapshot, task)
        for task in snapshot.tasks
        if task.kind not in _SKIPPED and not task.comm.startswith(("storm", "init", "python"))
    }


def rss() -> int:
    """Bytes of this process in memory, now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def count_objects() -> dict[str, int]:
    """What the garbage collector knows of; of drgn's, the types that hold a kernel's values or are its types."""
    gc.collect()
    left = gc.get_objects()
    ours = sum(isinstance(one, drgn.Object | drgn.Type) for one in left)
    return {"objects": len(left), "drgn": ours}


def capture_once(
    kernel: OpenKernel, plugins: Sequence[Plugin], first: dict[tuple[int, int], list[object]]
) -> dict[str, object]:
    """What one capture says; ``first`` is filled by the first one. Nothing else of the capture is kept."""
    started = time.monotonic()
    kernel.types.modules.forget()
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))
    found = rows(snapshot)
    if not first:
        first.update(found)
    return {
        "tasks": len(snapshot.tasks),
        "errors": [f"{error.where}: {error.what}: {error.why}" for error in snapshot.errors],
        "wrong": [str((key, first[key], found.get(key))) for key in first if first[key] != found.get(key)],
        "stable": len(first),
        "seconds": round(time.monotonic() - started, 3),
    }


def main() -> None:
    count = int(sys.argv[1])
    plugins = load_plugins().plugins
    first: dict[tuple[int, int], list[object]] = {}
    with open_kernel(TargetSpec("live", "live"), OpenOptions(use_cache=False)) as kernel:
        drop_privileges()
        for number in range(1, count + 1):
            said = capture_once(kernel, plugins, first)
            if number % max(count // 10, 1) == 0:
                said |= count_objects()
            print("CAPTURE " + json.dumps(said | {"rss": rss()}), flush=True)


if __name__ == "__main__":
    main()
