"""The list of tasks and the table of pids, checked against each other: who is in one of them only.

Mirrors ``copy_process()`` of kernel/fork.c, which puts a task into its list before its pid leads to it, and
``__unhash_process()`` of kernel/exit.c, which takes the pid away first: neither leaves a living task in one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from explorer.capture.memory import Memory, RawTask, ReadError, TaskStruct
from explorer.model import OnlyIn

from .found import FoundTasks
from .pidtable import PidTable

__all__ = ("check_against_pids",)

_LIVE_ATTEMPTS = 4
#: Pids that no listed task has: those of sessions and process groups whose leaders are gone, and nothing else.
_MAX_LOOKED_AT = 1 << 17
_POINTER = 8
_thread_pid = itemgetter(TaskStruct._fields.index("thread_pid"))


def check_against_pids(memory: Memory, found: FoundTasks, read_task: Callable[[int], RawTask]) -> None:
    """Find them. Those that only the table has are added to ``found``, which says who is in one alone.

    On a kernel that runs tasks come and go meanwhile: what is not so in two looks, one after the other, is not so.

    :param found: what the list, all of it, has
    """
    try:
        check = _Check(memory, found, read_task)
    except LookupError as error:
        memory.errors.add("tasks", "table of pids", str(error))
        return
    tasks = check.compare()
    for _ in range(_LIVE_ATTEMPTS if memory.live else 0):
        if check.table.complete and not tasks:
            break
        was_whole, again = check.table.complete, check.compare()
        settled = was_whole and again.keys() == tasks.keys()
        tasks = {address: task for address, task in again.items() if address in tasks or not was_whole}
        if settled:
            break
    found.checked = check.table.complete
    for address, task in tasks.items():
        found.only_in[address] = OnlyIn.TASK_LIST if address in found.whole else OnlyIn.PID_TABLE
        found.whole[address] = task


class _Check:
    """One look at both. :raises LookupError: if the kernel's types lack something"""

    def __init__(self, memory: Memory, found: FoundTasks, read_task: Callable[[int], RawTask]) -> None:
        self._memory = memory
        self._found = found
        self._read_task = read_task
        self.table = PidTable(memory)

    def compare(self) -> dict[int, RawTask]:
        """Who is in one of them only, by address."""
        self.table.complete = True
        pids = self.table.read()
        listed = self._found.whole
        own = list(map(_thread_pid, listed.values()))
        nobodys = pids.difference(own)  # few, if all is well: those of sessions
        only = {task.address: task for task in self._not_listed(nobodys)}
        without = self._not_in_table(own, pids, len(pids) - len(nobodys))
        if self.table.complete and without:
            for task in listed.values():
                if task.thread_pid in without and task.pid and self._is_alive(task):
                    only[task.address] = task
        return only

    @staticmethod
    def _not_in_table(own: list[int], pids: set[int], found: int) -> set[int]:
        """Those of ``own`` that are not among ``pids``: looked for only if not just the idle tasks' is.

        :param own: that of the first task, which is an idle one, and so on
        :param found: how many different ones of ``own`` are among ``pids``
        """
        idle = own[:1]
        if idle and idle[0] not in pids and len(own) - found == own.count(idle[0]):
            return set()
        return set(own).difference(pids)

    def _not_listed(self, pids: set[int]) -> list[RawTask]:
        """The tasks of those pids that have one, without those that were made since the list was read."""
        if len(pids) > _MAX_LOOKED_AT:
            self.table.complete = False
            return []
        tasks = []
        for pid in pids:
            address = self.table.task_of(pid)
            if address is not None and address not in self._found.whole:
                task = self._read(address)
                if task is not None and task.thread_pid == pid and task.pid > 0:
                    tasks.append(task)
        if not self._memory.live:
            return tasks
        tasks.sort(key=lambda task: task.pid != task.tgid)  # leaders first: their threads are where they are
        unlisted: list[RawTask] = []
        hidden: set[int] = set()
        for task in tasks:
            if task.signal in hidden or not self._is_linked(task):
                hidden.add(task.signal)
                unlisted.append(task)
        return unlisted

    def _read(self, address: int) -> RawTask | None:
        try:
            return self._read_task(address)
        except ReadError:
            self.table.miss()
            return None

    def _is_alive(self, task: RawTask) -> bool:
        """Whether it had its pid, and was in the list, when the table was read."""
        if not self._memory.live:
            return not task.exit_state
        now = self._read(task.address)
        return (
            now is not None
            and (now.pid, now.start_time, now.thread_pid) == (task.pid, task.start_time, task.thread_pid)
            and not now.exit_state
            and self._is_linked(now)
        )

    def _is_linked(self, task: RawTask) -> bool:
        """Whether its neighbours, in the list of processes or of its threads, point at it."""
        layout = self._memory.layout
        if task.pid == task.tgid:
            node, after, before = task.address + layout.task_tasks, task.tasks_next, task.tasks_prev
        else:
            node, after, before = task.address + layout.task_thread_node, task.thread_next, task.thread_prev
        if after == node:
            return False
        try:
            read = self._memory.reader.read_u64
            return read(after + _POINTER) == node and read(before) == node
        except ReadError:
            return False
