"""The snapshot: everything that was read from one kernel at one time."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Protocol

from pydantic import ConfigDict, Field, field_validator

from .activity import KernelSetting, LoadedModule, UserModeHelper, Workqueue
from .base import Address, KernelText, Record, fields_of
from .fs import FsStruct
from .mount import Mount, MountNamespace
from .task import Task

__all__ = (
    "SCHEMA_VERSION",
    "SNAPSHOT_ARRAYS",
    "STRUCT_NAMES",
    "Capture",
    "CaptureError",
    "Generation",
    "Kernel",
    "Snapshot",
    "Source",
    "Tables",
    "use_tables",
)

SCHEMA_VERSION = 1
#: The structures that objects of a snapshot are, and a kernel stack.
STRUCT_NAMES = ("task_struct", "fs_struct", "mount", "mnt_namespace", "super_block", "dentry", "stack")


class Generation(StrEnum):
    """How a kernel arranges init's and the kernel threads' filesystem state. Detected, never by version."""

    LEGACY = "legacy"
    """One ``init_fs`` for PID 1 and all kernel threads; no nullfs (up to 6.19)."""
    NULLFS_ROOTFS = "nullfs-rootfs"
    """nullfs under the rootfs; ``init_fs`` still shared with PID 1 (7.0 to 7.2)."""
    RFC_V1 = "rfc-v1"
    """Static ``struct fs_struct userspace_init_fs``; opt-in by ``LOOKUP_IN_INIT`` (never released)."""
    ISOLATED = "isolated"
    """``userspace_init_fs`` is a pointer, tasks have ``real_fs`` (7.3 on)."""


class Source(Record):
    kind: Literal["live", "vmcore", "qemu", "physmem", "proc"]
    target: str
    """The target as the user named it."""


class Capture(Record):
    """How and when the snapshot was made."""

    tool_version: str
    taken_at: str
    """ISO 8601, UTC."""
    source: Source
    types: Literal["btf", "dwarf", "proc"]
    """Where the kernel's types came from. ``proc``: none were needed, /proc was asked."""
    duration_s: float
    consistent: bool
    """False if the kernel ran while it was read."""
    notes: list[str] = Field(default_factory=list)
    """What the user should know about how it was read."""
    missing_memory: str | None = None
    """Why a part of the memory is not there, where the dump says so: it was filtered, or cut off."""
    lost_tasks: str | None = None
    """Why there may be more tasks than were found; ``None`` if there cannot be."""
    lost_mounts: str | None = None
    """Why there may be mounts and namespaces that no task is in and that were not found; ``None`` if there cannot be,
    and in snapshots that are older than this field. Of a slice that has the reason, nobody's descriptors are there."""
    not_in_slice: int = 0
    """Of a slice: values that are ``None`` without an error, since nobody read them when it was made."""
    pids_checked: bool | None = None
    """The list of tasks was checked against the table of pids, all of both; ``False`` if not all is there, ``None`` of
    a snapshot by a version that did not check. See :attr:`Task.only_in`."""
    kernel_time: str | None = None
    """What the kernel's own wall clock said, ISO 8601, UTC: of a dump, when the kernel stopped, however much later it
    was read. That clock is set forward at every tick, and stands still while all CPUs are idle. ``None`` if it could
    not be read, and in snapshots that are older than this field."""


class Kernel(Record):
    release: KernelText
    build_id: str | None
    generation: Generation
    init_fs: Address | None
    """Address of ``init_fs``."""
    userspace_init_fs: Address | None
    """The ``fs_struct`` of userspace's init; ``None`` where the kernel has none."""
    knullfs: Address | None
    """The private nullfs ``struct mount``; ``None`` where the kernel has none."""
    init_mnt_ns: Address | None
    boot_time: str | None
    """ISO 8601, UTC, by the kernel's own wall clock."""
    cmdline: KernelText | None
    struct_sizes: dict[str, int] | None = None
    """Bytes of each structure that an object here is, and of a ``stack``: an address within one is found by them."""
    nodename: KernelText | None = None
    """What the machine is called: ``init_uts_ns.name.nodename``, as uname(2) has it. ``None`` in older snapshots."""

    @field_validator("struct_sizes")
    @classmethod
    def _only_structures(cls, sizes: dict[str, int] | None) -> dict[str, int] | None:
        """Of a stranger's file no word that is not the kernel's: redaction leaves these as they are."""
        return None if sizes is None else {name: sizes[name] for name in STRUCT_NAMES if name in sizes}


class CaptureError(Record):
    """Something that could not be read. One of these for every value that is missing because of a fault."""

    where: KernelText
    what: str
    why: str

    @property
    def is_of_plugin(self) -> bool:
        """A plugin missed it: of tasks, mounts and namespaces nothing is missing for that."""
        return self.where.startswith("plugin ")


class Tables(Protocol):
    """Makes tables of a snapshot: what a task is asked for is above this room, and comes down to it."""

    def to_arrow(self, snapshot: Snapshot, /) -> Any: ...

    def to_pandas(self, snapshot: Snapshot, /) -> Any: ...


_tables: Tables | None = None


def use_tables(tables: Tables) -> None:
    """What :meth:`Snapshot.to_arrow` and :meth:`Snapshot.to_pandas` call: the library sets it, for its users."""
    global _tables
    _tables = tables


def _tables_of_library() -> Tables:
    if _tables is None:
        raise RuntimeError(
            "tables are the library's: begin with 'from explorer import load', or any name of it"
        )
    return _tables


class Snapshot(Record):
    """One kernel at one time, normalised: every object once, pointed at by address.

    Arrays are sorted: tasks by pid, then address; the others by address.
    """

    model_config = ConfigDict(extra="ignore", ignored_types=(cached_property,))

    schema_version: int = SCHEMA_VERSION
    capture: Capture
    kernel: Kernel
    tasks: list[Task]
    fs_structs: list[FsStruct]
    mounts: list[Mount]
    mount_namespaces: list[MountNamespace]
    workqueues: list[Workqueue] = Field(default_factory=list)
    usermodehelpers: list[UserModeHelper] = Field(default_factory=list)
    settings: list[KernelSetting] = Field(default_factory=list)
    modules: list[LoadedModule] = Field(default_factory=list)
    log: list[KernelText] = Field(default_factory=list)
    """Lines of the kernel's log that are about filesystem state."""
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Plugin name -> its facts; ``{"state": "not loaded"}`` where its subsystem is not there."""
    errors: list[CaptureError]

    @cached_property
    def fs_by_address(self) -> dict[int, FsStruct]:
        return dict(zip(*fields_of(self.fs_structs, "address"), self.fs_structs, strict=True))

    def share_fs_by_address(self, other: Snapshot) -> None:
        """Take over :attr:`fs_by_address` of a snapshot that has the same objects for its fs_structs."""
        if "fs_by_address" in other.__dict__:
            self.__dict__["fs_by_address"] = other.__dict__["fs_by_address"]

    @cached_property
    def task_by_address(self) -> dict[int, Task]:
        return dict(zip(*fields_of(self.tasks, "address"), self.tasks, strict=True))

    @cached_property
    def mount_by_address(self) -> dict[int, Mount]:
        return {mount.address: mount for mount in self.mounts}

    @cached_property
    def namespace_by_address(self) -> dict[int, MountNamespace]:
        return {ns.address: ns for ns in self.mount_namespaces}

    def owned_and(self, *names: str) -> list[list[Any]]:
        """:attr:`Task.owned_fs` of every task, in the snapshot's order; and fields of it, as :func:`fields_of`."""
        owners, reals, own, *others = fields_of(self.tasks, "owner", "real_fs", "fs", *names)
        owned = [
            None if owner is None else fs if real is None else real
            for owner, real, fs in zip(owners, reals, own, strict=True)
        ]
        return [owned, *others]

    @cached_property
    def sharers_by_fs(self) -> dict[int, list[Task]]:
        """Tasks by the ``fs_struct`` they own, in the snapshot's order."""
        sharers: dict[int, list[Task]] = {}
        for task, owned in zip(self.tasks, *self.owned_and(), strict=True):
            if owned is not None:
                sharers.setdefault(owned, []).append(task)
        return sharers

    @cached_property
    def tasks_by_namespace(self) -> dict[int, list[Task]]:
        """Tasks by the mount namespace they are in, in the snapshot's order."""
        inside: dict[int, list[Task]] = {}
        for task, mnt_ns in zip(self.tasks, *fields_of(self.tasks, "mnt_ns"), strict=True):
            if mnt_ns is not None:
                inside.setdefault(mnt_ns, []).append(task)
        return inside

    def to_arrow(self) -> Any:
        """The tasks as a ``pyarrow.Table``. For users of the library, with the extra ``data``: docs/library.md."""
        return _tables_of_library().to_arrow(self)

    def to_pandas(self) -> Any:
        """The same as a ``pandas.DataFrame``."""
        return _tables_of_library().to_pandas(self)

    def fs_of(self, task: Task) -> FsStruct | None:
        """The ``fs_struct`` that a task owns; ``None`` if it has exited, or that could not be read."""
        return self.fs_by_address.get(task.owned_fs or 0)


#: The arrays of a snapshot, in the order in which they are written, and what their records are.
SNAPSHOT_ARRAYS: dict[str, type[Record]] = {
    "tasks": Task,
    "fs_structs": FsStruct,
    "mounts": Mount,
    "mount_namespaces": MountNamespace,
    "workqueues": Workqueue,
    "usermodehelpers": UserModeHelper,
    "settings": KernelSetting,
    "modules": LoadedModule,
    "errors": CaptureError,
}
