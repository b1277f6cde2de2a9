"""What the kernel is doing with paths right now: walks, work items, helpers, settings."""

from __future__ import annotations

from typing import Literal

from .base import Address, HexInt, KernelInt, KernelText, Record
from .fs import PathRef

__all__ = ("KernelSetting", "LoadedModule", "StackFrame", "UserModeHelper", "Walk", "Work", "Workqueue")


class Walk(Record):
    """A path walk in progress: ``task_struct.nameidata``."""

    path: KernelText | None
    """``nd->name->name``."""
    root: PathRef | None
    """``nd->root``: where an absolute walk starts; ``None`` while it is not set."""
    start: PathRef | None
    """``nd->path``: where the walk has got to."""
    in_init: bool
    """``LOOKUP_IN_INIT`` is set (rfc-v1 only)."""
    flags: HexInt | None = None
    """``nd->flags``: the ``LOOKUP_*`` bits, which kernels number in their own ways."""


class StackFrame(Record):
    """One frame of a task's kernel stack, innermost first. Needs DWARF."""

    function: KernelText
    source: str | None
    """``fs/coredump.c:841``."""
    inlined: bool
    opens_scope: bool
    """The frame has the local variable of ``scoped_with_init_fs()``: it opened the borrow."""


class Work(Record):
    """A work item of a workqueue."""

    func: KernelText
    worker: Address | None
    """The task that runs it; ``None`` if it waits."""
    running_s: float | None
    """For how long it has been running (``worker.current_start``, 7.x); ``None`` if it waits or is not known."""


class Workqueue(Record):
    """One ``struct workqueue_struct``."""

    address: Address
    name: KernelText
    flags: KernelInt
    """``WQ_*`` bits."""
    running: list[Work]
    inactive: list[Work]
    """Held back by ``max_active``."""
    pending: list[Work]
    """In a pool's worklist, waiting for a worker."""


class UserModeHelper(Record):
    """A ``struct subprocess_info`` that a kworker waits for, or a helper process found by its parent."""

    address: Address | None
    """The ``subprocess_info``; ``None`` where only the process is left (core pipes)."""
    path: KernelText | None
    argv: list[KernelText]
    """As ``subprocess_info`` has them; see ``setting``: they need not be what was executed."""
    waiting_worker: Address | None
    """The kworker that waits for it."""
    process: Address | None
    """The helper's task."""
    before_exec: bool | None
    """The helper has not reached exec yet: it still looks like the kworker it came from."""
    setting: str | None = None
    """The variable that ``path`` points *at* (``modprobe_path``, ``uevent_helper``): ``path`` and ``argv[0]`` are its
    present text, whatever was executed. ``None``: they are texts of their own."""
    exe: PathRef | None = None
    """The program that the process runs (``mm->exe_file``); ``None`` before exec, and where that is not there."""
    arguments: list[KernelText] | None = None
    """What it was executed with (``mm->arg_start``), cut after 4096 bytes. ``None`` where the process's own memory is
    not there: a dump filter leaves user memory out first, and a slice always."""


class KernelSetting(Record):
    """A path the kernel itself will open, and what it means where the kernel looks it up."""

    name: str
    """``core_pattern``, ``modprobe_path``, ``fw_path`` …"""
    value: KernelText | None
    path: KernelText | None
    """The path in the value that was looked up; ``None`` if it names none."""
    found: Literal["yes", "no", "not cached", "not a path", "unknown"]
    """Looked up in the dcache from where the kernel's own lookups begin: the root of ``userspace_init_fs``, of
    ``init_fs`` before 7.3. ``no``: a negative dentry; ``not cached``: it may exist or not."""
    target: PathRef | None
    init_found: Literal["yes", "no", "not cached", "not a path", "unknown"] | None = None
    """The same from PID 1's own root; ``None`` where the two are one root, and of a snapshot by a version that did not
    look."""
    init_target: PathRef | None = None

    @property
    def is_only_elsewhere(self) -> bool:
        """The kernel does not find it, and for PID 1 it may well be there: it is the kernel that looks elsewhere."""
        return self.found == "no" and self.init_found not in (None, "no")


class LoadedModule(Record):
    """A loaded kernel module."""

    name: KernelText
    taints: str
    """As in /proc/modules: ``OE`` …; empty for none."""
