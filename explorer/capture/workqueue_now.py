"""Which workqueue a work was on, by what its ``work_struct.data`` held when it was taken: of a kernel that runs.

Mirrors kernel/workqueue.c: above its flags ``data`` holds the address of a ``pool_workqueue`` while the work is
queued. One that is gone leaves its memory to something else; what a neighbour in ``workqueue_struct.pwqs`` points back
at is there.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.model import KernelText, kernel_text

from .kernel import probe_workqueues
from .memory import MemoryReader, ReadError, is_kernel_pointer, member_offset, probed
from .request import CaptureRequest

__all__ = ("WorkOffsets", "WorkqueueNow", "work_offsets")

_WORD = 8
_MAX_NAME = 64


class WorkOffsets(NamedTuple):
    """Where in ``struct work_struct``, in bytes."""

    data: int
    func: int


def work_offsets(prog: drgn.Program) -> WorkOffsets:
    """By the kernel's own types. :raises LookupError: if it has no such type or members"""
    return WorkOffsets(
        data=member_offset(prog, "work_struct", "data"), func=member_offset(prog, "work_struct", "func")
    )


class WorkqueueNow:
    """Names single workqueues, each time anew. :raises LookupError: if the kernel's types lack something"""

    def __init__(self, request: CaptureRequest) -> None:
        self._prog = request.prog
        self._layout = probed(self._prog, "workqueues", probe_workqueues)
        self._wq = member_offset(self._prog, "pool_workqueue", "wq")
        self._name = member_offset(self._prog, "workqueue_struct", "name")

    def name(self, data: int) -> KernelText | None:
        """Of the workqueue, by ``work_struct.data``; ``None``: there is none, or it cannot be read."""
        pwq = data & self._layout.pwq_mask
        if not data & self._layout.is_pwq or not is_kernel_pointer(pwq):
            return None
        reader = MemoryReader(self._prog)
        try:
            node = pwq + self._layout.pwqs_node
            after, workqueue = reader.read_u64(node), reader.read_u64(pwq + self._wq)
            if not is_kernel_pointer(after) or not is_kernel_pointer(workqueue):
                return None
            if reader.read_u64(after + _WORD) != node:
                return None
            return kernel_text(reader.read_c_string(workqueue + self._name, _MAX_NAME)) or None
        except ReadError:
            return None
