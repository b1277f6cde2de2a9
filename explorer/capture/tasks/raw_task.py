"""A ``task_struct`` as it was read, whole or in part, and the letter that its state is shown by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = (
    "MAX_TASKS",
    "PF_IDLE",
    "PF_IO_OR_USER_WORKER",
    "PF_KTHREAD",
    "AnyTask",
    "FoundTasks",
    "PartialTask",
    "RawTask",
    "state_letter",
)

#: include/linux/sched.h
PF_IDLE = 0x2
PF_IO_OR_USER_WORKER = 0x10 | 0x4000
PF_KTHREAD = 0x200000
#: PID_MAX_LIMIT on 64 bits: no kernel has more threads.
MAX_TASKS = 4 * 1024 * 1024


class RawTask(NamedTuple):
    """The members of a ``task_struct`` as they were read; pointers as numbers, NULL as 0."""

    address: int
    flags: int
    pid: int
    tgid: int
    comm: bytes
    fs: int
    real_fs: int | None
    tasks_next: int
    tasks_prev: int
    thread_next: int
    thread_prev: int
    signal: int
    real_parent: int
    nsproxy: int
    state: int
    exit_state: int
    worker_private: int
    start_time: int
    nameidata: int
    on_cpu: int | None
    cpu: int | None
    exec_start: int | None
    last_arrival: int | None
    real_cred: int

    @property
    def name(self) -> str:
        """How error entries call it."""
        return f"task {self.pid} (0x{self.address:x})"


class PartialTask(NamedTuple):
    """A :class:`RawTask` of which something is not there: ``None``, as is what this kernel has not."""

    address: int
    flags: int | None
    pid: int | None
    tgid: int | None
    comm: bytes | None
    fs: int | None
    real_fs: int | None
    tasks_next: int | None
    tasks_prev: int | None
    thread_next: int | None
    thread_prev: int | None
    signal: int | None
    real_parent: int | None
    nsproxy: int | None
    state: int | None
    exit_state: int | None
    worker_private: int | None
    start_time: int | None
    nameidata: int | None
    on_cpu: int | None
    cpu: int | None
    exec_start: int | None
    last_arrival: int | None
    real_cred: int | None

    @property
    def name(self) -> str:
        """How error entries call it."""
        return f"task {'?' if self.pid is None else self.pid} (0x{self.address:x})"


AnyTask = RawTask | PartialTask


@dataclass(slots=True)
class FoundTasks:
    """The tasks of one kernel, by address."""

    whole: dict[int, RawTask]
    partial: dict[int, PartialTask]
    """Those of which something is not there."""
    lost: str | None
    """Why there may be more; ``None`` if there cannot be."""

    def __len__(self) -> int:
        return len(self.whole) + len(self.partial)

    def get(self, address: int | None) -> AnyTask | None:
        """The task at an address, if it was found."""
        return None if address is None else self.whole.get(address) or self.partial.get(address)

    def all(self) -> Iterator[AnyTask]:
        """Every task that was found."""
        yield from self.whole.values()
        yield from self.partial.values()


# include/linux/sched.h and fs/proc/array.c, unchanged in their values from 6.1 to 7.3.
_TASK_REPORT = 0x7F
_TASK_IDLE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
_TASK_RTLOCK_WAIT = 0x1000
_TASK_FROZEN = 0x8000
_UNINTERRUPTIBLE = 0x2
_STATE_LETTERS = "RSDTtXZPI"


def state_letter(state: int, exit_state: int) -> str:
    """The letter that /proc/PID/stat shows; mirrors ``__task_state_index()`` of include/linux/sched.h."""
    report = (state | exit_state) & _TASK_REPORT
    if state == _TASK_IDLE:
        return "I"
    if state & (_TASK_RTLOCK_WAIT | _TASK_FROZEN):
        report = _UNINTERRUPTIBLE
    return _STATE_LETTERS[report.bit_length()]
