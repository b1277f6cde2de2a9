"""Clocks: medians of rounds in this process, and what a child process costs."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ("Child", "child_output", "kept_bytecode", "medians", "run_child", "run_children")


@contextmanager
def kept_bytecode() -> Iterator[None]:
    """Children find their bytecode, as those of whoever has installed this do, whatever this machine's settings are."""
    with tempfile.TemporaryDirectory(prefix="nullfs-explorer-bench-") as directory:
        os.environ |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": directory}
        yield


def medians(rounds: int, measured: Mapping[str, Callable[[], float | None]]) -> dict[str, float]:
    """The median of each, in seconds; they take turns, so that a noisy minute is in all of them.

    :param measured: name -> does it once; returns the seconds it took, or ``None`` to have the call timed
    """
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, run in measured.items():
            gc.collect()
            started = time.perf_counter()
            own = run()
            elapsed = time.perf_counter() - started
            taken[name].append(elapsed if own is None else own)
    return {name: statistics.median(times) for name, times in taken.items()}


@dataclass(frozen=True)
class Child:
    """A process that has ended: seconds from start to end, and the most memory it had at one time, in bytes."""

    seconds: float
    peak: int
    said: str = ""
    """On stderr."""


#: A process takes over the peak of the one that started it, so a small one does that.
_START = """
import json, os, sys, time
started = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=quiet)
_, status, usage = os.wait4(pid, 0)
taken = time.perf_counter() - started
print(json.dumps([taken, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]))
"""


def run_child(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
    """Run this Python with ``arguments``. :raises RuntimeError: if it fails; with what it said"""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _START, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    seconds, peak, code = json.loads(done.stdout)
    if code not in (0, 4):  # 4: captured with errors
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return Child(seconds, peak, done.stderr)


def run_children(
    rounds: int, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str] | None = None
) -> dict[str, Child]:
    """Each command ``rounds`` times in turn: median seconds, and the highest peak."""
    done: dict[str, list[Child]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            done[name].append(run_child(arguments, environment))
    return {
        name: Child(statistics.median(child.seconds for child in runs), max(child.peak for child in runs))
        for name, runs in done.items()
    }


def child_output(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What this Python prints with ``arguments``."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    return done.stdout
