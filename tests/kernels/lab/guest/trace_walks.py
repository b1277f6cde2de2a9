"""Runs in the guest: trace its live kernel until the file ``/tmp/end`` is there.

``trace_walks.py all`` prints every line of the trace; ``trace_walks.py storm PATH`` only counts the lookups below PATH,
so that writing them out is no part of what is measured, and prints ``SAID`` and what came of it as JSON; ``few PATH``
does so too, with probes that wait for two returns at once.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

from explorer.codec import encode_trace_line
from explorer.model import Lookup
from explorer.tracing import Tracer, events

_END = Path("/tmp/end")


class Counted:
    """Lookups below a path, by what is left of theirs."""

    def __init__(self, path: str) -> None:
        self._path = path + "/"
        self.seen: Counter[str] = Counter()
        self.stacks = self.results = self.others = self.again = 0
        self.wrong: Counter[str] = Counter()

    def add(self, lookup: Lookup) -> None:
        self.stacks += lookup.stack is not None
        self.again += lookup.tries - 1
        self.results += lookup.result is not None
        if not (lookup.path or "").startswith(self._path):
            self.others += 1
            return
        self.seen[(lookup.path or "").removeprefix(self._path)] += 1
        asker = next((frame for frame in lookup.stack or () if frame.module), None)
        if lookup.stack is not None and (asker is None or asker.function != "walker_storm"):
            self.wrong[f"asked by {asker and asker.function}"] += 1
        if lookup.result not in (None, -2):
            self.wrong[f"result {lookup.result}"] += 1


def wait_for_two_returns() -> None:
    """What a busy machine runs into with 256."""
    events.RETURNS = 2


def say(line: bytes) -> None:
    sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    counted = None if sys.argv[1] == "all" else Counted(sys.argv[2])
    if sys.argv[1] == "few":
        wait_for_two_returns()
    _END.unlink(missing_ok=True)
    with Tracer() as tracer:
        tracer.attach()
        say(encode_trace_line(tracer.begin()))
        for lookup in tracer.lookups():
            if lookup is None and _END.exists():
                tracer.stop()
            if lookup is not None and counted is not None:
                counted.add(lookup)
            elif lookup is not None:
                say(encode_trace_line(lookup))
        end, taken = tracer.end("done"), tracer.events()
        say(encode_trace_line(end))
    if counted is not None:
        said = {
            **vars(counted),
            "events": taken,
            "lost": end.events_lost,
            "problems": end.problems,
            "orphans": end.lookups_lost,
            "cpu_s": time.process_time(),
        }
        said["twice"] = sum(number > 1 for number in counted.seen.values())
        said["seen"] = len(counted.seen)
        say(b"SAID " + json.dumps(said).encode())
    say(json.dumps({"notes": tracer.notes}).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
