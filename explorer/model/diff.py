"""What differs between two snapshots: the stable shape of ``nullfs-explorer diff --format json``.

Add to it, never rename. Kernel text in it is not escaped. Every ``before`` and ``after`` is text as people read it, or
null where there was no value.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Address, KernelText, Record
from .task import TaskKind

__all__ = (
    "DIFF_SCHEMA_VERSION",
    "Change",
    "DiffSide",
    "ObjectChange",
    "Regrouping",
    "SnapshotDiff",
    "TaskChange",
    "TaskLabel",
    "WorkerGroup",
)

DIFF_SCHEMA_VERSION = 1


class Change(Record):
    """One fact that is not what it was."""

    what: str
    before: KernelText | None
    after: KernelText | None


class DiffSide(Record):
    """One of the two snapshots."""

    target: str
    taken_at: str
    release: KernelText
    generation: str
    boot_time: str | None
    tasks: int
    errors: int
    """Values that could not be read: differences may be missing."""


class TaskLabel(Record):
    """A task, enough to find it in its snapshot."""

    address: Address
    pid: int
    comm: KernelText
    kind: TaskKind | None
    owner: str
    root: KernelText | None
    """``placement path``."""

    @property
    def kind_word(self) -> str:
        """Its kind in a word, ``?`` if that is not known."""
        return "?" if self.kind is None else self.kind.value


class TaskChange(Record):
    """A task that is in both snapshots, and differs."""

    before: TaskLabel
    after: TaskLabel
    changes: list[Change]
    """``what`` is one of comm, kind, owner, root, pwd, umask, borrowing, mnt_ns, fs_struct."""


class WorkerGroup(Record):
    """Kernel workers of one sort: their names and numbers differ from boot to boot, where they live must not."""

    name: str
    """``kworker/N``, ``kworker/uN``, ``kworker/NH`` …: digits are replaced."""
    before: dict[str, int]
    """Home (``owner, root, pwd``) -> how many live there."""
    after: dict[str, int]
    differs: bool
    """The homes differ; mere numbers never count as a difference."""


class Regrouping(Record):
    """An ``fs_struct`` of the second snapshot whose sharers did not hold one together before, or not alone."""

    fs: KernelText
    """``init_fs``, ``userspace_init_fs`` or its address, in the second snapshot."""
    came_from: list[KernelText]
    """The ``fs_struct`` objects that its sharers held in the first snapshot, most sharers first."""
    sharers: list[KernelText]
    """Who shares it now, of the tasks in both snapshots: ``comm (pid)``."""
    joined: list[KernelText]
    """Those that came from another ``fs_struct`` than most."""
    left: list[KernelText]
    """Those that most of them shared it with before, and do not any more."""


class ObjectChange(Record):
    """A mount or namespace that was added, is gone, or differs."""

    state: Literal["added", "gone", "changed"]
    name: KernelText
    """Mounts: ``fstype mountpoint``; namespaces: by number or by who lives there."""
    before: Address | None
    after: Address | None
    changes: list[Change] = Field(default_factory=list)


class SnapshotDiff(Record):
    """The document."""

    schema_version: int = DIFF_SCHEMA_VERSION
    a: DiffSide
    b: DiffSide
    same_boot: bool
    matched_by: Literal["pid and start time", "name and kind"]
    differs: bool
    kernel: list[Change]
    came: list[TaskLabel]
    """Tasks only in the second snapshot."""
    went: list[TaskLabel]
    """Tasks only in the first."""
    changed: list[TaskChange]
    workers: list[WorkerGroup]
    """Across boots only: kworkers are compared in groups, not one by one."""
    regrouped: list[Regrouping]
    mounts: list[ObjectChange]
    mount_namespaces: list[ObjectChange]
