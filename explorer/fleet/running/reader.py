"""The process that starts those who read: it has imported everything, opens nothing, and forks for every target.

Forked so, a reader costs some milliseconds, has nothing of the targets before it, and may be killed at any time.
Requests come as JSON lines on standard input; an answer is a line of JSON that says how much follows, then that. It
ends when its standard input does, and whoever reads then with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, BinaryIO

from explorer.plugin import load_plugins
from explorer.syscalls import end_with
from explorer.wire import signal_of

from .child import read_target
from .requests import ReadingOptions, Request

__all__ = ("serve_readings",)

_PR_SET_CHILD_SUBREAPER = 36
#: Their faces import a module when somebody asks for what is in it.
_ROOMS = ("explorer.capture", "explorer.targets", "explorer.targets.symbols")
_COPY = 1 << 20
_MAX_ANSWER = 1 << 31
#: A process that waits for a disk ends when that answers.
_REAP_S = 5.0


def serve_readings() -> None:
    """Answer requests until there are no more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what a plugin prints is no answer
        os.dup2(nowhere, number)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _warm_up()
    while line := requests.readline():
        asked = json.loads(line)
        options = ReadingOptions(**asked["options"] | {"plugins": tuple(asked["options"]["plugins"])})
        _answer(Request(asked["name"], options), requests, answers)


def _warm_up() -> None:
    """Import what every reader needs, but for strangers' plugins: those are imported where rights are given up."""
    for room in map(importlib.import_module, _ROOMS):
        for name in room.__all__:
            getattr(room, name)
    load_plugins(strangers=False)
    gc.collect()
    gc.freeze()


def _answer(request: Request, requests: BinaryIO, answers: BinaryIO) -> None:
    with _memory_file("answer") as out, _memory_file("snapshot") as kept:
        started, own = time.monotonic(), time.process_time()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            _be_reader(parent, request, requests, answers, out, kept)
        in_time = _wait(pid, started + request.options.timeout, requests.fileno())
        if not in_time:
            _kill(pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _kill_group(pid)  # while nobody else can have its number: whoever of its group is left
        _, status, usage = os.wait4(pid, 0)
        _reap()
        code = os.waitstatus_to_exitcode(status)
        sizes = [os.fstat(file.fileno()).st_size for file in (out, kept)]
        head: dict[str, Any] = {
            "in_time": in_time,
            "signal": signal_of(code),
            "seconds": time.monotonic() - started,
            "cpu_seconds": usage.ru_utime + usage.ru_stime + time.process_time() - own,
            "peak_bytes": usage.ru_maxrss << 10,
            "sizes": [size if size <= _MAX_ANSWER else 0 for size in sizes],
        }
        answers.write(json.dumps(head).encode() + b"\n")
        for file, size in zip((out, kept), head["sizes"], strict=True):
            _copy(file, size, answers)
        answers.flush()


def _memory_file(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(f"nullfs-explorer-{name}"), "r+b", buffering=0)


def _be_reader(
    parent: int, request: Request, requests: BinaryIO, answers: BinaryIO, out: BinaryIO, kept: BinaryIO
) -> None:
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        end_with(parent)
        os.close(requests.fileno())
        os.close(answers.fileno())
        read_target(request, out, kept)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)  # the finally above all: nothing of the parent's goes on in a child


def _wait(pid: int, deadline: float, requests: int) -> bool:
    """Whether a child ends in time. Ends this process, and the child, if nobody asks any more."""
    child = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(child, select.POLLIN)
        poll.register(requests, 0)  # POLLHUP is told unasked
        while (left := deadline - time.monotonic()) > 0:
            events = dict(poll.poll(min(left, 60.0) * 1000))
            if requests in events:
                _kill(pid)
                os._exit(0)
            if child in events:
                return True
        return False
    finally:
        os.close(child)


def _kill(pid: int) -> None:
    """A child and its group."""
    _kill_group(pid)
    os.kill(pid, signal.SIGKILL)  # it may not have made its group yet; it is there until it is waited for


def _kill_group(group: int) -> None:
    # Nobody is left, or all belong to the caller of sudo by now, and end with their parent.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _reap() -> None:
    """Wait for those whom a reader left, some time: they have been killed, and are this process's own now."""
    deadline = time.monotonic() + _REAP_S
    with contextlib.suppress(ChildProcessError):  # there is none
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.001)


def _copy(file: BinaryIO, size: int, out: BinaryIO) -> None:
    at = 0
    while at < size:
        chunk = os.pread(file.fileno(), min(_COPY, size - at), at)
        if not chunk:
            chunk = bytes(min(_COPY, size - at))  # it shrank: what was promised is written, and is no JSON
        out.write(chunk)
        at += len(chunk)
