"""Where in the kernel's structures what the events record is: asked of a copy of this process that has no rights.

Root defines the events, and which, follows from the kernel's types. These are parsed by the copy, and what comes back
from it is a handful of small numbers.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from explorer.capture import NameidataOffsets, WorkOffsets, nameidata_offsets, work_offsets
from explorer.syscalls import end_with, fork
from explorer.targets import Needs, OpenOptions, TargetError, TargetSpec, hold_target, keep_only, open_kernel

__all__ = ("offsets_apart",)

_MOST = 1 << 13
#: No structure of these has more bytes.
_MOST_OFFSET = 1 << 16
_NUMBERS = len(NameidataOffsets._fields) + len(WorkOffsets._fields)
_LIVE = TargetSpec("live", "live")


def offsets_apart(options: OpenOptions) -> tuple[NameidataOffsets, WorkOffsets]:
    """Of the running kernel, which is held open from here on.

    :raises TargetError: if it cannot be opened, or its types cannot be read, or do not tell
    """
    needs = hold_target(_LIVE, options)
    reads, says = os.pipe()
    parent = os.getpid()
    pid = fork()
    if not pid:
        try:
            end_with(parent)
            os.write(says, json.dumps(_ask(options, needs)).encode()[:_MOST])
        finally:
            os._exit(0)  # whatever was raised: this process has no other business
    os.close(says)
    try:
        with os.fdopen(reads, "rb") as pipe:
            said = pipe.read(_MOST)
    finally:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return _understand(said, code)


def _ask(options: OpenOptions, needs: Needs) -> list[int] | str:
    """In the copy: the numbers, or why there are none."""
    try:
        keep_only(needs)
        with open_kernel(_LIVE, options) as kernel:
            return [*nameidata_offsets(kernel.prog), *work_offsets(kernel.prog)]
    except TargetError as error:
        return str(error)[: _MOST // 8]
    except LookupError as error:
        return f"this kernel's types do not describe a lookup: {error}"[: _MOST // 8]


def _understand(said: bytes, code: int) -> tuple[NameidataOffsets, WorkOffsets]:
    found: object = None
    with suppress(ValueError, RecursionError):
        found = json.loads(said)
    if isinstance(found, str):
        raise TargetError(found)
    if not isinstance(found, list) or len(found) != _NUMBERS:
        raise TargetError(f"the process that reads the kernel's types has ended without a word, with {code}")
    if not all(type(number) is int and 0 <= number < _MOST_OFFSET for number in found):
        raise TargetError("this kernel's types do not describe a lookup: an offset in them cannot be one")
    first = len(NameidataOffsets._fields)
    return NameidataOffsets(*found[:first]), WorkOffsets(*found[first:])
