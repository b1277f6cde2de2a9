"""What a user waits for: opening, a whole ``snapshot``, ``--help``; and how much memory that takes."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.report import Row
from bench.timing import Child, child_output, run_child, run_children

__all__ = ("measure_help", "measure_load", "measure_opening", "measure_snapshot")

_ROOT = Path(__file__).parents[1]
_SAMPLE = _ROOT / "explorer" / "samples" / "linux-7.3.elf.zst"
_SCRIPT = _ROOT / "bench" / "straightforward.py"
_TOOL = ("-m", "explorer")

#: Run in a child, so that nothing is imported or read yet but what opening needs; prints seconds.
_OPEN = """
import sys, time, json
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
spec = detect_target(sys.argv[1])
started = time.perf_counter()
kernel = open_kernel(spec)
print(json.dumps({"seconds": time.perf_counter() - started, "build_id": kernel.types.build_id}))
"""
_LOAD = """
import sys, pathlib
from explorer.codec.snapshots import load_snapshot
load_snapshot(pathlib.Path(sys.argv[1]))
"""
#: The same kernel by the usual way: the memory (unpacked beforehand), and all of its debug info.
_OPEN_DWARF = """
import sys, time, json, drgn
started = time.perf_counter()
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
prog.load_debug_info([sys.argv[2]])
prog.type("struct task_struct")
print(json.dumps({"seconds": time.perf_counter() - started}))
"""


def _seconds(arguments: list[str], cache: Path) -> float:
    environment = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(_ROOT)}
    return float(json.loads(child_output(arguments, environment))["seconds"])


def measure_opening(vmlinux: Path | None, rounds: int) -> list[Row]:
    """The sample, without debug info: with and without the cache; and drgn with the DWARF of the same kernel.

    Imports are not counted, on either side.
    """
    opening = ["-c", _OPEN, str(_SAMPLE)]
    taken: dict[str, list[float]] = {"cold": [], "warm": [], "dwarf": []}
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "sample.elf")
        _unpack(_SAMPLE, plain)
        for number in range(rounds):
            cache = Path(scratch, f"cache-{number}")
            taken["cold"].append(_seconds(opening, cache))
            taken["warm"].append(_seconds(opening, cache))
            if vmlinux is not None:
                taken["dwarf"].append(_seconds(["-c", _OPEN_DWARF, str(plain), str(vmlinux)], cache))
    median = {name: statistics.median(times) if times else None for name, times in taken.items()}
    missing = "" if vmlinux else "not available: the lab has no vmlinux (tests.kernels.lab fetch --debug 7.3)"
    return [
        Row("open the sample, cold", median["cold"], "s"),
        Row("open the sample, warm", median["warm"], "s"),
        Row("drgn with the full DWARF of that kernel", median["dwarf"], "s", note=missing),
    ]


def _unpack(packed: Path, plain: Path) -> None:
    import zstandard

    with packed.open("rb") as source, plain.open("wb") as target:
        zstandard.ZstdDecompressor().copy_stream(source, target)


def measure_snapshot(
    dump: Path, name: str, tasks: int, rounds: int, vmlinux: Path | None = None
) -> list[Row]:
    """``snapshot DUMP -o FILE.json.zst`` as a process, from its start to its end; the cache is warm.

    :param vmlinux: run the straightforward script on the dump too, in turns with it
    """
    snapshots: list[Child] = []
    scripts: list[Child] = []
    with tempfile.TemporaryDirectory() as scratch:
        command = [*_TOOL, "snapshot", str(dump), "-o", str(Path(scratch, "snapshot.json.zst"))]
        run_child(command)
        for _ in range(rounds):
            snapshots.append(run_child(command))
            if vmlinux is not None:
                scripts.append(run_child([str(_SCRIPT), str(dump), str(vmlinux)]))
    rows = [
        Row(f"snapshot, end to end: {name}", _median(child.seconds for child in snapshots), "s", tasks=tasks),
        Row(
            f"snapshot, peak memory: {name}", max(child.peak for child in snapshots) / 1e6, "MB", tasks=tasks
        ),
    ]
    if scripts:
        loops = _median(float(child.said.split()[-1]) for child in scripts)
        whole = _median(child.seconds for child in scripts)
        rows += [
            Row(f"straightforward script, end to end: {name}", whole, "s", tasks=tasks),
            Row(f"straightforward script, its loop alone: {name}", loops, "s", tasks=tasks),
        ]
    return rows


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def measure_load(dump: Path, name: str, tasks: int, rounds: int) -> list[Row]:
    """A saved snapshot of that dump read again, as a process."""
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch, "snapshot.json.zst")
        run_children(1, {"make": [*_TOOL, "snapshot", str(dump), "-o", str(saved)]})
        child = run_children(rounds, {"load": ["-c", _LOAD, str(saved)]})["load"]
    return [
        Row(f"load a snapshot: {name}", child.seconds, "s", tasks=tasks),
        Row(f"load a snapshot, peak memory: {name}", child.peak / 1e6, "MB", tasks=tasks),
    ]


def measure_help(rounds: int) -> list[Row]:
    """``--help`` and the least that any such program needs."""
    done = run_children(rounds * 2 + 1, {"help": [*_TOOL, "--help"], "click": ["-c", "import click"]})
    return [
        Row("nullfs-explorer --help", done["help"].seconds * 1e3, "ms"),
        Row('python -c "import click"', done["click"].seconds * 1e3, "ms"),
    ]
