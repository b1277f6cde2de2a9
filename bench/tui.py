"""``python -m bench.tui``: the screen on 100,000 tasks. Prints a table with its bounds; ``--json FILE`` for programs.

The snapshot is the sample's, scaled up (:mod:`bench.tui_data` says how). The real app is driven without a terminal, and
a figure is the time from a key to the end of the paint that shows what it did; beside it stands the processor time of
the same, which is what is left of it on a machine that has nothing else to do. "Busy" are
frames while the findings are still looked for and columns made in the background; all others after "tasks, first
paint" are of an app at rest. DataTable is measured on 10,000 rows, because it takes minutes for more; ``--full``
measures it on all rows too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.tui_app import SIZE, Moment, measure_app
from bench.tui_data import scale_up, with_containers
from bench.tui_datatable import measure_datatable
from bench.tui_tables import MEASURED, measure_tables
from explorer.codec import load_snapshot, write_json
from explorer.model import Snapshot
from explorer.output import open_output
from tests.tui.conftest import SAVED
from tests.tui.later import make_later

_TASKS = int(os.environ.get("XT", 100_000))
_FEWER = 10_000
_NAMESPACES = int(os.environ.get("XN", 1_000))
#: What is promised at 100,000 tasks, in milliseconds, of the 95th percentile.
BOUNDS = {
    "first paint": 1500.0,
    "tasks, first paint": 1500.0,
    "filter keystroke": 100.0,
    "sort": 300.0,
    "scrolled frame": 50.0,
    "completion": 100.0,
    "mark a row": 50.0,
    "mark all rows": 300.0,
    "column chooser opens": 300.0,
    "column chooser, a key": 100.0,
    "column chooser, taken": 300.0,
}


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def _median(moments: Sequence[Moment]) -> float:
    return statistics.median(each.wall for each in moments)


def make_row(what: str, tasks: int, moments: Sequence[Moment]) -> dict[str, Any]:
    values, cpu = [each.wall for each in moments], [each.cpu for each in moments]
    bound = BOUNDS.get(what.rpartition(": ")[2]) if tasks == _TASKS else None
    return {
        "what": what,
        "tasks": tasks,
        "times": len(values),
        "median_ms": round(statistics.median(values), 1),
        "p95_ms": round(_p95(values), 1),
        "max_ms": round(max(values), 1),
        "cpu_p95_ms": round(_p95(cpu), 1),
        "bound_ms": bound,
        "holds": None if bound is None else _p95(values) <= bound,
    }


def _through_a_file(snapshot: Snapshot) -> tuple[Snapshot, float]:
    """The snapshot as it is read back from a file, and how many milliseconds that took."""
    with tempfile.TemporaryDirectory(prefix="nullfs-explorer-bench-") as directory:
        path = Path(directory) / "scaled.json.zst"
        with open_output(path) as out:
            write_json(snapshot, out)
        start = perf_counter()
        return load_snapshot(path), (perf_counter() - start) * 1000


def _ratios(ours: dict[str, list[Moment]], theirs: dict[str, float], rows: int) -> list[dict[str, Any]]:
    pairs = {"first paint": "tasks, first paint", "sort": "sort", "filter keystroke": "filter keystroke"}
    return [
        {
            "what": f"DataTable, {what}",
            "rows": rows,
            "datatable_ms": round(theirs[what], 1),
            "ours_median_ms": round(_median(ours[own]), 1),
            "ratio": round(theirs[what] / _median(ours[own]), 1),
        }
        for what, own in pairs.items()
    ]


def _print(document: dict[str, Any]) -> None:
    print(f"Python {document['python']}, a screen of {document['size']}, load average {document['load']}\n")
    heads = f"{'median':>9}{'p95':>9}{'max':>9}{'cpu p95':>9}{'bound':>8}  holds"
    print(f"{'milliseconds':<35}{'tasks':>8}{'times':>7}{heads}")
    for row in document["figures"]:
        bound = "" if row["bound_ms"] is None else f"{row['bound_ms']:.0f}"
        verdict = {True: "yes", False: "NO", None: ""}[row["holds"]]
        print(
            f"{row['what']:<35}{row['tasks']:>8}{row['times']:>7}{row['median_ms']:>9.1f}{row['p95_ms']:>9.1f}"
            f"{row['max_ms']:>9.1f}{row['cpu_p95_ms']:>9.1f}{bound:>8}  {verdict}"
        )
    print(f"\n{'against DataTable':<30}{'rows':>8}{'DataTable':>11}{'ours':>9}{'ratio':>8}")
    for row in document["ratios"]:
        print(
            f"{row['what']:<30}{row['rows']:>8}{row['datatable_ms']:>11.1f}{row['ours_median_ms']:>9.1f}"
            f"{row['ratio']:>8.1f}"
        )


def main() -> int:
    """Measure and print; 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.tui", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--tables", nargs="*", choices=MEASURED, help="each table alone; or those named")
    parser.add_argument("--full", action="store_true", help=f"DataTable on {_TASKS} rows too: takes minutes")
    arguments = parser.parse_args()
    saved = load_snapshot(SAVED)
    figures, ratios = [], []
    for tasks in (_FEWER, _TASKS) if arguments.tables is None else ():
        _say(f"a snapshot of {tasks} tasks")
        snapshot, read_ms = _through_a_file(scale_up(saved, tasks))
        _say(f"read from its file in {read_ms:.0f} ms; the app")
        ours = measure_app(snapshot)
        figures += [make_row(what, tasks, values) for what, values in ours.items()]
        if tasks == _FEWER or arguments.full:
            _say(f"DataTable on {tasks} rows")
            ratios += _ratios(ours, measure_datatable(snapshot), tasks)
    _say(f"{_TASKS} tasks in {_NAMESPACES} more mount namespaces, for the other tables")
    crowds = [with_containers(scale_up(each, _TASKS), _NAMESPACES) for each in (saved, make_later(saved))]

    def keep(name: str, found: dict[str, list[Moment]]) -> None:
        rows = [make_row(f"{name}: {what}", _TASKS, values) for what, values in found.items()]
        _say("   ".join(f"{row['what']} {row['p95_ms']}" for row in rows))
        figures.extend(rows)
        gc.collect()

    measure_tables(crowds[0], crowds[1], arguments.tables or MEASURED, keep)
    document = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "figures": figures,
        "ratios": ratios,
    }
    _print(document)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if any(row["holds"] is False for row in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
