"""The tasks that the table of pids leads to: what is left when the list of tasks is broken, and what it is checked by.

Mirrors ``next_tgid()`` of fs/proc/base.c, by which /proc lists processes: it goes by ``init_pid_ns.idr``.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from explorer.capture.memory import Memory, ReadError, member_offset
from explorer.targets.symbols import IdrError, for_each_idr_item, read_idr_entries

__all__ = ("PidTable", "for_each_pid_task")

#: It takes seconds to read so many; a damaged table can be made to seem to have any number.
_MAX_PIDS = 1 << 20
#: The table, or the types that say what it is: a TypeError is of what should have an idr, and is no structure.
_DAMAGED = (drgn.FaultError, LookupError, TypeError, IdrError)


def for_each_pid_task(memory: Memory) -> Iterator[tuple[int, int]]:
    """Pid and address of every ``task_struct`` in the initial namespace; what cannot be read is in ``errors``.

    :raises ReadError: where the table itself is damaged, or leads to more than can be
    """

    prog, reader, errors = memory.prog, memory.reader, memory.errors

    def unreadable(fault: drgn.FaultError) -> None:
        errors.add("tasks", "table of pids", str(fault))

    try:
        tasks = member_offset(prog, "pid", "tasks")
        links = member_offset(prog, "task_struct", "pid_links")
        items = for_each_idr_item(prog["init_pid_ns"].member_("idr"), unreadable)
        for count, (number, pid) in enumerate(items):
            if count >= _MAX_PIDS or errors.dropped:
                raise ReadError(f"after {count} pids: there are too many, or too many are damaged")
            node = 0
            with errors.guard(f"struct pid 0x{pid:x}", "tasks"):
                node = reader.read_u64(pid + tasks)
            if node:
                yield number, node - links
    except _DAMAGED as error:
        raise ReadError(str(error)) from error


class PidTable:
    """Every ``struct pid`` in the table of the initial namespace, by its address, and the tasks that have them."""

    def __init__(self, memory: Memory) -> None:
        """:raises LookupError: if the kernel's types lack something"""
        self._memory = memory
        self._tasks = member_offset(memory.prog, "pid", "tasks")
        self._links = member_offset(memory.prog, "task_struct", "pid_links")
        self.complete = True
        """All of it is there."""

    def read(self) -> set[int]:
        """All of them that are there, whether or not a task has them still: a session can outlive its leader."""
        try:
            idr = self._memory.prog["init_pid_ns"].member_("idr")
            return read_idr_entries(idr, self._read)
        except _DAMAGED:
            self.complete = False
            return set()

    def _read(self, address: int, size: int) -> bytes | None:
        try:
            return self._memory.reader.read(address, size)
        except ReadError:
            self.complete = False
            return None

    def task_of(self, pid: int) -> int | None:
        """The ``task_struct`` whose own a ``struct pid`` is (``PIDTYPE_PID``).

        ``None`` if it is nobody's, and if it is not there.
        """
        try:
            node = self._memory.reader.read_u64(pid + self._tasks)
        except ReadError:
            self.miss()
            return None
        return node - self._links if node else None

    def miss(self) -> None:
        """Something that it leads to is not there; while the kernel runs, that has gone meanwhile."""
        self.complete = self.complete and self._memory.live
