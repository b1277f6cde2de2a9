"""Mounts and mount namespaces."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from .base import KERNEL_WORD, Address, HexInt, KernelInt, KernelText, Record
from .holders import Holder, MountHolders

__all__ = ("Attachment", "Mount", "MountNamespace", "MountOption")

#: What mountinfo shows of a mount's own flags, in its order.
MountOption = Literal[
    "ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow", "idmapped"
]


class Attachment(StrEnum):
    """What a mount hangs on; from ``mount.mnt_ns`` and the mount flags."""

    NAMESPACE = "namespace"
    ANONYMOUS = "anonymous"
    """In an anonymous namespace: made by fsmount() or open_tree(), not (or no longer) attached."""
    DETACHED = "detached"
    """Unmounted lazily, and kept alive by whoever still points at it."""
    INTERNAL = "internal"
    """A mount of the kernel's own (``kern_mount()``), in no namespace."""


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
