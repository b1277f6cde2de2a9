"""Runs the command once for every row of a matrix, in a process forked from this one: ``-m tests.unit.cli.matrix``.

Reads cases as JSON lines, writes what came of each as JSON lines. The fork has all modules already, so that a case
takes a fraction of what the start of a Python takes; its streams are closed, full or pipes, as at the start of one.
Whatever it leaves becomes a child of this process (PR_SET_CHILD_SUBREAPER), and is seen.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 60.0
#: As a terminal's shell starts a command; what runs the tests may ignore some, as a shell's ``&`` has it.
_AT_START: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
#: More than a pipe holds: once it is written, the command reads.
_HALF = 96 << 10


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """What a case came to: how it ended, what it said, which files and processes it left."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "tmp").mkdir()
        (directory / "home").mkdir()
        stdin, feed = os.pipe()
        out = (directory.parent / f"{directory.name}.out").open("w+b")
        err = (directory.parent / f"{directory.name}.err").open("w+b")
        with out, err:
            for stream in (out, err):
                Path(stream.name).unlink()
            pid = os.fork()
            if not pid:
                os.close(feed)
                _child(case, directory, stdin, out.fileno(), err.fileno())
            os.close(stdin)
            status, others = _watch(case, pid, feed)
            said = []
            for stream in (out, err):
                stream.seek(0)
                said.append(stream.read(1 << 20).decode("utf-8", "replace"))
        left = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
        whole = _is_whole(directory / "out.json")
    return {
        "status": status,
        "others": others,
        "out": said[0][-200:],
        "err": said[1][-2000:],
        "left": left,
        "whole": whole,
    }


def _child(case: dict[str, Any], directory: Path, stdin: int, out: int, err: int) -> None:
    """Becomes the command; does not return."""
    os.setsid()
    for number, handler in _AT_START.items():
        signal.signal(number, handler)
    os.chdir(directory)
    os.environ |= {"TMPDIR": str(directory / "tmp"), "HOME": str(directory / "home"), "XDG_CONFIG_HOME": ""}
    tempfile.tempdir = None
    os.dup2(stdin, 0)
    os.close(stdin)
    streams: list[io.TextIOWrapper | None] = []
    for number, (how, taken) in enumerate(((case["stdout"], out), (case["stderr"], err)), 1):
        if how == "closed":
            os.close(number)
            streams.append(None)
            continue
        fd = os.open("/dev/full", os.O_WRONLY) if how == "full" else taken
        os.dup2(fd, number)
        streams.append(
            io.TextIOWrapper(
                io.BufferedWriter(io.FileIO(number, "w", closefd=False)), line_buffering=number == 2
            )
        )
    os.closerange(3, 256)
    sys.stdout, sys.stderr = streams[0], streams[1]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = ["nullfs-explorer", *case["words"]]
    from explorer.cli import main

    code = 120  # as an interpreter that cannot flush
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        for stream in streams:
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = 120
    except BaseException as error:  # noqa: BLE001  # what an interpreter would do
        os.write(2, f"Traceback {type(error).__name__}: {error}".encode())
    os._exit(code)


def _watch(case: dict[str, Any], pid: int, feed: int) -> tuple[int, int]:
    """Feeds it, tells it, waits for it. How it ended; how many processes it left, but for a moment after a SIGKILL."""
    content = Path(case["feed"]).read_bytes() if case["feed"] else b""
    if case["signal"]:
        _write(feed, content[:_HALF])
        time.sleep(case["delay"])
        os.kill(pid, case["signal"])
        if case["signal"] == signal.SIGPIPE:
            _write(feed, content[_HALF:])
            os.close(feed)
            feed = -1
    else:
        _write(feed, content)
        os.close(feed)
        feed = -1
    deadline = time.monotonic() + _PATIENCE_S
    status = None
    while status is None and time.monotonic() < deadline:
        found, raw = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(raw) if found else None
        time.sleep(0.005)
    if feed >= 0:
        os.close(feed)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        status = 999
    others = 0
    grace = time.monotonic() + (5.0 if case["signal"] == signal.SIGKILL else 0.0)
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, others
        if found and case["signal"] != signal.SIGKILL:
            others += 1  # it had ended, and nobody had waited for it
        if not found and time.monotonic() >= grace:
            os.killpg(pid, signal.SIGKILL)
            others += 1
            grace = time.monotonic() + 5.0
        time.sleep(0.005)


def _write(fd: int, content: bytes) -> None:
    try:
        while content:
            content = content[os.write(fd, content[: 1 << 16]) :]
    except BrokenPipeError:
        return  # it has seen enough


def _is_whole(path: Path) -> bool | None:
    if not path.exists():
        return None
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def main() -> None:
    import explorer.capture
    import explorer.cli.commands.diff
    import explorer.cli.commands.snapshot
    import explorer.cli.commands.trace
    import explorer.output.mounts  # noqa: F401

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run_case(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
