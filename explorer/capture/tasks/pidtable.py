"""The tasks that the table of pids leads to: what is left when the list of tasks is broken.

Mirrors ``next_tgid()`` of fs/proc/base.c, by which /proc lists processes: it goes by ``init_pid_ns.idr``.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from explorer.capture.memory import Memory, ReadError, member_offset
from explorer.targets.symbols import IdrError, for_each_idr_item

__all__ = ("for_each_pid_task",)

#: It takes seconds to read so many; a damaged table can be made to seem to have any number.
_MAX_PIDS = 1 << 20


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
        items = for_each_idr_item(prog["init_pid_ns"].idr, unreadable)
        for count, (number, pid) in enumerate(items):
            if count >= _MAX_PIDS or errors.dropped:
                raise ReadError(f"after {count} pids: there are too many, or too many are damaged")
            node = 0
            with errors.guard(f"struct pid 0x{pid:x}", "tasks"):
                node = reader.read_u64(pid + tasks)
            if node:
                yield number, node - links
    except (drgn.FaultError, LookupError, IdrError) as error:
        raise ReadError(str(error)) from error
