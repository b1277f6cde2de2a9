"""A task (``struct task_struct``) and what a kernel thread runs."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from .activity import StackFrame, Walk
from .base import Address, HexInt, KernelInt, KernelText, Record
from .container import Container

__all__ = ("PF_NAMES", "STUCK_S", "Kthread", "OnlyIn", "Owner", "Task", "TaskFlag", "TaskKind")


#: Who has waited in D state for so long is stuck: a slow disk answers sooner.
STUCK_S = 10.0


class TaskFlag(IntEnum):
    """``PF_*``: a bit of ``task_struct.flags`` (include/linux/sched.h) whose meaning has not moved from 6.1 to 7.3."""

    IDLE = 0x2
    EXITING = 0x4
    POSTCOREDUMP = 0x8
    IO_WORKER = 0x10
    WQ_WORKER = 0x20
    FORKNOEXEC = 0x40
    SUPERPRIV = 0x100
    DUMPCORE = 0x200
    SIGNALED = 0x400
    MEMALLOC = 0x800
    USER_WORKER = 0x4000
    NOFREEZE = 0x8000
    KSWAPD = 0x20000
    KTHREAD = 0x200000
    RANDOMIZE = 0x400000
    NO_SETAFFINITY = 0x4000000


#: ``PF_KTHREAD`` -> bit.
PF_NAMES = {f"PF_{flag.name}": flag.value for flag in TaskFlag}


class TaskKind(StrEnum):
    """What sort of task this is; decided from ``task_struct.flags``, pid and parent, never from its name."""

    INIT = "init"
    """A thread of PID 1."""
    USER = "user"
    KTHREAD = "kthread"
    """``PF_KTHREAD``, and none of the special ones below."""
    KWORKER = "kworker"
    """A worker of a workqueue's pool (``worker_thread``)."""
    RESCUER = "rescuer"
    """The rescuer of one workqueue (``rescuer_thread``)."""
    IDLE = "idle"
    """``swapper/N``: one per possible CPU, pid 0."""
    IO_WORKER = "io_worker"
    """io_uring's and vhost's threads inside a user process (``PF_IO_WORKER``, ``PF_USER_WORKER``)."""
    USERMODEHELPER = "usermodehelper"
    """A user process started by the kernel: its parent is a kernel thread, and it is not PID 1."""


class Owner(StrEnum):
    """Whose ``fs_struct`` a task holds (``real_fs`` where the kernel has it, else ``fs``)."""

    INIT_FS = "init_fs"
    USERSPACE_INIT_FS = "userspace_init_fs"
    SHARED = "shared"
    """Shared with other tasks, and neither of the two above."""
    PRIVATE = "private"
    NONE = "none"
    """No ``fs_struct``: the task has exited."""


class OnlyIn(StrEnum):
    """Of two that both have every living task, the one that has this one."""

    TASK_LIST = "task_list"
    """``init_task.tasks`` and the threads of each process in it (``signal->thread_head``)."""
    PID_TABLE = "pid_table"
    """``init_pid_ns.idr``, by which /proc lists tasks and signals reach them."""


class Kthread(Record):
    """What a kernel thread runs, from its ``struct kthread`` and, for workers, ``struct worker``.

    Functions are named as kallsyms names them, with `` [module]`` behind those of a module, or ``None``.
    """

    threadfn: KernelText | None
    """``kthread.threadfn``; ``None`` for kthreadd itself and for per-CPU idle tasks."""
    full_name: KernelText | None
    """``kthread.full_name``: the name before ``comm`` cut it to 15 bytes."""
    workqueue: KernelText | None
    """Name of the workqueue of the work item being run (``worker.current_pwq->wq->name``), or of the
    workqueue that a rescuer serves. A worker that is idle belongs to no workqueue."""
    current_func: KernelText | None
    """The work function being run, of a workqueue's or of a ``struct kthread_worker``; ``None`` when idle."""
    last_func: KernelText | None
    """The work function run last."""
    desc: KernelText | None
    """``worker.desc``: usually the name of the workqueue served last."""
    module: KernelText | None = None
    """The module of the work function being run, or else of the thread function; ``None`` for vmlinux."""
    running_s: float | None = None
    """How long the present work item has been running; ``None`` when idle or not known."""
    waiting_works: KernelInt | None = None
    """Of a thread that serves a ``struct kthread_worker``: works in its ``work_list``; ``None`` for all others."""
    delayed_works: KernelInt | None = None
    """And in its ``delayed_work_list``: their timers have not fired."""
    numa_node: KernelInt | None = None
    """``kthread.node``: the NUMA node it was made for; ``None`` for any, and where the kernel does not keep it."""


class Task(Record):
    """One thread, as ``struct task_struct`` has it. Pids are those of the initial pid namespace.

    Of a task whose memory is not all there, what could not be read is ``None``.
    """

    address: Address
    pid: KernelInt
    """The thread's own id (``task_struct.pid``)."""
    tgid: KernelInt | None
    ppid: KernelInt | None
    """``real_parent->tgid``."""
    comm: KernelText | None
    kind: TaskKind | None
    state: str | None
    """One letter, as ``/proc/PID/stat`` shows it: R S D T t X Z P I."""
    flags: HexInt | None
    """``PF_*`` bits."""
    fs: Address | None
    """``task_struct.fs``: what path lookups use now."""
    real_fs: Address | None
    """``task_struct.real_fs``: what the task owns. ``None`` also where the kernel has no such member."""
    borrowing: bool | None
    """The task is looking paths up through ``userspace_init_fs`` without owning it."""
    owner: Owner | None
    mnt_ns: Address | None
    """``nsproxy->mnt_ns``; ``None`` after exit."""
    user_ns: Address | None = None
    """``real_cred->user_ns`` of a user task that shares its ``fs_struct``; ``None`` for all others."""
    start_time: KernelInt | None
    """``task_struct.start_boottime``: nanoseconds since boot, suspend included; /proc/PID/stat has it in ticks."""
    kthread: Kthread | None
    walk: Walk | None = None
    """The path walk it is in."""
    waiting_s: float | None = None
    """How long ago it last ran, by the scheduler's clock; ``None`` while it runs."""
    stack: list[StackFrame] | None = None
    """Kernel stack of a task that borrows or walks a path; ``None`` without DWARF, and for all others."""
    stack_base: Address | None = None
    """``task_struct.stack``: the lowest address of its kernel stack; ``None`` after that has been freed."""
    only_in: OnlyIn | None = None
    """Where alone the kernel has it, if not in both; idle tasks are in neither, and ``None``."""
    cgroup: KernelText | None = None
    """``cgroups->dfl_cgrp``: its control group in the default hierarchy (v2), as the line ``0::`` of /proc/PID/cgroup
    has it, from the hierarchy's root. ``None`` on a kernel without control groups, and in older snapshots."""
    container: Container | None = None
    """What the path of its control group names, or else that of one in another hierarchy (v1, as of Docker there);
    ``None`` where none names one."""
    pid_in_namespace: KernelInt | None = None
    """``thread_pid->numbers[level].nr``: its pid in its own pid namespace, the last of ``NSpid`` in /proc/PID/status.
    ``None`` if that is the initial namespace, where it is :attr:`pid`; and of a task that has no pid any more."""

    @property
    def owned_fs(self) -> int | None:
        """The ``fs_struct`` the task holds a reference to; ``None`` also where that is not known.

        What it looks paths up with now may be borrowed: it does not stand in for a ``real_fs`` that could not be read.
        """
        if self.owner is None:
            return None
        return self.real_fs if self.real_fs is not None else self.fs

    @property
    def name(self) -> KernelText:
        """What it is called, as /proc has it: a kernel thread by its full name where ``comm`` cut that; ``?`` if
        neither could be read.

        Mirrors ``get_kthread_comm()`` in kernel/kthread.c, as ``proc_task_name()`` asks it.
        """
        full = None if self.kthread is None else self.kthread.full_name
        return full or self.comm_word

    @property
    def comm_word(self) -> KernelText:
        """``comm``, ``?`` if that could not be read."""
        return "?" if self.comm is None else self.comm

    @property
    def kind_word(self) -> str:
        """Its kind in a word, ``?`` if that is not known."""
        return "?" if self.kind is None else self.kind.value

    @property
    def owner_word(self) -> str:
        """Its owner in a word, ``?`` if that is not known."""
        return "?" if self.owner is None else self.owner.value

    def has_flag(self, bit: int) -> bool:
        """Whether a ``PF_*`` bit is known to be set."""
        return self.flags is not None and bool(self.flags & bit)
