"""Mounts and mount namespaces."""

from __future__ import annotations

from enum import StrEnum

from .base import Address, HexInt, KernelInt, KernelText, Record

__all__ = ("Attachment", "Mount", "MountNamespace")


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
