"""The record of a task of which a part is not there: ``None`` for every value that would need it, and never a guess."""

from __future__ import annotations

from typing import Protocol

from explorer.model import Generation, Kthread, Owner, Task, TaskKind, Walk, kernel_text

from .activity import TaskActivity
from .kthreads import KthreadReader
from .raw_task import (
    PF_IDLE,
    PF_IO_OR_USER_WORKER,
    PF_KTHREAD,
    AnyTask,
    PartialTask,
    state_letter,
)
from .walks import RawWalk

__all__ = ("PartialRecords",)


class Surroundings(Protocol):
    """What a task's record takes from the other tasks and from the kernel."""

    generation: Generation
    userspace_init_fs: int | None

    def owned_fs(self, task: AnyTask) -> int | None: ...
    def owner(self, owned: int) -> Owner | None: ...
    def parent_tgid(self, raw: AnyTask) -> int | None: ...
    def user_kind(self, raw: AnyTask) -> TaskKind | None: ...
    def mnt_ns(self, raw: AnyTask) -> int | None: ...
    def user_ns(self, raw: AnyTask, owned: int) -> int | None: ...
    def walk(self, task: AnyTask, raw: RawWalk, in_init: bool) -> Walk: ...


class PartialRecords:
    """Builds the records of partial tasks, as :class:`~.records.RecordBuilder` builds those of whole ones."""

    def __init__(self, builder: Surroundings, kthreads: KthreadReader, activity: TaskActivity) -> None:
        self._builder = builder
        self._kthreads = kthreads
        self._activity = activity

    def task(self, raw: PartialTask) -> Task:
        """One task. Its missing members have an error entry already."""
        builder = self._builder
        owned = builder.owned_fs(raw)
        kind, kthread = self._kind(raw)
        walk = None if not raw.nameidata else self._activity.walks.read_walk(raw)
        borrowing = self._borrows(raw, None if walk is None else walk.in_init)
        in_init = bool(borrowing) and builder.generation is Generation.RFC_V1
        clocks = (raw.cpu, raw.on_cpu, raw.exec_start)
        return Task.build(
            {
                "address": raw.address,
                "pid": raw.pid,
                "tgid": raw.tgid,
                "ppid": builder.parent_tgid(raw),
                "comm": None if raw.comm is None else kernel_text(raw.comm.split(b"\0", 1)[0]),
                "kind": kind,
                "state": None
                if raw.state is None or raw.exit_state is None
                else state_letter(raw.state, raw.exit_state),
                "flags": raw.flags,
                "fs": raw.fs or None,
                "real_fs": raw.real_fs or None,
                "borrowing": borrowing,
                "owner": None if owned is None else Owner.NONE if not owned else builder.owner(owned),
                "mnt_ns": builder.mnt_ns(raw),
                "user_ns": None if not owned or raw.flags is None else builder.user_ns(raw, owned),
                "start_time": raw.start_time,
                "kthread": kthread,
                "walk": None if walk is None else builder.walk(raw, walk, in_init),
                "waiting_s": None if None in clocks else self._activity.clocks.waiting_s(raw),
                "stack": self._activity.read_stack(raw) if borrowing or raw.nameidata else None,
            }
        )

    def _kind(self, raw: PartialTask) -> tuple[TaskKind | None, Kthread | None]:
        flags = raw.flags
        if raw.pid == 0:
            return TaskKind.IDLE, None
        if raw.tgid == 1:
            return TaskKind.INIT, None
        if flags is None or raw.tgid is None:
            return None, None
        if flags & PF_IDLE:
            return TaskKind.IDLE, None
        if flags & PF_KTHREAD:
            info = None if raw.worker_private is None else self._kthreads.read_kthread(raw)
            return (None, None) if info is None else (info.kind, info.kthread)
        if flags & PF_IO_OR_USER_WORKER:
            return TaskKind.IO_WORKER, None
        return self._builder.user_kind(raw), None

    def _borrows(self, raw: AnyTask, in_init: bool | None) -> bool | None:
        """Whether it borrows ``userspace_init_fs``: by what it looks up with (7.3), or by its walk's flag (rfc-v1)."""
        builder = self._builder
        if builder.generation is Generation.RFC_V1:
            return False if raw.nameidata == 0 else in_init
        if builder.generation is not Generation.ISOLATED:
            return False
        if raw.fs is None or raw.real_fs is None or builder.userspace_init_fs is None:
            return False if raw.fs is not None and raw.fs == raw.real_fs else None
        return raw.fs != raw.real_fs and raw.fs == builder.userspace_init_fs
