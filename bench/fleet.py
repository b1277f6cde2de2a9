"""``python -m bench.fleet``: many targets on this machine, and what is promised of them; 1 if something is not held.

Snapshots of many machines, and slices that differ, are made of the fixtures (:mod:`tests.fleets`). They are read by one
worker and by two, from nothing each time. Besides the figures it compares what the rows say with what the single
commands say: of every slice, and of so many snapshots (``--compared``; 0: of all).

Two workers against one is by the clock, and needs two processors that have nothing else to do; what a target costs is
processor time of all processes together, less that of a run of one target, which is what starting takes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from explorer.fleet import Dataset
from tests.conftest import FIXTURES, capture_file
from tests.fleets import make_slices, make_snapshots, told_otherwise

_FEW = 100
_LEAST_SPEEDUP, _MOST_GROWTH, _MOST_MEMORY_GROWTH = 1.8, 1.10, 1.25


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    targets: int
    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all processes."""
    early: int
    """Bytes of the client when a quarter of the time was over, and at most."""
    peak: int
    size: int
    """Bytes of the dataset."""


def measure(words: list[str], fleet: Path, workers: int) -> Measured:
    """Run ``fleet run``."""
    began = time.perf_counter()
    command = [sys.executable, "-P", "-m", "explorer", "fleet", "run", *words, "-o", str(fleet)]
    process = subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.DEVNULL)
    memory: list[int] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, memory, ended))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"fleet run ended with code {process.returncode}")
    cost = Dataset.open(fleet).table("targets", ["cpu_seconds"])["cpu_seconds"].to_pylist()
    size = sum(path.stat().st_size for path in fleet.rglob("*") if path.is_file())
    quarter = memory[len(memory) // 4] if memory else 0
    # Of the client and the workers; what reads is nobody's child by then, and says itself what it took.
    cpu = usage.ru_utime + usage.ru_stime + sum(cost)
    return Measured(len(cost), wall, cpu, quarter, max(memory, default=0), size)


def _watch(pid: int, memory: list[int], ended: threading.Event) -> None:
    """Bytes that are resident, every fifth of a second."""
    page = os.sysconf("SC_PAGE_SIZE")
    while not ended.wait(0.2):
        try:
            memory.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
        except (OSError, IndexError):  # it has ended
            return


def _row(name: str, run: Measured) -> str:
    memory = f"{run.early / 1e6:>8.0f} {run.peak / 1e6:>6.0f} {run.size / run.targets / 1e3:>9.1f}"
    return f"{name:<34} {run.targets:>6} {run.wall:>9.1f} s {run.cpu:>9.1f} s {memory}"


def _promise(what: str, value: float, bound: float, at_least: bool = False) -> bool:
    held = value >= bound if at_least else value <= bound
    print(
        f"{what:<60} {value:>7.2f}  {'>=' if at_least else '<='} {bound:<5} {'held' if held else 'NOT HELD'}"
    )
    return held


def main() -> int:
    """The exit code: 0 if every promise is held."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--snapshots", type=int, default=5_000)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument(
        "--compared", type=int, default=200, help="snapshots compared with the single commands; 0: all"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nx-fleet-") as directory:
        top = Path(directory)
        snapshots, slices = top / "snapshots", top / "slices"
        snapshots.mkdir()
        slices.mkdir()
        bases = {layout: capture_file(path) for layout, path in FIXTURES.items()}
        named = make_snapshots(snapshots, options.snapshots, bases)
        cut = list(make_slices(slices, options.slices))
        few = [str(path) for path in named[:_FEW]]
        runs = {
            "one snapshot, one worker": measure(few[:1], top / "start", 1),
            "100 snapshots, one worker": measure(few, top / "few", 1),
            "all snapshots, one worker": measure([str(snapshots)], top / "one", 1),
            "all snapshots, two workers": measure([str(snapshots)], top / "two", 2),
        }
        if cut:
            runs["all slices, two workers"] = measure([str(slices)], top / "cut", 2)
        print(f"{'':<34} targets      wall   processors  early MB  peak  kB/target")
        for name, run in runs.items():
            print(_row(name, run))
        step = max(1, len(named) // options.compared) if options.compared else 1
        told = [line for path in named[::step] for line in told_otherwise(Dataset.open(top / "two"), path)]
        told += [line for path in cut for line in told_otherwise(Dataset.open(top / "cut"), path)]
        print("\n".join(told[:20]))
        return 0 if _judge(runs) and not told else 1


def _judge(runs: dict[str, Measured]) -> bool:
    start, few, one, two = list(runs.values())[:4]
    each = [(run.cpu - start.cpu) / (run.targets - 1) for run in (few, one)]
    print(f"a snapshot: {each[1] * 1e3:.1f} ms of a processor")
    if "all slices, two workers" in runs:
        cut = runs["all slices, two workers"]
        print(f"a slice: {(cut.cpu - start.cpu) / cut.targets * 1e3:.1f} ms of a processor")
    held = [
        _promise("two workers are so many times as fast as one", one.wall / two.wall, _LEAST_SPEEDUP, True),
        _promise(
            f"a target of {one.targets:,} costs so many times one of 100", each[1] / each[0], _MOST_GROWTH
        ),
        _promise(
            "the client's memory at its most, by a quarter of the way",
            two.peak / two.early,
            _MOST_MEMORY_GROWTH,
        ),
    ]
    return all(held)


if __name__ == "__main__":
    sys.exit(main())
