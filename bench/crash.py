"""crash(8) on the same question, where there is one: ``foreach files`` prints root and cwd of every task."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from pathlib import Path

from bench.report import Row
from bench.targets import Crowd, dump_of, dwarf_of

__all__ = ("measure_crash",)

_TIMEOUT_S = 1800.0
#: crash 9.0.2 refuses 7.3 ("invalid structure member offset: module_num_gpl_syms").
_LINE = "6.12"


def _run(vmlinux: Path, dump: Path, commands: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        ["crash", "-s", "--no_scroll", str(vmlinux), str(dump)],
        input=f"{commands}quit\n",
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode or (commands and "ROOT:" not in done.stdout):
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"crash cannot open {_LINE}: {said[-1] if said else 'it says nothing'}")
    return time.perf_counter() - started


def measure_crash(tasks: int, memory_mb: int, rounds: int) -> list[Row]:
    """µs a task of ``foreach files``, without the time crash needs to start; or why there is no figure."""
    what = f"crash, foreach files: {_LINE}"
    if shutil.which("crash") is None:
        return [Row(what, None, "µs/task", note="not available: crash is not installed")]
    vmlinux = dwarf_of(_LINE)
    if vmlinux is None:
        note = f"not available: the lab has no vmlinux (tests.kernels.lab fetch --debug {_LINE})"
        return [Row(what, None, "µs/task", note=note)]
    dump = dump_of(Crowd("crowd", tasks, memory_mb, _LINE))
    try:
        start = statistics.median(_run(vmlinux, dump, "") for _ in range(rounds))
        whole = statistics.median(_run(vmlinux, dump, "foreach files\n") for _ in range(rounds))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return [Row(what, None, "µs/task", note=f"not available: {error}")]
    return [
        Row(what, (whole - start) / tasks * 1e6, "µs/task", tasks=tasks, note=f"after {start:.1f} s to start")
    ]
