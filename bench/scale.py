"""``python -m bench.scale``: whether a task costs the same with ten times as many tasks, mounts and namespaces.

Guests of processes with ten threads each, which share an ``fs_struct``, and a mount namespace for every ten of them.
What is done with each of two sizes: captured, audited, compared with itself, shown. Times are processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.report import Ratio, Row, as_json, as_table
from bench.targets import Crowd, dump_of
from bench.tui_app import SIZE, Driver, Watched
from explorer.analysis.audit import run_audit
from explorer.analysis.diff import compare_snapshots
from explorer.capture import CaptureRequest, CaptureStats, capture_snapshot
from explorer.model import Snapshot
from explorer.targets import detect_target, open_kernel
from tests.kernels.lab.errors import LabError

_THREADS, _MOUNTS, _PROCESSES_A_NAMESPACE = 10, 5, 10
#: A task's cost at the large size, against that at the small one.
_BOUND = 1.2


@dataclass(frozen=True)
class _Sizes:
    small: Crowd
    large: Crowd


def _sprawl(processes: int, memory_mb: int) -> Crowd:
    namespaces = processes // _PROCESSES_A_NAMESPACE
    more = f"nx.threads={_THREADS} nx.namespaces={namespaces} nx.mounts={_MOUNTS}"
    return Crowd("sprawl", processes, memory_mb, more=more)


_SIZES = {
    "quick": _Sizes(_sprawl(200, 1024), _sprawl(2_000, 3072)),
    "full": _Sizes(_sprawl(2_000, 3072), _sprawl(20_000, 16_384)),
}


def _timed(rounds: int, work: Callable[[], object]) -> float:
    taken = []
    for _ in range(rounds):
        gc.collect()
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


async def _paint(snapshot: Snapshot) -> None:
    app = Watched(snapshot=snapshot)
    async with app.run_test(size=SIZE) as pilot:
        driver = Driver(app, pilot)
        await driver.rest()
        await driver.press("t", "t", driver.has_tasks)


def _measure(dump: Path, rounds: int) -> tuple[dict[str, float], Snapshot]:
    """Seconds of processor time, by what was done."""
    with open_kernel(detect_target(str(dump))) as kernel:
        request = CaptureRequest.from_kernel(kernel)
        snapshot, later = capture_snapshot(request), capture_snapshot(request)
        taken = {"capture": _timed(rounds, lambda: capture_snapshot(request))}
        stats = CaptureStats()
        capture_snapshot(request, stats=stats)
    taken |= {f"capture, {phase}": seconds for phase, seconds in stats.phases.items()}
    taken["audit"] = _timed(rounds, lambda: run_audit(snapshot))
    taken["diff"] = _timed(rounds, lambda: compare_snapshots(snapshot, later))
    taken["screen"] = _timed(1, lambda: asyncio.run(_paint(snapshot)))
    return taken, snapshot


def main() -> int:
    """Run; 1 if a task costs more on the large machine than is promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--full", action="store_true", help="200,000 threads, in a guest of 16 GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    sizes = _SIZES["full" if arguments.full else "quick"]
    rows: list[Row] = []
    each: list[dict[str, float]] = []
    try:
        for crowd in (sizes.small, sizes.large):
            print(f"scale: {crowd.name}", file=sys.stderr, flush=True)
            taken, snapshot = _measure(dump_of(crowd), arguments.rounds)
            tasks, spaces = len(snapshot.tasks), len(snapshot.mount_namespaces)
            note = (
                f"{len(snapshot.mounts)} mounts in {spaces} namespaces, {len(snapshot.fs_structs)} fs_structs"
            )
            each.append({what: seconds / tasks * 1e6 for what, seconds in taken.items()})
            rows += [Row(what, value, "µs/task", tasks, note) for what, value in each[-1].items()]
    except LabError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 2
    ratios = [
        Ratio(f"{what}: a task of the large / of the small", each[1][what] / value if value else None, bound)
        for what, value in each[0].items()
        for bound in (None if "," in what else _BOUND,)
    ]
    print(as_table(rows, ratios))
    if arguments.json:
        arguments.json.write_text(as_json(rows, ratios, quick=not arguments.full))
    return 1 if any(ratio.holds is False for ratio in ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
