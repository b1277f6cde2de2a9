"""What a lookup ended with, in the kernel's own words: include/uapi/asm-generic/errno*.h, include/linux/errno.h."""

from __future__ import annotations

import errno

__all__ = ("OK", "result_name")

OK = "ok"
#: Python knows some numbers by the C library's second name for them.
_KERNEL = {errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK", errno.EOPNOTSUPP: "EOPNOTSUPP"}
#: Never seen by a program.
_INTERNAL = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    517: "EPROBE_DEFER",
    518: "EOPENSTALE",
    523: "ERECALLCONFLICT",
    524: "ENOTSUPP",
}
_NAMES = {**errno.errorcode, **_KERNEL, **_INTERNAL}


def result_name(result: int | None) -> str:
    """``ok``, ``ENOENT``; the number of what has no name; ``?`` where the end is not known."""
    if result is None:
        return "?"
    return OK if result == 0 else _NAMES.get(-result, str(result))
