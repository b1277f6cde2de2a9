"""What differs between two snapshots: the stable shape of ``nullfs-explorer diff --format json``.

Add to it, never rename. Kernel text in it is not escaped. Every ``before`` and ``after`` is text as people read it, or
null where there was no value. What programs ask of a difference is beside the words, and in no document: fields with
``exclude``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from .base import Address, KernelText, Record
from .task import Owner, TaskKind

__all__ = (
    "DIFF_SCHEMA_VERSION",
    "Change",
    "DiffSide",
    "Fact",
    "ObjectChange",
    "ObjectState",
    "Regrouping",
    "SnapshotDiff",
    "TaskChange",
    "TaskLabel",
    "WorkerGroup",
)

DIFF_SCHEMA_VERSION = 1


class Fact(StrEnum):
    """What can differ: of a task, a mount, a namespace, an ``fs_struct`` or the kernel."""

    COMM = "comm"
    KIND = "kind"
    OWNER = "owner"
    BORROWING = "borrowing"
    ROOT = "root"
    PWD = "pwd"
    UMASK = "umask"
    FS_STRUCT = "fs_struct"
    MNT_NS = "mnt_ns"
    CGROUP = "cgroup"
    CONTAINER = "container"
    USERS = "users"
    HOLDERS = "holders"
    MOUNTPOINT = "mountpoint"
    ATTACHMENT = "attachment"
    OPTIONS = "options"
    PARENT = "parent"
    OVERMOUNT = "overmount"
    VISIBLE_ROOT = "visible_root"
    RELEASE = "release"
    BUILD_ID = "build_id"
    GENERATION = "generation"
    CMDLINE = "cmdline"
    PID1_OWNS = "PID 1 owns"
    VERDICT = "verdict"
    INIT_FS = "init_fs"
    INIT_FS_ROOT = "init_fs root"
    INIT_FS_PWD = "init_fs pwd"
    INIT_FS_UMASK = "init_fs umask"
    INIT_FS_USERS = "init_fs held by user tasks"
    USERSPACE_INIT_FS = "userspace_init_fs"
    USERSPACE_INIT_FS_ROOT = "userspace_init_fs root"
    USERSPACE_INIT_FS_PWD = "userspace_init_fs pwd"
    USERSPACE_INIT_FS_UMASK = "userspace_init_fs umask"
    USERSPACE_INIT_FS_USERS = "userspace_init_fs held by user tasks"


class Change(Record):
    """One fact that is not what it was."""

    what: Fact
    before: KernelText | None
    after: KernelText | None

    @property
    def text(self) -> KernelText:
        """``root: / → none``: not escaped."""
        before, after = ("none" if value is None else value for value in (self.before, self.after))
        return f"{self.what}: {before} → {after}"


class DiffSide(Record):
    """One of the two snapshots."""

    target: str
    taken_at: str
    kernel_time: str | None = None
    """What the kernel's own clock said: of a dump, when it stopped."""
    moment: str = Field(default="", exclude=True)
    """Both in words."""
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
    owner: Owner | None
    root: KernelText | None
    """``placement path``."""
    borrowing: bool | None = Field(default=None, exclude=True)


class TaskChange(Record):
    """A task that is in both snapshots, and differs."""

    before: TaskLabel
    after: TaskLabel
    changes: list[Change]
    """Of comm, kind, owner, root, pwd, umask, borrowing, mnt_ns, fs_struct, cgroup and container."""


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

    address: Address | None = Field(default=None, exclude=True)
    """Of it, in the second snapshot; ``None`` in a document that was read."""
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


class ObjectState(StrEnum):
    """What became of an object."""

    ADDED = "added"
    GONE = "gone"
    CHANGED = "changed"


class ObjectChange(Record):
    """A mount, namespace or ``fs_struct`` that was added, is gone, or differs."""

    state: ObjectState
    name: KernelText
    """Mounts: ``fstype mountpoint``; namespaces: by number or by who lives there."""
    before: Address | None
    after: Address | None
    changes: list[Change] = Field(default_factory=list)

    @property
    def address(self) -> int | None:
        """Where it is now; of what is gone, where it was."""
        return self.before if self.after is None else self.after


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
