"""The worker's side: asks the process that starts readers, and begins a new one where that has died."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import Any

from explorer.fleet.outcomes import Outcome
from explorer.wire import fleet_reader_arguments

from .requests import Answer, Request

__all__ = ("Reader", "reader_of_thread")

#: How much longer than a target's own limit the process that holds it to that may take.
_GRACE_S = 60.0
_READ = 1 << 20
_MAX_HEAD = 1 << 16
_own = threading.local()


def reader_of_thread() -> Reader:
    """The one of this thread: a worker asks for one target at a time."""
    reader: Reader | None = getattr(_own, "reader", None)
    if reader is None:
        reader = _own.reader = Reader()
    return reader


class _BrokenError(Exception):
    """The process that starts readers has died, or does not answer."""


class Reader:
    """One process that starts readers, and is asked for one target after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def read(self, request: Request) -> Answer:
        """What becomes of a target. Never raises for what a target does."""
        process = self._started()
        deadline = time.monotonic() + request.options.timeout + _GRACE_S
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
            process.stdin.flush()
            head = json.loads(self._line(deadline))
            out, kept = (self._exactly(size, deadline) for size in head["sizes"])
        except (_BrokenError, OSError, ValueError) as error:
            self.close()
            return Answer(Outcome.CRASHED, f"the process that starts readers failed: {error}")
        return _answer(head, out, kept, request)

    def close(self) -> None:
        """End the process, and whoever reads for it."""
        process, self._process, self._rest = self._process, None, b""
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            process.kill()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):  # what it was still to be told
                process.stdin.close()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "explorer", *fleet_reader_arguments()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for whoever asked
            )
        return self._process

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            if len(self._rest) > _MAX_HEAD:
                raise _BrokenError("it says what nobody understands")
            self._rest += self._more(deadline)
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _exactly(self, size: int, deadline: float) -> bytes:
        chunks = [self._rest[:size]]
        self._rest = self._rest[size:]
        missing = size - len(chunks[0])
        while missing:
            chunk = self._more(deadline)
            chunks.append(chunk[:missing])
            self._rest = chunk[missing:]
            missing -= len(chunks[-1])
        return b"".join(chunks)

    def _more(self, deadline: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        fd = self._process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise _BrokenError("it does not answer")
        chunk = os.read(fd, _READ)
        if not chunk:
            raise _BrokenError(f"it ended with code {self._process.wait()}")
        return chunk


def _answer(head: dict[str, Any], out: bytes, kept: bytes, request: Request) -> Answer:
    """What was said, or what follows from that nothing was."""
    spent = {name: head[name] for name in ("seconds", "cpu_seconds", "peak_bytes")}
    name, signal = request.name, head["signal"]
    if not head["in_time"]:
        why = f"{name}: it took longer than the {request.options.timeout:g} s that a target may (--timeout)"
        return Answer(Outcome.TIMEOUT, why, **spent)
    if signal is None:
        try:
            said = json.loads(out)
            return Answer(
                Outcome(said["outcome"]), said["why"], said["signal"], said["kind"], said["tables"],
                **spent, snapshot=kept or None,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return Answer(Outcome.FAULT, f"{name}: the reader ended and said nothing", **spent)
    hint = " (by the kernel's OOM killer, or by somebody)" if signal == "SIGKILL" else ""
    return Answer(Outcome.CRASHED, f"{name}: the reader was ended by signal {signal}{hint}", signal, **spent)
