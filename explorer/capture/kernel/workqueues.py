"""All workqueues: what runs, what is held back, what waits for a worker.

Mirrors kernel/workqueue.c: a workqueue has pool_workqueues, each of which joins it to a worker pool. Works that run
are with the pool's busy workers, works that wait are in the pool's worklist or a worker's ``scheduled`` list, those
above ``max_active`` in the pool_workqueue's ``inactive_works``. Delayed works are in no list until their timer fires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import drgn

from explorer.capture.memory import (
    Decoder,
    Memory,
    ReadError,
    find_member,
    is_kernel_pointer,
    make_decoder,
    member_offset,
)
from explorer.capture.tasks import JiffiesClock
from explorer.model import Work, Workqueue, kernel_text, made

__all__ = ("BusyWorker", "WorkqueueLayout", "WorkqueueReader", "WorkqueueTable", "probe_workqueues")

_MAX_WORKQUEUES = 100_000
_MAX_PWQS = 1_000_000
_MAX_WORKS = 100_000
#: Entries of all lists together: in a dump made for it, any number of lists lead into the same long one.
_MAX_NODES = 1_000_000
_U64 = (1 << 64) - 1
_work, _workqueue = made(Work), made(Workqueue)


@dataclass(frozen=True, slots=True)
class WorkqueueLayout:
    """What is read of a workqueue and all that hangs on it."""

    workqueue: Decoder
    """list.next, pwqs.next, name, flags"""
    list: int
    pwqs: int
    pwq: Decoder
    """pool, inactive_works.next, pwqs_node.next"""
    inactive_works: int
    pwqs_node: int
    pool: Decoder
    """worklist.next, busy_hash"""
    worklist: int
    worker: Decoder
    """hentry.next, current_work, current_func, current_pwq, scheduled.next, task, current_start"""
    hentry: int
    scheduled: int
    work: Decoder
    """data, entry.next, func"""
    entry: int
    is_pwq: int
    """The bit of ``work_struct.data`` that says that the upper bits point at a pool_workqueue."""
    pwq_mask: int


def probe_workqueues(prog: drgn.Program) -> WorkqueueLayout:
    """Probe the kernel's types. :raises LookupError: if they lack something"""
    # 6.9 (afe928c1dc61) gave the flags of an off-queue work more room; the pointer is above WORK_STRUCT_PWQ_SHIFT.
    shift = _constant(prog, "WORK_STRUCT_PWQ_SHIFT", "WORK_STRUCT_FLAG_BITS")
    worker = prog.type("struct worker")
    hentry = find_member(worker, "hentry")
    if hentry is None:
        raise LookupError("this kernel's struct worker has no hentry")
    return WorkqueueLayout(
        workqueue=make_decoder(prog, "workqueue_struct", "list.next", "pwqs.next", "name[]", "flags"),
        list=member_offset(prog, "workqueue_struct", "list"),
        pwqs=member_offset(prog, "workqueue_struct", "pwqs"),
        pwq=make_decoder(prog, "pool_workqueue", "pool", "inactive_works.next", "pwqs_node.next"),
        inactive_works=member_offset(prog, "pool_workqueue", "inactive_works"),
        pwqs_node=member_offset(prog, "pool_workqueue", "pwqs_node"),
        pool=make_decoder(prog, "worker_pool", "worklist.next", "busy_hash[]"),
        worklist=member_offset(prog, "worker_pool", "worklist"),
        worker=make_decoder(
            prog,
            "worker",
            "hentry.next",
            "current_work",
            "current_func",
            "current_pwq",
            "scheduled.next",
            "task",
            "?current_start",  # 7.x
        ),
        hentry=hentry.offset,
        scheduled=member_offset(prog, "worker", "scheduled"),
        work=make_decoder(prog, "work_struct", "data.counter", "entry.next", "func"),
        entry=member_offset(prog, "work_struct", "entry"),
        is_pwq=1 << _constant(prog, "WORK_STRUCT_PWQ_BIT"),
        pwq_mask=_U64 & ~((1 << shift) - 1),
    )


def _constant(prog: drgn.Program, *names: str) -> int:
    for name in names:
        try:
            return int(prog.constant(name).value_())
        except LookupError:
            continue
    raise LookupError(f"this kernel has no {' or '.join(names)}")


class BusyWorker(NamedTuple):
    """A ``struct worker`` in the middle of a work item; ``work`` may be freed by its own function."""

    worker: int
    work: int
    func: int
    pwq: int
    task: int
    start: int | None


class _Work(NamedTuple):
    data: int
    func: int


@dataclass(slots=True)
class _Pool:
    """What one worker pool had to do when it was looked at."""

    busy: list[BusyWorker] = field(default_factory=list)
    waiting: list[_Work] = field(default_factory=list)


@dataclass(slots=True)
class WorkqueueTable:
    """All workqueues by address, and the workers that are at work."""

    workqueues: list[Workqueue]
    busy: list[BusyWorker]


class WorkqueueReader:
    """Reads the workqueues of one kernel.

    :param function: names a function
    :param live: the kernel runs: a list that changed underfoot is walked again
    """

    def __init__(
        self,
        memory: Memory,
        layout: WorkqueueLayout,
        function: Callable[[int], str | None],
        jiffies: JiffiesClock,
    ) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._symbols = memory.symbols
        self._layout = layout
        self._function = function
        self._jiffies = jiffies
        self._errors = memory.errors
        self._workqueues: dict[int, Workqueue] = {}
        self._pwqs: dict[int, Workqueue] = {}
        self._pools: dict[int, None] = {}
        self._nodes_left = _MAX_NODES

    def read_all(self) -> WorkqueueTable:
        """Every workqueue in the kernel's list; what could not be read is in the error log."""
        head = self._symbols.symbol_address("workqueues")
        if head is None:
            self._errors.add("workqueues", "list", "the kernel's symbol table has no workqueues")
            return WorkqueueTable([], [])
        with self._errors.guard("workqueues", "list"):
            self._memory.again(lambda: self._read_list(head))
        busy: list[BusyWorker] = []
        for pool in self._pools:
            with self._errors.guard(f"worker pool 0x{pool:x}", "works"):
                busy += self._place(self._memory.again(lambda pool=pool: self._read_pool(pool)))  # type: ignore[misc]
        for workqueue in self._workqueues.values():
            workqueue.running.sort(key=lambda work: work.worker or 0)
        return WorkqueueTable([self._workqueues[address] for address in sorted(self._workqueues)], busy)

    def _read_list(self, head: int) -> None:
        for address in self._nodes(head, self._reader.read_u64(head), self._next_workqueue, _MAX_WORKQUEUES):
            workqueue = self._workqueues[address]
            with self._errors.guard(f"workqueue 0x{address:x}", "pwqs"):
                self._memory.again(lambda: self._read_pwqs(workqueue))  # noqa: B023  # called at once

    def _nodes(
        self, head: int, first: int, step: Callable[[int], tuple[int, int]], limit: int
    ) -> Iterator[int]:
        """Walk a list: ``step`` reads the object around a node, and says what it is and what comes next."""
        seen: set[int] = set()
        node = first
        while node != head:
            if node in seen or len(seen) >= limit:
                raise ReadError(f"the list at 0x{head:x} runs in a circle, or has more than {limit} entries")
            seen.add(node)
            self._spend_node()
            if not is_kernel_pointer(node):
                raise ReadError(f"the list at 0x{head:x} leads to 0x{node:x}: no kernel pointer")
            found, node = step(node)
            yield found

    def _spend_node(self) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise ReadError(f"the workqueues have more than {_MAX_NODES} entries")

    def _next_workqueue(self, node: int) -> tuple[int, int]:
        address = node - self._layout.list
        decoder = self._layout.workqueue
        following, _, name, flags = self._reader.decode(decoder, address)
        if address not in self._workqueues:
            self._workqueues[address] = _workqueue(
                address=address,
                name=kernel_text(name.split(b"\0", 1)[0]),
                flags=flags,
                running=[],
                inactive=[],
                pending=[],
            )
        return address, following

    def _read_pwqs(self, workqueue: Workqueue) -> None:
        head = workqueue.address + self._layout.pwqs
        inactive: list[_Work] = []

        def step(node: int) -> tuple[int, int]:
            address = node - self._layout.pwqs_node
            decoder = self._layout.pwq
            pool, works, following = self._reader.decode(decoder, address)
            self._pwqs[address] = workqueue
            self._pools[pool] = None
            inactive.extend(self._works(address + self._layout.inactive_works, works))
            return address, following

        for _ in self._nodes(head, self._reader.read_u64(head), step, _MAX_PWQS):
            pass
        workqueue.inactive[:] = [self._waiting(work) for work in inactive]

    def _works(self, head: int, first: int) -> list[_Work]:
        works: list[_Work] = []

        def step(node: int) -> tuple[int, int]:
            address = node - self._layout.entry
            decoder = self._layout.work
            data, following, func = self._reader.decode(decoder, address)
            works.append(_Work(data & _U64, func))
            return address, following

        for _ in self._nodes(head, first, step, _MAX_WORKS):
            pass
        return works

    def _read_pool(self, address: int) -> _Pool:
        decoder = self._layout.pool
        worklist, hash_table = self._reader.decode(decoder, address)
        pool = _Pool(waiting=self._works(address + self._layout.worklist, worklist))
        buckets = memoryview(hash_table).cast("Q")
        for node in buckets:
            for worker, scheduled in self._bucket(node):
                pool.busy.append(worker)
                pool.waiting += self._works(worker.worker + self._layout.scheduled, scheduled)
        return pool

    def _bucket(self, first: int) -> Iterator[tuple[BusyWorker, int]]:
        seen: set[int] = set()
        node, decoder = first, self._layout.worker
        while node:
            if node in seen or not is_kernel_pointer(node):
                raise ReadError(f"the list of busy workers is broken at 0x{node:x}")
            seen.add(node)
            self._spend_node()
            address = node - self._layout.hentry
            node, work, func, pwq, scheduled, task, start = self._reader.decode(decoder, address)
            yield BusyWorker(address, work, func, pwq, task, start), scheduled

    def _place(self, pool: _Pool) -> list[BusyWorker]:
        """Give the works of a pool to the workqueues they are from."""
        for worker in pool.busy:
            workqueue = self._pwqs.get(worker.pwq)
            if workqueue is not None:
                func = self._function(worker.func) or "?"
                running_s = self._jiffies.seconds_since(worker.start)
                workqueue.running.append(_work(func=func, worker=worker.task, running_s=running_s))
        for work in pool.waiting:
            workqueue = self._pwqs.get(work.data & self._layout.pwq_mask)
            if work.data & self._layout.is_pwq and workqueue is not None:
                workqueue.pending.append(self._waiting(work))
        return pool.busy

    def _waiting(self, work: _Work) -> Work:
        return _work(func=self._function(work.func) or "?", worker=None, running_s=None)
