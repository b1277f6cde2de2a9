"""Runs in the guest: capture the live kernel again and again, in one process, and say what came of it.

``many_captures.py COUNT``. A line of JSON for every capture: its size and errors, this process's memory, and which rows
of tasks that were there from the first capture to this one are not what they were.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from explorer.capture.capture import CaptureRequest, capture_snapshot
from explorer.model import Snapshot, Task, TaskKind
from explorer.plugin import load_plugins
from explorer.target.kernel import OpenOptions, open_kernel
from explorer.target.privilege import drop_privileges
from explorer.target.spec import TargetSpec

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


def main() -> None:
    count = int(sys.argv[1])
    plugins = load_plugins().plugins
    first: dict[tuple[int, int], list[object]] | None = None
    with open_kernel(TargetSpec("live", "live"), OpenOptions(use_cache=False)) as kernel:
        drop_privileges()
        for _ in range(count):
            started = time.monotonic()
            kernel.types.modules.forget()
            snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))
            found = rows(snapshot)
            first = first or found
            wrong = [str((key, first[key], found.get(key))) for key in first if first[key] != found.get(key)]
            said = {
                "tasks": len(snapshot.tasks),
                "errors": [f"{error.where}: {error.what}: {error.why}" for error in snapshot.errors],
                "wrong": wrong,
                "stable": len(first),
                "rss": rss(),
                "seconds": round(time.monotonic() - started, 3),
            }
            print("CAPTURE " + json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
