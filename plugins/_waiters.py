"""Who waits for what: the tasks in the wait queue of a completion or of a pipe, for plugins whose tasks are waited for.

Mirrors ``wait_for_completion()`` (kernel/sched/swait.c) and ``wait_event()`` (kernel/sched/wait.c): whoever waits lies
in the queue with a pointer to its task, and is taken out of it before it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import PluginKernel, Reference, TaskFlag, function_name, linux_helpers

if TYPE_CHECKING:
    import drgn

__all__ = ("completion_waiters", "dumpers_into_stdin")

_MAX_WAITERS = 1000
#: With these ``private`` is the task; a poll has something else there.
_WAKES_TASK = ("autoremove_wake_function", "default_wake_function")


def completion_waiters(kernel: PluginKernel, completion: drgn.Object) -> Iterator[drgn.Object]:
    """The ``struct task_struct *`` that wait for a ``struct completion *``."""
    list_for_each_entry = linux_helpers("list").list_for_each_entry
    head = completion.wait.task_list.address_of_()
    queue = list_for_each_entry("struct swait_queue", head, "task_list")
    for entry in kernel.bounded(queue, "completion", _MAX_WAITERS):
        yield entry.task


def dumpers_into_stdin(kernel: PluginKernel, task: drgn.Object) -> Iterator[Reference]:
    """The tasks that dump core into the pipe which is a task's standard input, and wait for it.

    They wait to write (``pipe_write()``), or for the reader to end (``wait_for_dump_helpers()``).
    """
    from drgn import cast

    if not task.files.value_() or not task.files.fdt.max_fds.value_():
        return
    file = task.files.fdt.fd[0].read_()
    if not file.value_() or (file.f_inode.i_mode.value_() & 0o170000) != 0o010000:
        return
    pipe = file.f_inode.i_pipe.read_()
    if not pipe.value_():
        return
    list_for_each_entry = linux_helpers("list").list_for_each_entry
    for queue in (pipe.rd_wait, pipe.wr_wait):
        entries = list_for_each_entry("struct wait_queue_entry", queue.head.address_of_(), "entry")
        for entry in kernel.bounded(entries, "pipe", _MAX_WAITERS):
            if function_name(kernel.prog, entry.func.value_()) not in _WAKES_TASK:
                continue
            waiter = cast("struct task_struct *", entry.private)
            if waiter.flags.value_() & TaskFlag.DUMPCORE:
                yield kernel.task_ref(waiter)
