"""Mounts and mount namespaces; and who holds them: whatever has a reference, each counted once as the kernel does."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from .base import KERNEL_WORD, Address, HexInt, KernelInt, KernelText, Record

__all__ = (
    "MNT_NAMES",
    "MNT_OPTIONS",
    "MNT_READONLY",
    "Attachment",
    "Holder",
    "HolderKind",
    "HolderUse",
    "Mount",
    "MountHolders",
    "MountNamespace",
    "MountOption",
    "UseHow",
)

#: What mountinfo shows of a mount's own flags, in its order.
MountOption = Literal[
    "ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow", "idmapped"
]


#: ``MNT_USER_SETTABLE_MASK`` of ``vfsmount.mnt_flags`` (include/linux/mount.h), unmoved from 6.1 to 7.3: what mount
#: options are; the other bits are the kernel's own state.
MNT_READONLY = 0x40
MNT_OPTIONS = {
    0x1: "nosuid",
    0x2: "nodev",
    0x4: "noexec",
    0x8: "noatime",
    0x10: "nodiratime",
    0x20: "relatime",
    MNT_READONLY: "ro",
    0x80: "nosymfollow",
}
#: The bits of ``mnt_flags`` by the kernel's names: ``enum mount_flags`` since 6.16, macros of the same values before.
#: ``MNT_WRITE_HOLD``, ``MNT_SHARED``, ``MNT_UNBINDABLE`` and ``MNT_MARKED`` are elsewhere by now, their bits unused.
MNT_NAMES = {
    **{
        bit: "MNT_READONLY" if bit == MNT_READONLY else f"MNT_{word.upper()}"
        for bit, word in MNT_OPTIONS.items()
    },
    0x100: "MNT_SHRINKABLE",
    0x200: "MNT_WRITE_HOLD",
    0x1000: "MNT_SHARED",
    0x2000: "MNT_UNBINDABLE",
    0x4000: "MNT_INTERNAL",
    0x40000: "MNT_LOCK_ATIME",
    0x80000: "MNT_LOCK_NOEXEC",
    0x100000: "MNT_LOCK_NOSUID",
    0x200000: "MNT_LOCK_NODEV",
    0x400000: "MNT_LOCK_READONLY",
    0x800000: "MNT_LOCKED",
    0x1000000: "MNT_DOOMED",
    0x2000000: "MNT_SYNC_UMOUNT",
    0x4000000: "MNT_MARKED",
    0x8000000: "MNT_UMOUNT",
}


class Attachment(StrEnum):
    """What a mount hangs on; from ``mount.mnt_ns`` and the mount flags."""

    NAMESPACE = "namespace"
    ANONYMOUS = "anonymous"
    """In an anonymous namespace: made by fsmount() or open_tree(), not (or no longer) attached."""
    DETACHED = "detached"
    """Unmounted lazily, and kept alive by whoever still points at it."""
    INTERNAL = "internal"
    """A mount of the kernel's own (``kern_mount()``), in no namespace."""


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


class Mount(Record):
    """One ``struct mount``."""

    address: Address
    id: KernelInt | None
    """``mnt_id``, as in /proc/PID/mountinfo."""
    unique_id: KernelInt | None
    """``mnt_id_unique``: never reused. ``None`` before 6.8."""
    parent: Address | None
    """The parent ``struct mount``; ``None`` when the mount is its own parent."""
    mnt_ns: Address | None
    superblock: Address | None
    fstype: KernelText | None
    """``s_type->name``, and ``.s_subtype`` where there is one."""
    magic: HexInt | None
    """``s_magic``."""
    source: KernelText | None
    """``mnt_devname``."""
    mountpoint: KernelText | None
    """Path of the mount's root from the top of its mount tree."""
    flags: HexInt | None
    """``mnt_flags``."""
    overmount: Address | None
    """The mount stacked on this mount's root."""
    attachment: Attachment | None
    # What /proc/PID/mountinfo says besides; ``None`` in snapshots that are older than these fields, too.
    dev: Annotated[str | None, KERNEL_WORD] = None
    """``major:minor`` of ``s_dev``."""
    root: KernelText | None = None
    """Which directory (or file) of its filesystem is mounted: ``/`` but for bind mounts."""
    options: list[MountOption] | None = None
    """Decoded from ``flags``, and ``idmapped``."""
    shared: KernelInt | None = None
    """``shared:N``: its peer group; ``None`` if it has none."""
    master: KernelInt | None = None
    """``master:N``: the peer group it receives mounts from; ``None`` if there is none."""
    propagate_from: KernelInt | None = None
    """``propagate_from:N``: the nearest group above ``master`` that its namespace shows, if that is another."""
    unbindable: bool | None = None
    """``None``: whether it shares, receives or refuses is not known."""
    holders: MountHolders | None = None
    """Who holds it: read of mounts that are detached, and of those that were asked for; ``None`` for all others."""


class MountNamespace(Record):
    """One ``struct mnt_namespace``."""

    address: Address
    inum: KernelInt | None
    root: Address | None
    """The bottom mount."""
    visible_root: Address | None
    """The topmost overmount of the root: what ``/`` means in this namespace."""
    nr_mounts: KernelInt | None
    """Mounts found in it; ``None`` if there are others that could not be reached."""
    anonymous: bool | None = None
    """In no tree of namespaces: what fsmount() and open_tree() put a mount into until it is attached."""
    nr_tasks: KernelInt | None = None
    """Tasks in it. 0: it lives on for its ``holders``. ``None``: there may be tasks that were not found, or the
    snapshot is older than this field."""
    count: KernelInt | None = None
    """The kernel's own reference count, of a namespace that no task is in."""
    holders: list[Holder] | None = None
    """Who holds a namespace that no task is in; ``None`` for all others."""
