"""A stranger's plugin judges in a copy of this process: however that ends, this one goes on.

For whoever has no other process around: the screen, and a program that uses the library. What a copy finds comes back
as JSON, and is looked at as what comes from a file is.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pydantic import ValidationError

from explorer.model import Finding
from explorer.syscalls import end_with, fork, kill_group

from .checking import error_words
from .trial import ending_words

__all__ = ("JUDGE_S", "ApartError", "judge_apart")

#: Seconds for one plugin: those that come with the tool take milliseconds.
JUDGE_S = 60.0
_MOST = 64 << 20
_ENDS_S = 0.5
_BLOCK = 1 << 16


class ApartError(Exception):
    """It did not come to findings; the message says why."""

    def __init__(self, why: str, trace: str = "") -> None:
        super().__init__(why)
        self.trace = trace
        """The traceback there, if it raised."""


def judge_apart(judge: Callable[[], Iterable[Finding]], limit_s: float = JUDGE_S) -> list[Finding]:
    """What ``judge`` gives; it is called in the copy.

    :raises ApartError: whatever it raises, if it ends the copy, or takes longer
    """
    reads, says = os.pipe()
    parent = os.getpid()
    try:
        pid = fork()
    except OSError as error:
        os.close(reads)
        os.close(says)
        raise ApartError(f"it cannot be asked in a process of its own: {error.strerror}") from error
    if not pid:
        _judge(judge, says, parent)
    os.close(says)
    try:
        said = _hear(reads, limit_s)
    finally:
        os.close(reads)
        alive = _outlives(pid)
        kill_group(pid)
        ended = os.waitid(os.P_PID, pid, os.WEXITED)
    if said is None or ended is None:
        raise ApartError(f"its audit had not ended after {limit_s:g} s, or finds no end")
    if not said and alive:
        raise ApartError("its audit has not ended, and says nothing any more: it has become another program")
    if not said:
        raise ApartError(f"its audit has ended the process: {ending_words(ended.si_code, ended.si_status)}")
    return _findings(said)


def _hear(reads: int, limit_s: float) -> bytes | None:
    """All that the copy says until it has ended; ``None``: it is too late, or too much."""
    deadline = time.monotonic() + limit_s
    said = b""
    while (left := deadline - time.monotonic()) > 0 and len(said) <= _MOST:
        if select.select([reads], [], [], left)[0]:
            block = os.read(reads, _BLOCK)
            if not block:
                return said
            said += block
    return None


def _outlives(pid: int) -> bool:
    """Whether the copy goes on though there is nothing to be heard from it."""
    end = time.monotonic() + _ENDS_S
    while (
        gone := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    ) is None and time.monotonic() < end:
        time.sleep(0.001)
    return gone is None


def _findings(said: bytes) -> list[Finding]:
    try:
        document = json.loads(said)
        if "why" in document:
            raise ApartError(str(document["why"]), str(document["trace"]))
        return [Finding.model_validate(each) for each in document["findings"]]
    except (ValueError, TypeError, LookupError, ValidationError, RecursionError) as error:
        raise ApartError("its audit has ended the process before all was said") from error


def _judge(judge: Callable[[], Iterable[Finding]], says: int, parent: int) -> NoReturn:
    """In the copy. What it prints is in nobody's way; what it has not written out is not its own."""
    try:
        os.setsid()
        end_with(parent)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  # to the end of this process
        said: dict[str, Any]
        try:
            said = {"findings": [each.model_dump(mode="python") for each in judge()]}
        except BaseException as error:  # noqa: BLE001  # sys.exit() too
            said = {"why": error_words(error), "trace": traceback.format_exc()}
        block = json.dumps(said).encode()
        while block:
            block = block[os.write(says, block) :]
    finally:
        os._exit(0)  # whatever was raised: this process has no other business
