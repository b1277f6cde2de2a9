"""What is saved, opened again: a large snapshot, a large recording, and the start of a command.

No guest is booted for this: the snapshot is that of :mod:`bench.tui_data`, the recording is 20 frames of it in which
all clocks move and every thousandth task changes. ``python -m bench.saved`` measures this alone. What one thread does
is measured by its processor time; what a user waits for, by the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Ratio, Row, as_table
from bench.timing import child_output, kept_bytecode, run_children
from bench.tui_data import scale_up, write_scaled
from explorer.codec import load_snapshot
from explorer.model import Snapshot
from tests.tui.test_terminal import Terminal
from tests.unit.recordings import write_recording

__all__ = ("measure_saved", "promises_of_saved")

_SOURCE = Path(__file__).parents[1] / "tests" / "tui" / "data" / "lively.json.zst"
_BOOT = Path(__file__).parents[1] / "tests" / "data" / "boot-7.3.nxrec"
_FRAMES = 20
#: The first word of the verdict of the snapshot that is scaled up.
_VERDICT = b"ISOLATED"

_LOAD = (
    "import sys, pathlib; from explorer.codec import load_snapshot; load_snapshot(pathlib.Path(sys.argv[1]))"
)
#: Run in a child of its own; prints seconds.
_SAVED = """
import gc, json, sys, time
from pathlib import Path
from explorer.codec import load_snapshot, write_json
from explorer.output import open_output
found = {}
def clock(name, do, now=time.process_time):
    started = now()
    done = do()
    found[name] = now() - started
    return done
load_snapshot(Path(sys.argv[2]))  # imports, and what is made once
snapshot = clock("load", lambda: load_snapshot(Path(sys.argv[1])))
def write():
    with open_output(Path(sys.argv[3])) as out:
        write_json(snapshot, out)
clock("write", write, time.perf_counter)
import zstandard
text = zstandard.ZstdDecompressor().decompressobj().decompress(Path(sys.argv[1]).read_bytes())
gc.disable()
clock("json", lambda: json.loads(text))
from explorer.analysis.query import parse_query
from explorer.analysis.diff import diff_snapshots
query = parse_query("kind:kernel or users>=2 not root:chroot")
clock("query", lambda: sum(map(query.bind(snapshot), snapshot.tasks)))
other = load_snapshot(Path(sys.argv[3]))
clock("diff", lambda: diff_snapshots(snapshot, other))
print(json.dumps(found))
"""
_TIMELINE = """
import json, os, sys, time
from pathlib import Path
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # as the command has it
from explorer.analysis.timeline import build_timeline
from explorer.recording import Recording
started = time.process_time()
with Recording.open(Path(sys.argv[1])) as recording:
    build_timeline(recording.still_frames())
print(json.dumps(time.process_time() - started))
"""
#: What the screen does before it shows a recording; imports, and what is made once, aside.
_OPENED = """
import json, sys, time
from pathlib import Path
from explorer.tui.session import Playback
def show(path):
    playback = Playback.open(Path(path))
    playback.snapshot(playback.index)
    playback.changes(playback.before(playback.index), playback.index)
show(sys.argv[2])
started = time.process_time()
show(sys.argv[1])
print(json.dumps(time.process_time() - started))
"""
#: Each rule that finds something in the last frame is asked of every frame before, as the screen does for the first one
#: that has a finding; the median of the rules.
_AUDITED = """
import json, statistics, sys, time
from pathlib import Path
from explorer.analysis import run_audit
from explorer.plugin import PluginSet
from explorer.tui.session import Playback
plugins = PluginSet()
playback = Playback.open(Path(sys.argv[1]))
findings = run_audit(playback.snapshot(playback.index), plugins.plugins).findings
taken = []
for finding in {found.rule: found for found in findings}.values():
    started = time.process_time()
    playback.first_with(finding, plugins)
    taken.append(time.process_time() - started)
print(json.dumps(statistics.median(taken)))
"""
#: Two frames compared, as the command does that is given both.
_COMPARED = """
import json, sys, time
from explorer.analysis.diff import diff_snapshots
from explorer.reading import load_frames
from explorer.targets import detect_target
def compare(*named):
    frames = load_frames(*map(detect_target, named))
    diff_snapshots(*(snapshot for snapshot, _ in frames))
compare(sys.argv[2], sys.argv[2])
started = time.process_time()
compare(sys.argv[1] + "@#3", sys.argv[1] + "@#19")
print(json.dumps(time.process_time() - started))
"""


def measure_saved(tasks: int, recorded: int, rounds: int) -> list[Row]:
    """:param recorded: tasks in each frame of the recording"""
    with tempfile.TemporaryDirectory() as scratch:
        saved, small, again = (
            Path(scratch, "s.json.zst"),
            Path(scratch, "t.json.zst"),
            Path(scratch, "u.json.zst"),
        )
        write_scaled(_SOURCE, tasks, saved)
        write_scaled(_SOURCE, 200, small)
        words = ["-c", _SAVED, *map(str, (saved, small, again))]
        peak = run_children(1, {"load": ["-c", _LOAD, str(saved)]})["load"].peak
        taken = [json.loads(child_output(words)) for _ in range(rounds)]
        shown = [_first_paint(saved, Path(scratch)) for _ in range(rounds)]
        recording = Path(scratch, "r.nxrec")
        write_recording(recording, _frames(recorded))
        opened = [float(child_output(["-c", _OPENED, str(recording), str(_BOOT)])) for _ in range(rounds)]
        timeline = [float(child_output(["-c", _TIMELINE, str(recording)])) for _ in range(rounds)]
        audited = [float(child_output(["-c", _AUDITED, str(recording)])) for _ in range(rounds)]
        compared = [float(child_output(["-c", _COMPARED, str(recording), str(_BOOT)])) for _ in range(rounds)]
    median = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
    names = {
        "load": "saved snapshot: load",
        "write": "saved snapshot: write again, .json.zst",
        "json": "saved snapshot: json.loads of its text, alone",
        "query": "saved snapshot: a query, from its parse to its last task",
        "diff": "saved snapshot: compared with a second one",
    }
    return [
        *(Row(what, median[name], "s", tasks) for name, what in names.items()),
        Row("saved snapshot: peak memory, loaded", peak / 1e6, "MB", tasks),
        Row(
            "saved snapshot: from starting the command to the overview", statistics.median(shown), "s", tasks
        ),
        Row(
            f"timeline of {_FRAMES} frames, a task and frame",
            statistics.median(timeline) / _FRAMES / recorded * 1e6,
            "µs",
            recorded,
        ),
        Row(
            f"recording of {_FRAMES} frames: opened, up to a frame", statistics.median(opened), "s", recorded
        ),
        Row(
            f"one rule asked of {_FRAMES} frames, a task and frame",
            statistics.median(audited) / _FRAMES / recorded * 1e6,
            "µs",
            recorded,
        ),
        Row("two frames of a recording, read and compared", statistics.median(compared), "s", recorded),
        *_measure_start(rounds),
    ]


def _first_paint(saved: Path, home: Path) -> float:
    started = time.perf_counter()
    terminal = Terminal(home, str(saved))
    try:
        terminal.wait_for(_VERDICT)
        return time.perf_counter() - started
    finally:
        terminal.end()


def _frames(tasks: int) -> list[Snapshot]:
    found = [scale_up(load_snapshot(_SOURCE), tasks)]
    for number in range(1, _FRAMES):
        later = [
            task.model_copy(
                update={
                    "waiting_s": None if task.waiting_s is None else round(task.waiting_s + 0.05, 3),
                    "state": "R" if place % 1000 == number else task.state,
                }
            )
            for place, task in enumerate(found[-1].tasks)
        ]
        found.append(found[-1].model_copy(update={"tasks": later}))
    return found


def _measure_start(rounds: int) -> list[Row]:
    """The least that such a program needs, and the whole of a command on the sample; types are cached."""
    tasks = ["-m", "explorer", "tasks", "sample"]
    commands = {"tasks": tasks, "imports": ["-c", "import drgn, pydantic"]}
    run_children(1, commands)
    done = run_children(rounds + 1, commands)
    return [
        Row("tasks sample, as a process", done["tasks"].seconds, "s"),
        Row('python -c "import drgn, pydantic"', done["imports"].seconds, "s"),
    ]


def promises_of_saved(rows: list[Row]) -> list[Ratio]:
    """What is promised of these figures. Seconds are those of an idle machine."""
    value = {row.what: row.value for row in rows}
    of_json = value.get("saved snapshot: json.loads of its text, alone")

    def over_json(name: str) -> float | None:
        of = value.get(f"saved snapshot: {name}")
        return None if of is None or not of_json else of / of_json

    start, least = value.get("tasks sample, as a process"), value.get('python -c "import drgn, pydantic"')
    return [
        Ratio("saved snapshot, load / json.loads of its text", over_json("load"), 1.2),
        Ratio("saved snapshot, write / json.loads of its text", over_json("write again, .json.zst"), 1.0),
        Ratio("saved snapshot, load: seconds", value.get("saved snapshot: load"), 0.6),
        Ratio("saved snapshot, loaded: MB", value.get("saved snapshot: peak memory, loaded"), 200),
        Ratio("saved snapshot, written: seconds", value.get("saved snapshot: write again, .json.zst"), 0.4),
        Ratio(
            "saved snapshot, started to shown: seconds",
            value.get("saved snapshot: from starting the command to the overview"),
            1.0,
        ),
        Ratio(
            f"timeline, a task and frame of {_FRAMES}: µs",
            value.get(f"timeline of {_FRAMES} frames, a task and frame"),
            1.25,
        ),
        Ratio(
            f"one rule asked of {_FRAMES} frames, a task and frame: µs",
            value.get(f"one rule asked of {_FRAMES} frames, a task and frame"),
            1.25,
        ),
        Ratio(
            "recording, two frames read and compared: seconds",
            value.get("two frames of a recording, read and compared"),
            0.5,
        ),
        Ratio(
            "recording, opened up to a frame: seconds",
            value.get(f"recording of {_FRAMES} frames: opened, up to a frame"),
            0.5,
        ),
        Ratio(
            "tasks sample / import drgn, pydantic", None if start is None or not least else start / least, 3
        ),
    ]


def main() -> int:
    """Run; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.saved", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--recorded", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with kept_bytecode():
        rows = measure_saved(arguments.tasks, arguments.recorded, arguments.rounds)
    ratios = promises_of_saved(rows)
    print(as_table(rows, ratios))
    return 1 if any(ratio.holds is False for ratio in ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
