"""Runs in the guest: what lookups cost before, during and after a trace of its live kernel, by processor time.

``trace_cost.py SECONDS ROUNDS``; prints ``SAID`` and, as JSON, for each round nanoseconds a lookup of a kernel thread
of the module ``walker`` and nanoseconds a ``stat()`` of this process, whose lookups are not asked for; and what the
tracing process itself took for each lookup that it was given.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from explorer.tracing import Tracer

_WALKER = Path("/proc/walker")
_NOWHERE = "/none"
#: A second: more than any machine makes.
_RATE = 10_000_000
_STATS = 20_000


def storm(seconds: int) -> float:
    """Nanoseconds of processor time for each lookup of one kernel thread that does nothing else."""
    _WALKER.write_bytes(f"storm 1 {_RATE} {seconds}\n/storm\0".encode())
    while True:
        time.sleep(0.2)
        said = json.loads(_WALKER.read_text().splitlines()[-1])
        if said["over"]:
            break
    [thread] = said["storm"]
    ran_ns = int(Path(f"/proc/{thread['pid']}/schedstat").read_text().split()[0])
    return ran_ns / int(thread["made"])


def stats() -> float:
    """Nanoseconds of processor time for each ``stat()`` of what is not there."""
    began = time.process_time_ns()
    for _ in range(_STATS):
        try:
            os.stat(_NOWHERE)  # noqa: PTH116  # the system call, and little else
        except FileNotFoundError:
            continue
    return (time.process_time_ns() - began) / _STATS


def measure(seconds: int, rounds: int) -> list[dict[str, float]]:
    # stat() first: what a storm has left is read while the next round begins
    return [{"stat_ns": stats(), "lookup_ns": storm(seconds)} for _ in range(rounds)]


def trace(ready: int, stop: int) -> None:
    """In a child: traces until the pipe is closed; then says how many lookups there were, and what they took."""
    with Tracer() as tracer:
        tracer.attach()
        tracer.begin()
        began, number = time.process_time_ns(), 0
        os.write(ready, b"x")
        os.set_blocking(stop, False)
        for lookup in tracer.lookups():
            number += lookup is not None
            if lookup is None:
                try:
                    if not os.read(stop, 1):
                        tracer.stop()
                except BlockingIOError:
                    continue
        said = {"lookups": number, "lost": tracer.lost(), "ns": time.process_time_ns() - began}
    os.write(ready, json.dumps(said).encode())


def traced(seconds: int, rounds: int) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """As :func:`measure`, while another process traces; and what that says."""
    (told, ready), (wait, stop) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(stop)
        code = 1
        try:
            trace(ready, wait)
            code = 0
        finally:
            os._exit(code)
    os.close(ready)
    os.close(wait)
    os.read(told, 1)
    found = measure(seconds, rounds)
    os.close(stop)
    said = json.loads(os.read(told, 4096))
    os.waitpid(pid, 0)
    return found, said


def main() -> int:
    seconds, rounds = int(sys.argv[1]), int(sys.argv[2])
    before = measure(seconds, rounds)
    during, said = traced(seconds, rounds)
    after = measure(seconds, rounds)
    print("SAID " + json.dumps({"without": before + after, "during": during, "tracer": said}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
