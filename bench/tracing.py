"""What a trace costs those who look paths up, in guests: kernel threads that are traced, and programs that are not.

``python -m bench.tracing`` measures that alone; ``make bench`` does it, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from bench.report import Ratio, Row, as_table
from tests.kernels.lab import Guest, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.trace_guest import load_walker

__all__ = ("TRACED_LINES", "measure_tracing", "ratios_of_tracing")

#: fprobe events, and kprobe events.
TRACED_LINES = ("7.3", "6.1")
_SECONDS, _TIMEOUT_S = 2, 1500.0


def _names(line: str) -> dict[str, str]:
    return {
        "lookup": f"a lookup by a kernel thread, not traced, {line}",
        "traced": f"a lookup by a kernel thread, traced, {line}",
        "stat": f"stat() by a program, {line}",
        "beside": f"stat() by a program beside a trace of kernel threads, {line}",
        "tracer": f"the tracing process, for a lookup, {line}",
    }


def measure_tracing(line: str, rounds: int) -> list[Row]:
    """Processor time within one guest, before, during and after a trace; the guest is emulated where there is no KVM.

    :raises RuntimeError: if the guest says nothing of it
    """
    guest, said = boot_until(lambda: boot_live(line, "walked"), lambda made: _measured(made, rounds), line)
    guest.close()
    names, tracer = _names(line), said["tracer"]
    note = f"{tracer['lookups']} lookups caught, {tracer['lost']} events lost"

    def median(when: str, what: str) -> float:
        values: list[float] = [each[what] for each in said[when]]
        return statistics.median(values) / 1e3

    return [
        Row(names["lookup"], median("without", "lookup_ns"), "µs"),
        Row(names["traced"], median("during", "lookup_ns"), "µs", note=note),
        Row(names["stat"], median("without", "stat_ns"), "µs"),
        Row(names["beside"], median("during", "stat_ns"), "µs"),
        Row(names["tracer"], tracer["ns"] / 1e3 / tracer["lookups"] if tracer["lookups"] else None, "µs"),
    ]


def _measured(guest: Guest, rounds: int) -> dict[str, Any]:
    load_walker(guest)
    arguments = ("@script", "/app/trace_cost.py", str(_SECONDS), str(rounds))
    code, printed = guest.run_tool(*arguments, timeout_s=_TIMEOUT_S)
    rows = [row for row in printed.splitlines() if row.startswith("SAID ")]
    if code or len(rows) != 1:
        raise RuntimeError(f"trace_cost.py ended with {code}: {printed[-500:]}")
    said: dict[str, Any] = json.loads(rows[0].removeprefix("SAID "))
    return said


def ratios_of_tracing(rows: list[Row]) -> list[Ratio]:
    """Of lines that were measured; nothing is promised."""
    value = {row.what: row.value for row in rows}
    ratios = []
    for line in TRACED_LINES:
        names = _names(line)
        for above, below in (("traced", "lookup"), ("beside", "stat")):
            over, under = value.get(names[above]), value.get(names[below])
            if over is not None and under:
                ratios.append(Ratio(f"{names[above]} / without", over / under, None))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tracing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows = [row for line in TRACED_LINES for row in measure_tracing(line, rounds)]
    print(as_table(rows, ratios_of_tracing(rows)))


if __name__ == "__main__":
    main()
