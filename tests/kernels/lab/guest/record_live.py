"""Runs in the guest: record its live kernel while a child chroots, and print as JSON what came of it.

What the recorder may do while it records is read from its ``/proc/PID/status``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from explorer.recording.reader import Recording

_TOOL = (sys.executable, "-m", "explorer")
_WANDERER = "wanderer"
_START_S = 240.0
_SHOWN = ("Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Umask")


def start_wanderer(where: str) -> tuple[int, int]:
    """A child that chroots when it is told to; its pid, and the pipe to tell it."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        Path("/proc/self/comm").write_text(_WANDERER)
        os.close(write)
        os.read(read, 1)
        os.chroot(where)
        os.chdir("/")
        while True:
            signal.pause()
    os.close(read)
    return pid, write


def wait_for_frames(path: Path, number: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if path.exists():
            with Recording.open(path) as recording:
                if len(recording) >= number:
                    return
        time.sleep(0.1)
    raise TimeoutError(f"{path} has no {number} frames after {_START_S:g} s")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: values[name] for name in _SHOWN}


def roots(path: Path, pid: int) -> list[list[object] | None]:
    """For each frame: mount and dentry of the root of that task."""
    found: list[list[object] | None] = []
    with Recording.open(path) as recording:
        for frame in recording.frames():
            assert frame.snapshot is not None
            tasks = [task for task in frame.snapshot.tasks if task.pid == pid and task.comm == _WANDERER]
            fs = frame.snapshot.fs_by_address.get(tasks[0].owned_fs or 0) if tasks else None
            found.append(None if fs is None or fs.root is None else [fs.root.mount, fs.root.dentry])
    return found


def main() -> None:
    path = Path("/tmp/live.nxrec")
    pid, pipe = start_wanderer("/tmp")
    words = [*_TOOL, "record", "live", "--no-cache", "-o", str(path), *sys.argv[1:]]
    recorder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for_frames(path, 2)
        # It waits; what records is its child.
        (child,) = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text().split()
        status = status_of(int(child))
        os.write(pipe, b"x")
        said, _ = recorder.communicate()
    finally:
        recorder.kill()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    timeline = subprocess.run([*_TOOL, "timeline", "--json", str(path)], capture_output=True, check=True)
    with Recording.open(path) as recording:
        document = {
            "code": recorder.returncode,
            "said": said,
            "status": status,
            "mode": path.stat().st_mode & 0o777,
            "wanderer": pid,
            "roots": roots(path, pid),
            "times": recording.times,
            "end": recording.end and recording.end.code,
            "timeline": json.loads(timeline.stdout),
            "last": recording.snapshot_at(None).model_dump(mode="json"),
        }
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
