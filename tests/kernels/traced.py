"""``nullfs-explorer trace`` inside a guest, while its kernel looks paths up to order."""

from __future__ import annotations

import base64
import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

from explorer.analysis.lookups import Judge, Judged
from explorer.codec import load_trace
from explorer.model import Trace
from explorer.plugin import load_plugins
from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps, wait_until
from tests.kernels.trace_guest import Order, Walk, walk

__all__ = ("TRACEFS", "Traced", "ours_in", "trace_walks", "tracing_state")

TRACEFS = "/sys/kernel/tracing"
_FILE = "/tmp/lookups.jsonl"
#: Where the guest's shell has the tool's /tmp.
_SEEN = "/img" + _FILE
_BEGIN_S = 240.0
#: What tracing is set to: of all, and of the instance of somebody else.
_SETTINGS = (
    *("current_tracer", "set_ftrace_filter", "kprobe_events", "dynamic_events", "set_event", "tracing_on"),
    *("trace_clock", "buffer_size_kb", "set_event_pid", "trace_options", "instances/other/current_tracer"),
    *("instances/other/set_event", "instances/other/trace_clock", "instances/other/buffer_size_kb"),
    *("instances/other/tracing_on", "instances/other/set_event_pid", "instances/other/trace_options"),
)
_OURS = "nullfs_explorer"


@dataclass(frozen=True)
class Traced:
    """One trace of a guest."""

    made: list[Walk]
    """What its kernel did meanwhile."""
    code: int
    printed: str
    trace: Trace
    during: str
    """:func:`tracing_state` while it went on."""

    def judged(self) -> list[Judged]:
        judge = Judge(self.trace.header, load_plugins().plugins)
        return [judge.judge(lookup) for lookup in self.trace.lookups]

    def of(self, made: Walk) -> list[Judged]:
        """The lookups that the trace has of one that was made: by the same task, while it was made."""
        began, ended = made.began_ns / 1e9, made.ended_ns / 1e9
        return [
            judged
            for judged in self.judged()
            if judged.lookup.pid == made.pid and began <= judged.lookup.time_s <= ended
        ]


def tracing_state(guest: Guest) -> str:
    """What tracing is set to, but for what is the tool's own."""
    files = " ".join(_SETTINGS)
    line = f"cd {TRACEFS}; for f in {files}; do echo == $f; cat $f; done; echo == instances; ls -1 instances events"
    rows = run_steps(guest, line).splitlines()
    return "\n".join(row for row in rows if _OURS not in row)


def ours_in(guest: Guest) -> list[str]:
    """What there is of the tool's own in tracefs: instances, events, groups of them."""
    line = f"cd {TRACEFS}; ls -1 instances events; cat dynamic_events kprobe_events"
    return [row for row in run_steps(guest, line).splitlines() if _OURS in row]


def trace_walks(
    guest: Guest,
    *orders: Order,
    how: tuple[str, ...] = (),
    signal: str = "INT",
    options: tuple[str, ...] = (),
    steps: tuple[str, ...] = (),
) -> Traced:
    """Trace, have the kernel make these lookups, and end the trace by a signal.

    :param how: ``@sudo``, for what :meth:`Guest.run_tool` makes of it
    :param options: of the trace
    :param steps: lines of shell that the guest runs meanwhile
    """
    run_steps(guest, f"rm -f {_SEEN}")
    what = ("trace", "live", *options, "--for", "600s", "--format", "jsonl", "-o", _FILE)
    start = guest.start_tool(*how, *what)
    wait_until(guest, f"grep -q header {_SEEN}", _BEGIN_S)
    made = walk(guest, *orders)
    run_steps(guest, *steps)
    during = tracing_state(guest)
    # The process that cleans up has that name too, and ignores it
    pids = "$(grep -lx nullfs-explorer /proc/[0-9]*/comm | cut -d/ -f3)"
    run_steps(guest, f"kill -{signal} {pids}")
    code, printed = guest.end_tool(start)
    packed = base64.b64decode(run_steps(guest, f"gzip -c {_SEEN} | base64"))
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        Path(file.name).write_bytes(gzip.decompress(packed))
        return Traced(made, code, printed, load_trace(Path(file.name)), during)
