"""``python -m tests.fuzz``: run cases, or one case again."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

from .campaign import run_cases
from .terminal import SESSIONS, run_session, run_sessions
from .worker import MUTATORS, Case, Worker, cases_of

__all__ = ("main",)


def main() -> int:
    """The exit code: 0 if every case ended as it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--only", choices=(*MUTATORS, SESSIONS), action="append", help="only this mutator; repeatable"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=300.0,
        help=f"how long --only {SESSIONS} goes on, which has no cases to count",
    )
    parser.add_argument(
        "--case", type=int, default=None, help="run one case of --only again, and show what it was"
    )
    parser.add_argument(
        "--json", type=Path, default=None, metavar="FILE", help="counts and failures, for programs"
    )
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    if SESSIONS in (options.only or ()):
        return _terminal(seed, options.case, options.seconds)
    if options.case is not None:
        if options.only is None or len(options.only) != 1:
            parser.error("--case goes with one --only MUTATOR")
        worker = Worker(seed)
        try:
            result = worker.run(Case(options.only[0], options.case), debug=True)
        finally:
            worker.close()
        print(f"{result.mutator}: {result.command}\n{result.outcome}: {result.failure}")
        return int(result.failure is not None)
    print(f"seed {seed}, {options.cases} cases, {options.jobs} at a time", flush=True)
    summary = run_cases(seed, cases_of(options.cases, options.only or ()), options.jobs, sys.stderr)
    for line in summary.lines():
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(summary.as_dict()))
    return int(bool(summary.failures))


def _terminal(seed: int, case: int | None, seconds: float) -> int:
    """Random bytes into the terminal of the app; the exit code."""
    print(f"seed {seed}", flush=True)
    if case is None:
        sessions = run_sessions(seed, seconds, sys.stderr)
    else:
        sessions = [run_session(seed, case)]
        for failure in sessions[0].failures:
            print(failure)
    failed = sum(bool(session.failures) for session in sessions)
    sent, stopped = (sum(getattr(session, what) for session in sessions) for what in ("sent", "stopped"))
    print(f"{len(sessions)} sessions, {sent} bytes, stopped {stopped} times; {failed} failures")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
