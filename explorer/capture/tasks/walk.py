"""Every task: ``init_task``'s list of processes, their threads, and the idle task of every possible CPU.

One read covers every member wanted of a ``task_struct``, the list pointers among them, so that the walk
itself costs nothing. Mirrors ``for_each_process_thread()`` and ``idle_task()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter

import drgn

from explorer.capture.memory import (
    LieApart,
    Memory,
    RawTask,
    ReadError,
    TaskStruct,
    find_member,
    is_kernel_pointer,
    task_maker,
)

from .found import MAX_TASKS, FoundTasks
from .holes import HoleWalk
from .unlisted import check_against_pids

__all__ = ("TaskReader",)

_MAX_CPUS = 8192
_LIVE_ATTEMPTS = 8
_STEP = 1024  # tasks between two looks at how many there are

Progress = Callable[[int], None]
_pick_links = itemgetter(
    *map(TaskStruct._fields.index, ("signal", "tasks_next", "thread_next", "thread_prev"))
)


class _ListBroken(Exception):
    """The walk cannot go on; the message says where it broke."""


class _ListChanged(Exception):
    """A live list moved underfoot; the walk must start again."""


class TaskReader:
    """Reads the tasks of one kernel. Of a kernel that runs, a list that changed underfoot is walked again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._layout = memory.layout
        self._symbols = memory.symbols
        self._errors = memory.errors
        self._live = memory.live
        self._read_task = memory.reader.record_reader(
            memory.layout.task, task_maker(memory.layout.task_flags)
        )
        self._progress: Progress = lambda count: None
        self._apart = LieApart(memory.layout.task.size)
        self.found: dict[int, RawTask] = {}  # so far
        self.runqueues: dict[int, int] = {}
        """``cpu_rq(cpu)`` of every possible CPU; known once the idle tasks were read."""
        self.per_cpu: dict[int, int] = {}
        """``__per_cpu_offset[cpu]``, likewise."""

    def read_task(self, address: int) -> RawTask:
        """One task. :raises ReadError: if it cannot be read"""
        return self._read_task(address)

    def read_all(self, progress: Progress | None = None) -> FoundTasks:
        """Every task; what could not be reached is in the error log."""
        if progress is not None:
            self._progress = progress
        init_task = self._symbols.symbol_address("init_task")
        if init_task is None:
            self._errors.add("tasks", "all", "the kernel's symbol table has no init_task")
            return FoundTasks({}, {}, "the kernel's symbol table has no init_task")
        broken = self._walk_forward(init_task)
        walk = HoleWalk(self._memory, self._read_task)
        if broken:
            walk.walk(init_task, broken)
        else:
            walk.whole = self.found
        found = FoundTasks(walk.whole, walk.partial, None)
        if not broken:
            check_against_pids(self._memory, found, self._read_task)
        before = self._errors.count
        self._read_idle_tasks(walk)
        found.idle_lost = self._errors.count > before
        walk.report()
        found.lost = walk.lost
        return found

    def _walk_forward(self, init_task: int) -> str | None:
        """Walk the list of processes; returns why it broke off, or ``None``."""
        reason = "it changed underfoot"
        for _ in range(_LIVE_ATTEMPTS if self._live else 1):
            self.found.clear()
            self._apart = LieApart(self._layout.task.size)
            try:
                self._read_processes(init_task)
                self._reader.count(len(self.found), self._layout.task.span)
                return None
            except _ListChanged:
                continue
            except (_ListBroken, ReadError) as error:
                reason = str(error)
        return reason

    def _read_processes(self, init_task: int) -> None:
        """init_task, then every thread group leader behind it, each with its threads."""
        found, read_task = self.found, self._read_task
        head_offset, offset = self._layout.signal_thread_head, self._layout.task_tasks
        address, task = init_task, read_task(init_task)
        while True:
            signal, following, after, back = _pick_links(task)
            head = signal + head_offset
            if after == head and back == head and (len(found) + 1) % _STEP:
                found[address] = task  # a process of one thread, as most are
            else:
                self._add_threads(task)
            before, address = address, following - offset
            if address == init_task:
                return
            if address in found:
                raise _ListBroken(f"the list of tasks runs in a circle at {task.name}")
            if not is_kernel_pointer(following):
                raise _ListBroken(f"tasks.next of {task.name} is 0x{following:x}")
            last, task = task, read_task(address)
            if task.tasks_prev - offset != before and not self._prev_is_explained(task, last):
                raise _ListBroken(f"tasks.prev behind {last.name} does not point back")

    def _prev_is_explained(self, following: RawTask, task: RawTask) -> bool:
        """On a live kernel ``task`` may have been unlinked since: then the next one points before it."""
        if not self._live:
            return False
        if following.tasks_prev == task.tasks_prev:
            return True
        raise _ListChanged

    def _add(self, task: RawTask) -> None:
        if len(self.found) >= MAX_TASKS:
            raise _ListBroken(f"more than {MAX_TASKS} tasks")
        self.found[task.address] = task
        count = len(self.found)
        if count % _STEP == 0:
            self._progress(count)
            if count & count - 1 == 0 and not self._apart.holds(self.found):
                raise _ListBroken(f"of {count} tasks, some lie within another")

    def _add_threads(self, leader: RawTask) -> None:
        """The leader and the rest of its thread group (``signal->thread_head``)."""
        self._add(leader)
        head = leader.signal + self._layout.signal_thread_head
        if leader.thread_next == head and leader.thread_prev == head:
            return
        if not is_kernel_pointer(leader.signal):
            # An exiting leader has lost its signal_struct; it is alone then.
            return
        try:
            self._walk_threads(leader, head)
        except ReadError as error:
            raise _ListChanged if self._live else _ListBroken(f"threads of {leader.name}: {error}") from error

    def _walk_threads(self, leader: RawTask, head: int) -> None:
        offset, read_task, signal = self._layout.task_thread_node, self._read_task, leader.signal
        node = leader.thread_next
        passed_head = False
        while True:
            if node == head:
                if passed_head:
                    return
                passed_head = True
                node = self._reader.read_u64(head)
                continue
            address = node - offset
            if address == leader.address:
                return
            if address in self.found:
                raise ReadError(f"the list of threads runs in a circle at 0x{address:x}")
            thread = read_task(address)
            if thread.signal != signal:
                raise ReadError(f"0x{address:x} is in the list of threads, but not of this process")
            self._add(thread)
            node = thread.thread_next

    def _read_idle_tasks(self, walk: HoleWalk) -> None:
        """``cpu_rq(cpu)->idle`` of every possible CPU; that of CPU 0 is init_task."""
        try:
            for address in self._idle_addresses():
                if address:
                    with self._errors.guard(f"idle task 0x{address:x}", "task_struct"):
                        walk.add_idle(address)
        except (ReadError, LookupError) as error:
            self._errors.add("idle tasks", "list of CPUs", str(error))
            # Some are not among them: what holds for all of them cannot be told.
            self.runqueues.clear()
            self.per_cpu.clear()

    def _idle_addresses(self) -> Iterator[int]:
        runqueues = self._required("runqueues")
        offsets = self._required("__per_cpu_offset")
        idle = find_member(self._memory.prog.type("struct rq"), "idle")
        if idle is None:
            raise LookupError("struct rq has no idle")
        for cpu in self._possible_cpus():
            per_cpu = self.per_cpu[cpu] = self._reader.read_u64(offsets + 8 * cpu)
            self.runqueues[cpu] = runqueue = (runqueues + per_cpu) & (1 << 64) - 1
            with self._errors.guard(f"CPU {cpu}", "idle task"):
                yield self._reader.read_u64(runqueue + idle.offset)

    def _possible_cpus(self) -> Iterator[int]:
        # nr_cpu_ids is a variable only where more than one CPU is possible.
        address = self._symbols.symbol_address("nr_cpu_ids")
        count = self._reader.read_u32(address) if address is not None else _MAX_CPUS
        mask_size = drgn.sizeof(self._memory.prog.type("struct cpumask"))
        mask = int.from_bytes(self._reader.read(self._required("__cpu_possible_mask"), mask_size), "little")
        if not 0 < count <= _MAX_CPUS:
            raise ReadError(f"nr_cpu_ids is {count}")
        return (cpu for cpu in range(min(count, mask_size * 8)) if mask >> cpu & 1)

    def _required(self, name: str) -> int:
        address = self._symbols.symbol_address(name)
        if address is None:
            raise LookupError(f"the kernel's symbol table has no {name}")
        return address
