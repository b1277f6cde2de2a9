"""Where a task lives: the placement of a path, and whose ``fs_struct`` a task owns. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .fs import Placement
from .mount import Attachment, Mount, MountNamespace
from .snapshot import Generation
from .task import Owner

__all__ = (
    "FAIL_FS_MAGIC",
    "NULL_FS_MAGIC",
    "PlacementContext",
    "classify_owner",
    "classify_path",
    "is_isolating",
)

#: include/uapi/linux/magic.h
NULL_FS_MAGIC = 0x4E554C4C
FAIL_FS_MAGIC = 0x4641494C


class PlacementContext(NamedTuple):
    """What a placement is decided against."""

    isolation_mount: int | None
    """The nullfs ``struct mount`` that kernel threads are rooted in; ``None`` where they are not isolated."""
    init_root: tuple[int, int] | None
    """``struct mount`` and dentry of PID 1's own root. Not of ``userspace_init_fs``: where the kernel looks paths up is
    another fact, and another place once PID 1 has left that."""
    namespaces: Mapping[int, MountNamespace]
    init_root_known: bool = True
    """False if init has a root, and it could not be read: then nothing can be told from it."""
    isolation_mount_known: bool = True
    """False if the kernel has such a mount, and which it is could not be read: any nullfs may be that."""


def classify_path(
    mount: Mount, dentry: int, mount_root_dentry: int | None, context: PlacementContext
) -> Placement | None:
    """Where a path lives: identity of mount and dentry decides, in this order. ``None`` if what decides is not there.

    A filesystem that answers nothing comes first (failfs, the private nullfs), then a mount that is in no
    namespace, then the bottom nullfs of a namespace, init's root, another namespace's visible root; what is
    left is some place inside a namespace.
    """
    if mount.address == context.isolation_mount:
        return Placement.NULLFS
    if mount.magic is None or mount.attachment is None:
        return None
    if mount.magic == FAIL_FS_MAGIC:
        return Placement.FAILFS
    if mount.attachment is Attachment.INTERNAL:
        return Placement.NULLFS if mount.magic == NULL_FS_MAGIC else Placement.INTERNAL
    if mount.attachment in (Attachment.DETACHED, Attachment.ANONYMOUS):
        return Placement.DETACHED
    namespace = context.namespaces.get(mount.mnt_ns) if mount.mnt_ns is not None else None
    if namespace is None or (mount.magic == NULL_FS_MAGIC and namespace.root is None):
        return None
    if mount.magic == NULL_FS_MAGIC and not context.isolation_mount_known:
        return None
    if mount.address == namespace.root and mount.magic == NULL_FS_MAGIC:
        return Placement.NULLFS_NS_ROOT
    if not context.init_root_known:
        return None
    if (mount.address, dentry) == context.init_root:
        return Placement.INIT_ROOT
    if dentry == mount_root_dentry or mount_root_dentry is None:
        if namespace.visible_root is None or mount_root_dentry is None:
            return None
        if mount.address == namespace.visible_root:
            return Placement.NS_ROOT
    return Placement.CHROOT


def classify_owner(
    owned_fs: int | None, sharers: int, init_fs: int | None, userspace_init_fs: int | None
) -> Owner:
    """Whose ``fs_struct`` a task owns. The two well-known ones keep their name however many share them."""
    if owned_fs is None:
        return Owner.NONE
    if owned_fs == init_fs:
        return Owner.INIT_FS
    if owned_fs == userspace_init_fs:
        return Owner.USERSPACE_INIT_FS
    return Owner.SHARED if sharers > 1 else Owner.PRIVATE


def is_isolating(generation: Generation) -> bool:
    """Whether kernel threads of this generation live apart from PID 1."""
    return generation in (Generation.RFC_V1, Generation.ISOLATED)
