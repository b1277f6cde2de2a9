"""``python -m bench``: measures everything, prints a table; ``--json FILE`` for programs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.capturing import measure_dump, measure_frame, measure_growth, measure_kdump, measure_qmp
from bench.commands import measure_help, measure_load, measure_opening, measure_snapshot
from bench.crash import measure_crash, measure_drgns_crash
from bench.promises import ratios_of
from bench.recording import measure_boot, measure_recording
from bench.report import Row, as_json, as_table
from bench.saved import measure_saved, promises_of_saved
from bench.targets import Crowd, boot_crowd, boot_idle, dump_of, dwarf_of
from bench.timing import kept_bytecode
from bench.tracing import TRACED_LINES, measure_tracing, ratios_of_tracing
from tests.kernels.lab.errors import LabError


@dataclass(frozen=True)
class _Plan:
    """What a run measures: the main target, and the steps of growth with the largest last."""

    main: Crowd
    growth: tuple[Crowd, ...]
    rounds: int
    recorded_s: float
    """Of a guest's own time, recorded in steps."""
    saved: int
    """Tasks in the saved snapshot; and in each frame of a recording that is read again."""
    recorded: int


_FULL = _Plan(
    Crowd("crowd", 20_000, 3072),
    # A guest of its own for each step: what is left of a larger dump would still be a larger dump.
    (Crowd("threads", 1_000, 512), Crowd("threads", 10_000, 1024), Crowd("threads", 100_000, 4096)),
    rounds=5,
    recorded_s=10.0,
    saved=100_000,
    recorded=20_000,
)
_QUICK = _Plan(
    Crowd("crowd", 2_000, 1024),
    (Crowd("threads", 1_000, 512), Crowd("threads", 10_000, 1024)),
    rounds=3,
    recorded_s=5.0,
    saved=20_000,
    recorded=2_000,
)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _measure(plan: _Plan, *, qmp: bool) -> list[Row]:
    rows: list[Row] = []
    _say("making the targets")
    dumps = {crowd: dump_of(crowd) for crowd in (plan.main, *plan.growth)}
    _say(f"capture, {plan.main.name}")
    rows += measure_dump(dumps[plan.main], plan.main.name, plan.rounds, loops=True)
    _say(f"capture, {plan.main.name}, kdump-compressed")
    rows += measure_kdump(dump_of(plan.main, "kdump-zlib"), plan.main.name, plan.rounds)
    _say("growth")
    rows += measure_growth({crowd.name: dump for crowd, dump in dumps.items()}, plan.rounds)
    if qmp:
        for crowd in (plan.main, plan.growth[-1]):
            _say(f"capture over QMP, {crowd.name}")
            with boot_crowd(crowd) as guest:
                rows += measure_qmp(guest.qmp_socket, crowd.name, plan.rounds)
    _say("a recorder's frame")
    with boot_idle() as guest:
        rows += measure_frame(guest.qmp_socket, plan.rounds)
    _say(f"recording, {plan.recorded_s:g} s of a guest and {plan.recorded_s:g} s of a boot")
    rows += measure_recording(plan.recorded_s)
    rows += measure_boot(plan.recorded_s)
    for crowd in (plan.main, plan.growth[-1]):
        _say(f"snapshot, end to end, {crowd.name}")
        script = dwarf_of(crowd.line) if crowd is plan.main else None
        rows += measure_snapshot(dumps[crowd], crowd.name, crowd.tasks, plan.rounds, script)
    rows += measure_load(dumps[plan.growth[-1]], plan.growth[-1].name, plan.growth[-1].tasks, plan.rounds)
    _say("a saved snapshot, a recording, and the start of a command")
    rows += measure_saved(plan.saved, plan.recorded, plan.rounds)
    _say("opening")
    rows += measure_opening(dwarf_of("7.3"), plan.rounds)
    rows += measure_help(plan.rounds)
    _say("crash")
    rows += measure_drgns_crash(dumps[plan.main], plan.main.name, plan.main.tasks)
    for line in TRACED_LINES if qmp else TRACED_LINES[:1]:
        _say(f"lookups in a guest that is traced, {line}")
        rows += measure_tracing(line, plan.rounds)
    rows += measure_crash(plan.main.tasks, plan.main.memory_mb, plan.rounds)
    return rows


def main() -> int:
    """Run; 1 if a promise is broken, which on a noisy machine may be the machine's fault."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="smaller targets, fewer rounds, no large guest over QMP"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    plan = _QUICK if arguments.quick else _FULL
    try:
        with kept_bytecode():
            rows = _measure(plan, qmp=not arguments.quick)
    except (LabError, RuntimeError) as error:
        _say(str(error))
        return 2
    ratios = [
        *ratios_of(rows, plan.main, plan.growth),
        *ratios_of_tracing(rows),
        *promises_of_saved(rows),
    ]
    print(as_table(rows, ratios))
    if arguments.json:
        arguments.json.write_text(as_json(rows, ratios, quick=arguments.quick))
    return 1 if any(ratio.holds is False for ratio in ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
