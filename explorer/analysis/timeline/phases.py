"""Which phase of its boot a kernel is in, from one snapshot. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from explorer.analysis.isolation import find_pid1
from explorer.model import Frame, KernelText, Mount, Snapshot, Task, TaskFlag, TaskKind

__all__ = ("Phase", "PhaseSpan", "find_phase", "may_unpack", "root_mount", "runs", "spans_of", "unpacker")

_UNPACK = "do_populate_rootfs"
_ASYNC = "async_run_entry_fn"
#: What a kernel's rootfs is: ``rootfs`` on ramfs or tmpfs, and the nullfs that lies below it since 7.0.
_BEFORE_REAL_ROOT = frozenset({"rootfs", "nullfs", "ramfs"})


class Phase(StrEnum):
    """In the order of a boot; the value is what to show."""

    UNSEEN = "not looked at yet"
    """Of a timeline that is still being made: a frame that it has not come to."""
    UNREADABLE = "not readable"
    """The kernel could not be read."""
    EARLY = "early"
    """There is no PID 1 yet, or it has no ``fs_struct`` of its own yet."""
    KERNEL_INIT = "initcalls"
    """PID 1 still is the kernel's own thread: it runs the initcalls."""
    UNPACKING = "initramfs"
    """The same, while the initramfs is being unpacked."""
    INITRAMFS = "initramfs init"
    """PID 1 runs a program from the initramfs."""
    REAL_ROOT = "real root"
    """PID 1's root is another filesystem than the one the kernel came up with."""


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """Consecutive frames of one phase."""

    phase: Phase
    segment: int
    first: int
    """Index of its first frame."""
    last: int
    begin_s: float
    end_s: float
    """When the next phase was seen first; of the last one: its last frame."""


def runs(task: Task, snapshot: Snapshot) -> KernelText | None:
    """The function a kernel thread is in: of an asynchronous call, its own one where the recording knows it."""
    if task.kthread is None:
        return None
    function = task.kthread.current_func or task.kthread.threadfn
    if function == _ASYNC:
        return _async_function(task, snapshot) or function
    return function


def _async_function(task: Task, snapshot: Snapshot) -> KernelText | None:
    """What the plugin ``initramfs`` says that this worker runs. Facts may be anybody's: each is looked at."""
    facts: Any = snapshot.plugins.get("initramfs")
    pending = facts.get("pending") if isinstance(facts, dict) else None
    for call in pending if isinstance(pending, list) else ():
        worker = call.get("worker") if isinstance(call, dict) else None
        if isinstance(worker, dict) and worker.get("address") == f"0x{task.address:x}":
            function = call.get("function")
            return function if isinstance(function, str) else None
    return None


def may_unpack(task: Task) -> bool:
    """Whether it is a kworker that unpacks the initramfs, or in an asynchronous call, which may be that."""
    if task.kind is not TaskKind.KWORKER or task.kthread is None:
        return False
    return (task.kthread.current_func or task.kthread.threadfn) in (_UNPACK, _ASYNC)


def unpacker(snapshot: Snapshot, among: Iterable[Task]) -> Task | None:
    """The kworker that unpacks the initramfs. :param among: all that :func:`may_unpack`, and perhaps others"""
    for task in among:
        if task.kind is TaskKind.KWORKER and runs(task, snapshot) == _UNPACK:
            return task
    return None


def root_mount(task: Task | None, snapshot: Snapshot) -> Mount | None:
    """The mount that a task's root is on."""
    fs = None if task is None else snapshot.fs_of(task)
    return None if fs is None or fs.root is None else snapshot.mount_by_address.get(fs.root.mount)


def find_phase(snapshot: Snapshot, unpacks: Task | None) -> Phase:
    """The phase, of a frame that could be read. :param unpacks: who unpacks the initramfs"""
    if unpacks is not None:
        return Phase.UNPACKING
    pid1 = find_pid1(snapshot)
    if pid1 is None or pid1.owned_fs is None:
        return Phase.EARLY
    if not _has_execed(pid1):
        return Phase.KERNEL_INIT
    mount = root_mount(pid1, snapshot)
    return Phase.INITRAMFS if mount is None or mount.fstype in _BEFORE_REAL_ROOT else Phase.REAL_ROOT


def _has_execed(pid1: Task) -> bool:
    return not pid1.has_flag(TaskFlag.FORKNOEXEC)


def spans_of(frames: Sequence[Frame], phases: Sequence[Phase]) -> list[PhaseSpan]:
    """Runs of frames with one phase, within each segment."""
    spans: list[PhaseSpan] = []
    first = 0
    for index in range(1, len(frames) + 1):
        if index < len(frames):
            same = phases[index] is phases[first] and frames[index].segment == frames[first].segment
            if same:
                continue
        end = frames[min(index, len(frames) - 1)]
        begin = frames[first]
        spans.append(
            PhaseSpan(
                phases[first], begin.segment, begin.index, frames[index - 1].index, begin.seconds, end.seconds
            )
        )
        first = index
    return spans
