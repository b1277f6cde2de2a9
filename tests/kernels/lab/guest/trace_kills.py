"""Runs in the guest: traces of its live kernel, each killed by SIGKILL at a random moment, together with what would
clean up after it; then the next start. Prints ``SAID`` and, for each kill, what was left before that start and after.

``trace_kills.py COUNT SEED``
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from explorer.tracing import Tracer, remove_stale

_TRACEFS = Path("/sys/kernel/tracing")
_OURS = "nullfs_explorer_"
_CLEANS_S = 60.0


def ours() -> list[str]:
    """What there is of the tool's own in tracefs."""
    names = [path.name for place in ("instances", "events") for path in (_TRACEFS / place).iterdir()]
    rows = (_TRACEFS / "dynamic_events").read_text().splitlines()
    return [row for row in (*names, *rows) if _OURS in row]


def trace_for_ever(ready: int) -> None:
    with Tracer() as tracer:
        tracer.attach()
        tracer.begin()
        os.write(ready, b"x")
        for _ in tracer.lookups():
            pass


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def start_one() -> tuple[int, int]:
    """Its pid, and the pipe that says when it records."""
    read, ready = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            trace_for_ever(ready)
        finally:
            os._exit(1)
    os.close(ready)
    return pid, read


def kill_all(pid: int) -> None:
    """The tracing process is stopped first, so that no child of it comes meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "TtZ":
        time.sleep(0.001)
    for each in (*children_of(pid), pid):
        os.kill(each, signal.SIGKILL)
    os.waitpid(pid, 0)


def kill_alone() -> list[str]:
    """What is there some time after the tracing process alone was killed: the one that cleans up lives."""
    pid, read = start_one()
    os.read(read, 1)
    assert ours()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    deadline = time.monotonic() + _CLEANS_S
    while ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    return ours()


def main() -> int:
    count, chance = int(sys.argv[1]), random.Random(int(sys.argv[2]))
    began = time.monotonic()
    pid, read = start_one()
    os.read(read, 1)
    takes = time.monotonic() - began
    kill_all(pid)
    os.close(read)
    said = []
    for number in range(count):
        remove_stale(_TRACEFS)
        assert not ours()
        pid, read = start_one()
        after = chance.uniform(0, 2 * takes)
        if number:
            time.sleep(after)
        else:
            os.read(read, 1)  # there is something for certain
        kill_all(pid)
        os.close(read)
        left = ours()
        removed, still = remove_stale(_TRACEFS)
        said.append({"after_s": after, "left": left, "removed": removed, "still": still, "there": ours()})
    print("SAID " + json.dumps({"takes_s": takes, "kills": said, "alone": kill_alone()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
