"""What the objects of a snapshot are called, and references to them: each name is spelled here and nowhere else.

Kernel text in a name is not escaped: whoever shows it escapes it. A part that could not be read is ``?``.
"""

from __future__ import annotations

from typing import Literal

from .base import Address, KernelText, Record, hex_address, made
from .fs import FsStruct
from .mount import Mount, MountNamespace
from .snapshot import Kernel, Snapshot
from .task import Task

__all__ = (
    "GLOBAL_FS_NAMES",
    "KERNEL",
    "Reference",
    "comm_and_pid",
    "fs_name",
    "fs_reference",
    "global_fs",
    "known",
    "mount_name",
    "mount_reference",
    "namespace_name",
    "namespace_reference",
    "task_at",
    "task_name",
    "task_reference",
)


class Reference(Record):
    """A pointer into the snapshot: evidence that can be followed."""

    kind: Literal[
        "task",
        "fs_struct",
        "mount",
        "mount_namespace",
        "workqueue",
        "usermodehelper",
        "setting",
        "plugin",
        "kernel",
    ]
    address: Address | None
    """The object's address; ``None`` for a setting, a plugin or the kernel."""
    label: KernelText
    """What to call it in a sentence: ``kworker/0:1 (29)``, ``tmpfs#35``, ``core_pattern``."""


#: The kernel itself, as what something is about.
_reference = made(Reference)
KERNEL = _reference(kind="kernel", address=None, label="kernel")


def known(value: object) -> str:
    """A value as text; ``?`` for one that could not be read."""
    return "?" if value is None else str(value)


def comm_and_pid(comm: KernelText, pid: int) -> KernelText:
    """``kworker/0:1 (29)``: of a task of which no more than this is left."""
    return f"{comm} ({pid})"


def task_at(pid: int | None, address: int) -> str:
    """``task 29 (0xffff…)``: how error entries call it."""
    return f"task {known(pid)} (0x{address:x})"


def task_name(task: Task) -> KernelText:
    """``kworker/0:1 (29)``."""
    return comm_and_pid(task.name, task.pid)


def task_reference(task: Task) -> Reference:
    return _reference(kind="task", address=task.address, label=task_name(task))


def mount_name(mount: Mount) -> KernelText:
    """``tmpfs#35``: filesystem and mount id."""
    return f"{mount.fstype or '?'}#{known(mount.id)}"


def mount_reference(mount: Mount) -> Reference:
    return _reference(kind="mount", address=mount.address, label=mount_name(mount))


def namespace_name(namespace: MountNamespace) -> str:
    """``mnt:[4026531832]``, as /proc/PID/ns/mnt shows it."""
    return f"mnt:[{known(namespace.inum)}]"


def namespace_reference(namespace: MountNamespace) -> Reference:
    return _reference(kind="mount_namespace", address=namespace.address, label=namespace_name(namespace))


#: What the kernel itself calls ``fs_structs``.
GLOBAL_FS_NAMES = ("init_fs", "userspace_init_fs")


def global_fs(kernel: Kernel) -> dict[int, str]:
    """The ``fs_structs`` that the kernel itself has names for, by address."""
    named = ((kernel.userspace_init_fs, "userspace_init_fs"), (kernel.init_fs, "init_fs"))
    return {address: name for address, name in named if address is not None}


def fs_name(address: int, kernel: Kernel) -> str:
    """``init_fs``, ``userspace_init_fs``, or the address."""
    return global_fs(kernel).get(address) or hex_address(address)


def fs_reference(fs: FsStruct, snapshot: Snapshot) -> Reference:
    """An ``fs_struct`` as evidence: ``init_fs``, or ``fs_struct 0x…``."""
    label = global_fs(snapshot.kernel).get(fs.address) or f"fs_struct {hex_address(fs.address)}"
    return _reference(kind="fs_struct", address=fs.address, label=label)
