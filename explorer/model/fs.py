"""``struct fs_struct`` and the paths in it."""

from __future__ import annotations

from enum import StrEnum

from .base import Address, KernelInt, KernelText, Record

__all__ = ("FsStruct", "PathRef", "Placement")


class Placement(StrEnum):
    """Where a root or a working directory lives. Decided by mount and dentry, never by path text."""

    NULLFS = "nullfs"
    """The kernel's private, empty nullfs: where isolated kernel threads live."""
    NULLFS_NS_ROOT = "nullfs-ns-root"
    """The bottom mount of a mount namespace, a nullfs."""
    FAILFS = "failfs"
    INIT_ROOT = "init-root"
    """Same mount and dentry as PID 1's own root, wherever ``userspace_init_fs`` points."""
    NS_ROOT = "ns-root"
    """The visible root (topmost overmount) of another mount namespace."""
    CHROOT = "chroot"
    """Any other place inside a mount namespace; for a working directory: simply not a root."""
    DETACHED = "detached"
    """The mount is in no namespace's tree any more (lazily unmounted), or not yet."""
    INTERNAL = "internal"
    """A kernel-internal mount that is not nullfs."""


class PathRef(Record):
    """A ``struct path`` held by an ``fs_struct``."""

    mount: Address
    """The ``struct mount``, not the ``struct vfsmount`` inside it."""
    dentry: Address
    path: KernelText | None
    """What the kernel's ``d_path()`` gives from the top of the mount tree the path is in, however deep the
    reader's own root; with `` (deleted)`` where the kernel says so. ``None`` if it could not be read."""
    fstype: KernelText | None
    placement: Placement | None


class FsStruct(Record):
    """One ``struct fs_struct``; several tasks may share it (``CLONE_FS``)."""

    address: Address
    users: KernelInt | None
    """The kernel's own reference count."""
    sharers: KernelInt
    """Tasks found that own it."""
    umask: str | None
    """Four octal digits: ``"0022"``."""
    in_exec: KernelInt | None
    seq: KernelInt | None
    """The sequence count; odd while a writer is at work."""
    unstable: bool
    """It changed at every attempt to read it: root and pwd may not belong together. Live kernels only."""
    root: PathRef | None
    pwd: PathRef | None
