"""A guest in a storm of processes, captured again and again: ``python -m tests.kernels.churn --captures 1000``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from typing import Any

from explorer.model import Snapshot, TaskKind
from tests.kernels.compare import common_tasks, task_differences
from tests.kernels.lab import Guest, GuestOptions, Oracle
from tests.kernels.lab.liveimage import build_live_image

__all__ = ("STORMERS", "Captures", "boot_for_churn", "calm", "capture_many", "start_storm", "wrong_rows")

#: Processes that make processes, in a guest of two CPUs.
STORMERS = 3
_PER_CAPTURE_S = 30.0
#: What a capture under churn may miss: tasks that went while it was read, and what they alone led to.
_GONE = ("exited while", "changed", "could not find", "no kernel pointer", "underfoot", "circle", "name of")


@dataclass
class Captures:
    """What many captures in one process in the guest said."""

    said: list[dict[str, Any]] = field(default_factory=list)
    code: int = 0
    printed: str = ""

    def wrong(self) -> list[str]:
        return [row for capture in self.said for row in capture["wrong"]]

    def errors(self) -> list[str]:
        return [error for capture in self.said for error in capture["errors"]]

    def growth(self) -> int:
        """Bytes of memory from the middle of the captures to their end: what the first ones cache is not counted."""
        middle = self.said[len(self.said) // 2]["rss"]
        return int(self.said[-1]["rss"]) - int(middle)


def boot_for_churn(line: str) -> Guest:
    return Guest.boot(line, "live", GuestOptions(disk=build_live_image()))


def start_storm(guest: Guest, count: int = STORMERS) -> None:
    code, printed = guest.run_tool("@init", "lab-storm", str(count))
    assert code == 0, printed


def calm(guest: Guest) -> None:
    code, printed = guest.run_tool("@init", "lab-calm")
    assert code == 0, printed


def capture_many(guest: Guest, count: int) -> Captures:
    """Captures in one process in the guest, as root."""
    code, printed = guest.run_tool(
        "@script", "/app/many_captures.py", str(count), timeout_s=120.0 + _PER_CAPTURE_S * count
    )
    lines = [line for line in printed.splitlines() if line.startswith("CAPTURE ")]
    return Captures([json.loads(line.removeprefix("CAPTURE ")) for line in lines], code, printed)


def wrong_rows(snapshot: Snapshot, before: Oracle, after: Oracle) -> list[str]:
    """Rows of tasks that were there before the storm and after it, and are not what the guest says."""
    captured = {
        (task.pid, task.start_time * before.hz // 1_000_000_000): task
        for task in snapshot.tasks
        if task.kind is not TaskKind.IDLE
    }
    later = {task.key: task for task in after.tasks}
    wrong = []
    for task in common_tasks(before, after):
        found = captured.get(task.key)
        if found is None:
            wrong.append(f"{task.pid} {task.comm!r} is missing")
        elif found.kind is not TaskKind.KWORKER:
            wrong += [
                f"{task.pid} {task.comm!r}: {how}"
                for how in task_differences(snapshot, found, task, later[task.key])
            ]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.churn", description=__doc__)
    parser.add_argument("--captures", type=int, default=1000)
    parser.add_argument("--kernel", default="7.3")
    options = parser.parse_args()
    with boot_for_churn(options.kernel) as guest:
        start_storm(guest)
        captures = capture_many(guest, options.captures)
        calm(guest)
    seconds = [capture["seconds"] for capture in captures.said] or [0.0]
    print(
        f"{options.kernel}: {len(captures.said)} captures of {options.captures}, "
        f"{len(captures.wrong())} wrong rows among {captures.said[0]['stable'] if captures.said else 0} stable tasks, "
        f"{len(captures.errors())} values said to be missing, {captures.growth() / 1e6 if captures.said else 0:.1f} MB "
        f"of growth over the second half, slowest {max(seconds):.2f} s"
    )
    for line in (*captures.wrong()[:20], *([captures.printed[-2000:]] if captures.code else [])):
        print(line)
    return int(bool(captures.code or captures.wrong() or len(captures.said) != options.captures))


if __name__ == "__main__":
    sys.exit(main())
