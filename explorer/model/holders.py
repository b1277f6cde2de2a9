"""Who holds a mount, or a mount namespace: whatever has a reference, each counted once as the kernel counts it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from .base import Address, KernelInt, KernelText, Record

__all__ = ("Holder", "HolderKind", "HolderUse", "MountHolders", "UseHow")


class HolderKind(StrEnum):
    """What has the reference."""

    ROOT = "root"
    """``fs_struct.root``."""
    PWD = "pwd"
    """``fs_struct.pwd``."""
    FILE = "file"
    """A ``struct file``: open, run or mapped."""
    BACKING_FILE = "backing file"
    """A file of a stacked filesystem, for one that was opened through the mount (``backing_file.user_path``)."""
    SOCKET = "socket"
    """An ``AF_UNIX`` socket that was bound there (``unix_sock.path``)."""
    MOUNT_TABLE = "mount table"
    """An open /proc/PID/mountinfo, mounts or mountstats: it keeps the task's root and namespace."""
    WALK = "walk"
    """A path walk that waits there (``nameidata``)."""
    MOUNT = "mount"
    """A mount that is mounted on it (until 6.17: since then that is no reference); of a namespace: the nsfs mount that
    pins it."""
    PARENT = "parent"
    """It was unmounted together with the mount it is on, which keeps it."""
    UMOUNT = "umount"
    """An unmount at work, that will drop it in a moment."""
    NAMESPACE = "namespace"
    """The mount namespace that it is in."""
    KERNEL = "kernel"
    """A mount of the kernel's own is held by whoever made it."""


UseHow = Literal["fd", "exe", "map", "root", "pwd", "walk"]


class HolderUse(Record):
    """A task by which a holder was found: the holder goes when all of these let go of it."""

    task: Address
    how: UseHow
    fd: KernelInt | None
    """The descriptor's number; ``None`` if it is none."""


class Holder(Record):
    """One reference."""

    kind: HolderKind
    address: Address
    """Of the ``fs_struct``, the ``struct file``, the ``unix_sock``, the ``struct mount``, ..."""
    path: KernelText | None
    """What is held, from the top of the mount tree; ``None`` if it has no path, or that could not be read."""
    uses: list[HolderUse]
    """The first of them, by task."""
    nr_uses: KernelInt
    """How many there are in all."""


class MountHolders(Record):
    """The holders of one mount that were found, beside the mount's own count."""

    count: KernelInt | None
    """``mnt_get_count()``: the references that the kernel counts, on all CPUs together."""
    holders: list[Holder]
    missing: KernelText | None
    """Why there may be more of them: what could not be read; ``None`` if everything was, as far as it was needed."""

    @property
    def unexplained(self) -> int | None:
        """References of which nobody knows who has them; negative: there are more holders than references."""
        return None if self.count is None else self.count - len(self.holders)
