"""Kernel threads that serve one ``struct kthread_worker``: what runs, and how much waits.

Mirrors ``kthread_worker_fn()`` of kernel/kthread.c. Works that wait are in ``work_list``; those whose timer has not
fired are in ``delayed_work_list``.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import drgn

from explorer.capture.memory import (
    AnyTask,
    Decoder,
    Memory,
    ReadError,
    is_kernel_pointer,
    make_decoder,
    member_offset,
)

__all__ = ("KthreadWorker", "KthreadWorkerReader")

_MAX_WORKS = 10_000


class _Layout(NamedTuple):
    worker: Decoder
    work_list: int
    delayed_work_list: int
    work: Decoder


class _Worker(NamedTuple):
    task: int
    current_work: int
    first: int
    first_delayed: int


class KthreadWorker(NamedTuple):
    """A ``struct kthread_worker``."""

    current_func: int | None
    """The work function being run, 0 if it is idle; ``None`` if the work is not there."""
    waiting: int | None
    """How many works wait; ``None`` if the list cannot be followed."""
    delayed: int | None


def _probe(prog: drgn.Program) -> _Layout:
    return _Layout(
        worker=make_decoder(
            prog, "kthread_worker", "task", "current_work", "work_list.next", "delayed_work_list.next"
        ),
        work_list=member_offset(prog, "kthread_worker", "work_list"),
        delayed_work_list=member_offset(prog, "kthread_worker", "delayed_work_list"),
        work=make_decoder(prog, "kthread_work", "func"),
    )


class KthreadWorkerReader:
    """Reads those of one kernel. Of a kernel that runs, a list that changed underfoot is walked again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        #: ``kthread_worker_fn``; ``None`` if the symbol table has none.
        self.threadfn = memory.symbols.symbol_address("kthread_worker_fn")

    @cached_property
    def _layout(self) -> _Layout | None:
        return self._memory.probe("kthread workers", _probe)

    def read_worker(self, task: AnyTask, address: int) -> KthreadWorker | None:
        """The worker that a thread serves (``kthread.data``); ``None``, with an error entry, if it cannot be read."""
        layout = self._layout
        if layout is None:
            return None
        with self._memory.errors.guard_newer(task.name, "kthread_worker"):
            worker = self._read(layout, address)
            if worker.task not in (0, task.address):  # 0: it has not begun to run
                raise ReadError(f"0x{address:x} is served by another task")
            return KthreadWorker(
                current_func=self._current(layout, task, worker.current_work),
                waiting=self._count(task, "work_list", address + layout.work_list),
                delayed=self._count(task, "delayed_work_list", address + layout.delayed_work_list),
            )
        return None

    def _read(self, layout: _Layout, address: int) -> _Worker:
        decoder = layout.worker
        return _Worker._make(self._memory.reader.decode(decoder, address))

    def _current(self, layout: _Layout, task: AnyTask, work: int) -> int | None:
        if not work:
            return 0
        with self._memory.errors.guard_newer(task.name, "kthread_worker.current_work"):
            [func] = self._memory.reader.decode(layout.work, work)
            return int(func)
        return None

    def _count(self, task: AnyTask, name: str, head: int) -> int | None:
        """Entries of a list, whatever they are in."""
        with self._memory.errors.guard_newer(task.name, f"kthread_worker.{name}"):
            return self._memory.again(lambda: self._walk(name, head))
        return None

    def _walk(self, name: str, head: int) -> int:
        read = self._memory.reader.read_u64
        seen: set[int] = set()
        node = read(head)
        while node != head:
            if not is_kernel_pointer(node):
                raise ReadError(f"{name} leads to 0x{node:x}")
            if node in seen or len(seen) >= _MAX_WORKS:
                raise ReadError(f"{name} runs in a circle at 0x{node:x}, or has more than {_MAX_WORKS} works")
            seen.add(node)
            node = read(node)
        return len(seen)
