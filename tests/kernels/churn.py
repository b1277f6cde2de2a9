"""A guest in a storm of processes, captured again and again: ``python -m tests.kernels.churn --captures 1000``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from explorer.model import Snapshot, TaskKind
from tests.kernels.compare import common_tasks, task_differences
from tests.kernels.lab import Guest, Oracle
from tests.kernels.lab.errors import GuestDiedError
from tests.kernels.lab.liveimage import boot_live

__all__ = (
    "MAX_GROWTH",
    "STORMERS",
    "Captures",
    "calm",
    "capture_many",
    "start_storm",
    "wrong_rows",
)

#: Processes that make processes, in a guest of one CPU.
STORMERS = 3
#: Of ``Captures.growth``, however many captures there were: less than a hundredth of what each of them makes and drops.
MAX_GROWTH = {"rss": 4 << 20, "objects": 2000, "drgn": 200}
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

    def kinds_of_errors(self) -> Counter[str]:
        """How often what could not be read, without the numbers in it."""
        return Counter(re.sub(r"0x[0-9a-f]+|0o[0-7]+|\d+", "N", error) for error in self.errors())

    def growth(self, what: str) -> int:
        """How much more there is of ``what`` after the last capture than after the first tenth of them.

        ``rss``: bytes in memory. ``objects``, ``drgn``: objects left. The first tenth fills caches that stay.
        """
        counted = [capture for capture in self.said if "objects" in capture]
        return int(counted[-1][what]) - int(counted[0][what])

    def leaks(self) -> list[str]:
        """What grew by more than it may."""
        grown = {what: self.growth(what) for what in MAX_GROWTH}
        return [f"{what} grew by {grown[what]}" for what, most in MAX_GROWTH.items() if grown[what] > most]


def start_storm(guest: Guest, count: int = STORMERS) -> None:
    assert guest.run_applet("lab-storm", str(count)) == 0


def calm(guest: Guest) -> None:
    assert guest.run_applet("lab-calm") == 0


def capture_many(guest: Guest, count: int) -> Captures:
    """Captures in one process in the guest, as root.

    :raises GuestDiedError: the guest ended meanwhile
    """
    code, printed = guest.run_tool(
        "@script", "/app/many_captures.py", str(count), timeout_s=120.0 + _PER_CAPTURE_S * count
    )
    return Captures(_said(printed), code, printed)


def _said(printed: str) -> list[dict[str, Any]]:
    lines = [line for line in printed.splitlines() if line.startswith("CAPTURE ") and line.endswith("}")]
    return [json.loads(line.removeprefix("CAPTURE ")) for line in lines]


def wrong_rows(snapshot: Snapshot, before: Oracle, after: Oracle) -> list[str]:
    """Rows of tasks that were there before the storm and after it, and are not what the guest says."""
    captured = {
        (task.pid, (task.start_time or 0) * before.hz // 1_000_000_000): task
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
    with boot_live(options.kernel) as guest:
        start_storm(guest)
        try:
            captures = capture_many(guest, options.captures)
            calm(guest)
        except GuestDiedError as error:
            captures = Captures(_said(guest.line.log.decode(errors="replace")), 1, str(error))
    if not captures.said:
        print(captures.printed[-2000:])
        return 1
    report(options.kernel, captures, options.captures)
    is_right = len(captures.said) == options.captures and not captures.wrong() and not captures.leaks()
    return int(captures.code != 0 or not is_right)


def report(kernel: str, captures: Captures, wanted: int) -> None:
    """Print what came of it: a line, then what was measured on the way, then what is wrong."""
    seconds = [capture["seconds"] for capture in captures.said]
    tasks = [capture["tasks"] for capture in captures.said]
    print(
        f"{kernel}: {len(captures.said)} captures of {wanted} in {sum(seconds) / 60:.0f} min, {len(captures.wrong())} "
        f"wrong rows among {captures.said[0]['stable']} stable tasks ({min(tasks)} to {max(tasks)} tasks), "
        f"{len(captures.errors())} values said to be missing, slowest {max(seconds):.2f} s"
    )
    print(f"{'captures':>8} {'MB':>7} {'objects':>8} {'drgn':>6}")
    for number, capture in enumerate(captures.said, 1):
        if "objects" in capture:
            sizes = f"{capture['rss'] / 1e6:7.1f} {capture['objects']:8} {capture['drgn']:6}"
            print(f"{number:8} {sizes}")
    for kind, count in captures.kinds_of_errors().most_common(20):
        print(f"{count:8} x {kind}")
    wrong = [*captures.wrong()[:20], *captures.leaks()]
    print(*wrong, *([captures.printed[-2000:]] if captures.code else []), sep="\n", end="\n" if wrong else "")


if __name__ == "__main__":
    sys.exit(main())
