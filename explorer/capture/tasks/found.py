"""The tasks that were found, whole or in part, and what their flags and states mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import itemgetter, ne

from explorer.capture.memory import AnyTask, PartialTask, RawTask, TaskStruct
from explorer.model import OnlyIn, TaskFlag

__all__ = (
    "MAX_TASKS",
    "PF_IDLE",
    "PF_IO_OR_USER_WORKER",
    "PF_KTHREAD",
    "FoundTasks",
    "TaskColumns",
    "state_letter",
)

_MEMBERS = [itemgetter(TaskStruct._fields.index(name)) for name in ("fs", "real_fs", "nsproxy")]
# As plain numbers: they are asked of every task of a large machine.
PF_IDLE = TaskFlag.IDLE.value
PF_IO_OR_USER_WORKER = TaskFlag.IO_WORKER.value | TaskFlag.USER_WORKER.value
PF_KTHREAD = TaskFlag.KTHREAD.value
#: PID_MAX_LIMIT on 64 bits: no kernel has more threads.
MAX_TASKS = 4 * 1024 * 1024


class TaskColumns:
    """What is asked of all tasks several times, in their order: a look at each of a hundred thousand is a look at
    memory that no cache has any more, and they are few who have more than one of these of their own."""

    __slots__ = ("first_in", "nsproxies", "pointed_at", "sharers")

    def __init__(self, tasks: dict[int, RawTask]) -> None:
        fs, real_fs, nsproxy = (list(map(member, tasks.values())) for member in _MEMBERS)
        owned = fs if None in real_fs[:1] else real_fs
        self.sharers: Counter[int] = Counter(owned)
        """``fs_struct`` -> how many tasks own it; 0: none."""
        self.pointed_at: dict[int, int] = dict(self.sharers)
        """Every ``fs_struct`` that one has, whether or not it is its own: in the order of tasks, nearly that of their
        addresses, which makes them cheap to sort."""
        self.pointed_at |= dict.fromkeys(compress(fs, map(ne, fs, owned)), 0)
        self.nsproxies: Counter[int] = Counter(nsproxy)
        """How many tasks are in each."""
        self.first_in: dict[int, int] = dict(zip(reversed(nsproxy), reversed(tasks), strict=True))
        """The first task that is, by address."""


@dataclass(slots=True)
class FoundTasks:
    """The tasks of one kernel, by address."""

    whole: dict[int, RawTask]
    partial: dict[int, PartialTask]
    """Those of which something is not there."""
    lost: str | None
    """Why there may be more; ``None`` if there cannot be."""
    only_in: dict[int, OnlyIn] = field(default_factory=dict)
    """By address: those that the list of tasks has and the table of pids has not, or the other way."""
    idle_lost: bool = False
    """The idle task of some CPU was not found: they are in no list, and all in the initial namespaces."""
    checked: bool = False
    """The one was checked against the other, and all of both is there."""
    _columns: TaskColumns | None = None

    @property
    def columns(self) -> TaskColumns:
        """Of ``whole``, made when they are first asked for. Whoever changes it after that forgets them."""
        if self._columns is None:
            self._columns = TaskColumns(self.whole)
        return self._columns

    def forget_columns(self) -> None:
        """Some of ``whole`` are others now."""
        self._columns = None

    def __len__(self) -> int:
        return len(self.whole) + len(self.partial)

    def get(self, address: int | None) -> AnyTask | None:
        """The task at an address, if it was found."""
        return None if address is None else self.whole.get(address) or self.partial.get(address)

    def all(self) -> Iterator[AnyTask]:
        """Every task that was found."""
        return chain(self.whole.values(), self.partial.values())


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
    if state & (_TASK_RTLOCK_WAIT | _TASK_FROZEN):
        report = _UNINTERRUPTIBLE
    elif state & _TASK_IDLE == _TASK_IDLE:  # with TASK_FREEZABLE, too
        return "I"
    return _STATE_LETTERS[report.bit_length()]
