"""Tasks of a kernel whose memory is not all there: what its list, from both ends, and the table of pids lead to.

A ``task_struct`` is larger than a page, and a dump can lack any of its pages: makedumpfile drops some that it takes for
user memory on kernels it does not know. Such a task is a :data:`~explorer.capture.memory.PartialTask`. Mirrors
``for_each_process_thread()`` and ``next_tgid()`` of fs/proc/base.c.
"""

from __future__ import annotations

from collections.abc import Callable

from explorer.capture.memory import (
    AnyTask,
    LieApart,
    Memory,
    PartialTask,
    RawTask,
    ReadError,
    is_kernel_pointer,
    task_maker,
)
from explorer.model import task_at

from .found import MAX_TASKS
from .pidtable import for_each_pid_task

__all__ = ("HoleWalk",)


#: In which order an entry names what of a task is not there: who it is, what it has, how it hangs together, the rest.
_NAMED = (
    "flags", "pid", "tgid", "comm", "fs", "real_fs",
    "tasks_next", "tasks_prev", "thread_next", "thread_prev", "signal", "real_parent", "nsproxy",
    "state", "exit_state", "worker_private", "start_time", "nameidata", "on_cpu", "cpu", "exec_start", "last_arrival",
    "real_cred", "thread_pid", "stack_base", "cgroups",
)  # fmt: skip


class _Stopped(Exception):
    """A list cannot be followed any further; the message says where."""


class _TooMany(_Stopped):
    """What is found are no tasks: to go on elsewhere would only find more of them."""


class HoleWalk:
    """Finds all tasks that single reads can find.

    ``whole`` and ``partial`` are what was found, by address. ``lost`` says why there may be more, ``None`` if there
    cannot be: the table of pids has every task that the list has.
    """

    def __init__(self, memory: Memory, read_task: Callable[[int], RawTask]) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._layout = memory.layout
        self._errors = memory.errors
        self._read_task = read_task
        self._new_task = task_maker(memory.layout.task_flags)
        self._why: dict[int, str] = {}
        self._may_be = 1024
        self._stops: list[str] = []
        self._cut = False  # a list of threads could not be followed to its end
        self.whole: dict[int, RawTask] = {}
        self.partial: dict[int, PartialTask] = {}
        self.lost: str | None = None

    def walk(self, init_task: int, broken: str) -> None:
        """The list from both ends, then the table of pids, and the list again from whoever that leads to.

        :param broken: why the list could not be walked as it should be
        """
        met = {init_task}
        for forwards in (True, False):
            own = set[int]()
            try:
                self._follow(init_task, forwards, met, own)
                break
            except (_Stopped, ReadError) as stop:
                self._stops.append(str(stop))
                met |= own
        reason = "; backwards: ".join(self._stops) or broken
        if self._stops or not self.partial:
            self._errors.add("tasks", "list", reason)
        before = self._errors.count
        try:
            for pid, address in for_each_pid_task(self._memory):
                self._from_table(pid, address)
        except (_Stopped, ReadError) as error:
            self._errors.add("tasks", "table of pids", str(error))
        self._follow_from_table(met)
        if self._errors.count > before and (len(self._stops) > 1 or self._cut):
            self.lost = f"a list of tasks ends early ({reason}), and the table of pids is not all there"
        self._settle_pids()

    def add(self, address: int, pid: int | None = None) -> AnyTask:
        """One task, whole or in part.

        :param pid: what it is, as others say
        :raises ReadError: if nothing of it is there
        """
        known = self.whole.get(address) or self.partial.get(address)
        if known is not None:
            return known
        try:
            task = self.whole[address] = self._read_task(address)
        except ReadError as error:
            values, unread = self._reader.recover_members(self._layout.task, address, error)
            task = self._new_task((address, *values))
            if unread:
                self._why[address] = str(error)
                partial = PartialTask(*task)
                self.partial[address] = partial._replace(pid=pid) if partial.pid is None else partial
                return self.partial[address]
            self.whole[address] = task
        count = len(self.whole) + len(self.partial)
        if count >= self._may_be:
            self._expect_more(count)
        return task

    def add_idle(self, address: int) -> None:
        """The idle task of a CPU, which is in no list. :raises ReadError: if nothing of it is there"""
        try:
            self.add(address, pid=0)
        except _TooMany as error:
            raise ReadError(str(error)) from error

    def _expect_more(self, count: int) -> None:
        found = [*self.whole, *self.partial]
        if count >= MAX_TASKS or not LieApart(self._layout.task.size).holds(found):
            raise _TooMany(f"of {count} tasks, some lie within another")
        self._may_be = 2 * count

    def _follow(self, start: int, forwards: bool, met: set[int], own: set[int]) -> None:
        """Processes from ``start`` on, with their threads, until one is met that was met before.

        From ``init_task`` that is itself, or on the way back the last one of the way forth: between them lies none.

        :param own: those found are added to it
        """
        offset = self._layout.task_tasks
        link, back = ("tasks_next", "tasks_prev") if forwards else ("tasks_prev", "tasks_next")
        task = self.add(start)
        while True:
            self._threads(task)
            node = getattr(task, link)
            if node is None:
                raise _Stopped(f"{link.replace('_', '.')} of {task.name} is not there")
            if not is_kernel_pointer(node):
                raise _Stopped(f"{link.replace('_', '.')} of {task.name} is 0x{node:x}")
            address = node - offset
            if address in own:
                raise _Stopped(f"the list of tasks runs in a circle at {task.name}")
            following = self._neighbour(address, back, task.address + offset)
            if following is None:
                raise _Stopped(f"{link.replace('_', '.')} of {task.name} leads to what does not point back")
            if address in met:
                return
            own.add(address)
            task = following

    def _neighbour(self, address: int, back: str, here: int) -> AnyTask | None:
        """The task at ``address``; ``None``, and it is not kept, if its way back leads elsewhere."""
        new = address not in self.whole and address not in self.partial
        task = self.add(address)
        if getattr(task, back) in (None, here):
            return task
        if new:
            self._forget(address)
        return None

    def _threads(self, leader: AnyTask) -> None:
        """The rest of the thread group (``signal->thread_head``), from both ends; the table of pids has the others."""
        if leader.signal is None or not is_kernel_pointer(leader.signal):
            self._cut = self._cut or leader.signal is None
            return
        head = leader.signal + self._layout.signal_thread_head
        # Behind it, and before it. Where a hole ends the way, from the other end of the list to what was met.
        for link, back, end in (
            ("thread_next", "thread_prev", head + 8),
            ("thread_prev", "thread_next", head),
        ):
            met = {head, leader.address + self._layout.task_thread_node}
            if self._follow_threads(leader, link, getattr(leader, link), met):
                continue
            try:
                self._cut |= not self._follow_threads(leader, back, self._reader.read_u64(end), met)
            except ReadError as error:
                self._errors.add(leader.name, "threads", str(error))
                self._cut = True

    def _follow_threads(self, leader: AnyTask, link: str, node: int | None, met: set[int]) -> bool:
        """The threads from ``node`` on; whether that led to one of ``met``, to which those found are added."""
        own = set[int]()
        while node is not None and is_kernel_pointer(node) and node not in own:
            if node in met:
                return True
            address = node - self._layout.task_thread_node
            new = address not in self.whole and address not in self.partial
            try:
                thread = self.add(address)
            except ReadError as error:
                self._errors.add(leader.name, "threads", str(error))
                break
            if thread.signal not in (None, leader.signal):
                why = f"0x{address:x} is in the list of threads, but not of this process"
                self._errors.add(leader.name, "threads", why)
                if new:
                    self._forget(address)
                break
            own.add(node)
            node = getattr(thread, link)
        met |= own
        return False

    def _forget(self, address: int) -> None:
        self.whole.pop(address, None)
        self.partial.pop(address, None)

    def _from_table(self, pid: int, address: int) -> None:
        with self._errors.guard(task_at(pid, address), "task_struct"):
            if self.add(address, pid).pid is None:
                self.partial[address] = self.partial[address]._replace(pid=pid)

    def _follow_from_table(self, met: set[int]) -> None:
        """Between two holes the list goes on: whoever the table has there leads to neighbours that it has not."""
        if len(self._stops) < 2:
            return
        for address in [*self.whole, *self.partial]:
            task = self.whole.get(address) or self.partial[address]
            # of a thread that leads no process, the pointers are those that its leader had once
            if address in met or task.pid is None or task.pid != task.tgid:
                continue
            met.add(address)
            for forwards in (True, False):
                own = set[int]()
                try:
                    self._follow(address, forwards, met, own)
                except _TooMany:
                    self.lost = self.lost or "what the list of tasks leads to are too many to be tasks"
                    return
                except (_Stopped, ReadError):
                    pass  # where it ends is one of the holes that were met before, from their other side
                met |= own

    def _settle_pids(self) -> None:
        """A task without a pid is none that can be shown."""
        for address, task in list(self.partial.items()):
            if task.pid is None:
                del self.partial[address]
                self._errors.add(task.name, "pid", self._why[address])
                self.lost = self.lost or "a task's pid is not there, and not in the table of pids either"

    def report(self) -> None:
        """An entry for each task: which of its members are not there."""
        decoder = self._layout.task
        for address, task in sorted(self.partial.items()):
            members = zip(decoder.fields, task[1:], decoder.members, strict=True)
            missing = {name for name, value, member in members if value is None and member}
            unread = sorted(missing, key=_NAMED.index)
            self._errors.add(task.name, ", ".join(unread), self._why[address])
