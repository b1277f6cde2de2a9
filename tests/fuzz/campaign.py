"""Many cases over several processes, and what came of them."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from .worker import Case, Result, Worker

__all__ = ("Summary", "run_cases")

_SAID_EACH = 1000


@dataclass(slots=True)
class Summary:
    """Counts by mutator and outcome, the dearest cases, and all failures."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[Result] = field(default_factory=list)
    slowest: Result | None = None
    largest: Result | None = None
    cases: int = 0

    def add(self, result: Result) -> None:
        self.cases += 1
        self.counts[result.mutator][result.outcome] += 1
        if result.failure is not None:
            self.failures.append(result)
        if self.slowest is None or result.seconds > self.slowest.seconds:
            self.slowest = result
        if self.largest is None or result.rss > self.largest.rss:
            self.largest = result

    def as_dict(self) -> dict[str, Any]:
        """Counts by mutator and outcome, and the failures, as JSON has them."""
        return {"counts": self.counts, "failures": [result.as_dict() for result in self.failures]}

    def lines(self) -> Iterator[str]:
        """A table: mutators down, outcomes across."""
        outcomes = sorted({outcome for counts in self.counts.values() for outcome in counts})
        yield f"{'MUTATOR':18}" + "".join(f"{outcome.upper():>15}" for outcome in outcomes)
        for mutator, counts in sorted(self.counts.items()):
            yield f"{mutator:18}" + "".join(f"{counts[outcome] or '':>15}" for outcome in outcomes)
        total = sum(self.counts.values(), Counter[str]())
        yield f"{'all':18}" + "".join(f"{total[outcome]:>15}" for outcome in outcomes)
        if self.slowest is not None and self.largest is not None:
            yield (
                f"{self.cases} cases; worst time {self.slowest.seconds:.2f} s ({self.slowest.mutator}, case "
                f"{self.slowest.number}); worst memory {self.largest.rss >> 20} MB ({self.largest.mutator}, "
                f"case {self.largest.number}); {len(self.failures)} failures"
            )


def run_cases(seed: int, cases: Iterable[Case], jobs: int = 1, progress: TextIO | None = None) -> Summary:
    """Run the cases, every ``jobs``-th in one process."""
    wanted = list(cases)
    pipes = [_start(seed, wanted[job::jobs]) for job in range(min(jobs, len(wanted)))]
    summary = Summary()
    streams = [os.fdopen(descriptor, encoding="utf-8") for _, descriptor in pipes]
    pending = list(streams)
    while pending:
        for stream in list(pending):
            line = stream.readline()
            if not line:
                pending.remove(stream)
                continue
            result = Result(**json.loads(line))
            summary.add(result)
            if progress is not None:
                _say_progress(summary, len(wanted), progress)
            if result.failure is not None and progress is not None:
                print(_describe(seed, result), file=progress, flush=True)
    for (pid, _), stream in zip(pipes, streams, strict=True):
        stream.close()
        _, status = os.waitpid(pid, 0)
        if status or summary.cases != len(wanted):
            raise RuntimeError(f"a worker ended with status {status} after {summary.cases} cases")
    return summary


def _say_progress(summary: Summary, wanted: int, progress: TextIO) -> None:
    """On a terminal after each case, in a log now and then: what runs for hours has to say that it does."""
    if progress.isatty():
        print(f"\r{summary.cases}/{wanted}", end="", file=progress, flush=True)
    elif summary.cases % _SAID_EACH == 0:
        print(f"{summary.cases} of {wanted}, {len(summary.failures)} failures", file=progress, flush=True)


def _describe(seed: int, result: Result) -> str:
    again = f"python -m tests.fuzz --seed {seed} --only {result.mutator} --case {result.number}"
    return f"FAILED {result.mutator}: {result.failure}\n  again: {again}   ({result.command})"


def _start(seed: int, cases: list[Case]) -> tuple[int, int]:
    """A process that runs these cases and writes a line for each."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        worker = Worker(seed)
        with os.fdopen(writing, "w", encoding="utf-8") as out:
            for case in cases:
                out.write(json.dumps(worker.run(case).as_dict()) + "\n")
                out.flush()
        worker.close()
        status = 0
    except BaseException:  # noqa: BLE001 - the end of a child: printed, and the status says it
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)
