"""Placement is decided by mount and dentry, never by path text."""

from __future__ import annotations

import pytest

from explorer.model import Attachment, Mount, MountNamespace, Owner, Placement
from explorer.model.placement import (
    FAIL_FS_MAGIC,
    NULL_FS_MAGIC,
    PlacementContext,
    classify_owner,
    classify_path,
)

INIT_NS, OTHER_NS = 0x100, 0x200
BOTTOM, ROOTFS, OTHER_ROOT, KNULLFS = 0x1, 0x2, 0x20, 0x3
ROOT_DENTRY, SUB_DENTRY = 0xA0, 0xA1

CONTEXT = PlacementContext(
    isolation_mount=KNULLFS,
    init_root=(ROOTFS, ROOT_DENTRY),
    namespaces={
        INIT_NS: MountNamespace(address=INIT_NS, inum=1, root=BOTTOM, visible_root=ROOTFS, nr_mounts=2),
        OTHER_NS: MountNamespace(address=OTHER_NS, inum=2, root=BOTTOM, visible_root=OTHER_ROOT, nr_mounts=2),
    },
)


def mount(address: int, ns: int | None, magic: int, attachment: Attachment = Attachment.NAMESPACE) -> Mount:
    return Mount(
        address=address,
        id=address,
        unique_id=None,
        parent=None,
        mnt_ns=ns,
        superblock=1,
        fstype="fs",
        magic=magic,
        source=None,
        mountpoint="/",
        flags=0,
        overmount=None,
        attachment=attachment,
    )


@pytest.mark.parametrize(
    ("where", "dentry", "expected"),
    [
        (mount(KNULLFS, None, NULL_FS_MAGIC, Attachment.INTERNAL), ROOT_DENTRY, Placement.NULLFS),
        (mount(0x4, None, NULL_FS_MAGIC, Attachment.INTERNAL), ROOT_DENTRY, Placement.NULLFS),
        (mount(BOTTOM, INIT_NS, NULL_FS_MAGIC), ROOT_DENTRY, Placement.NULLFS_NS_ROOT),
        (mount(0x5, None, FAIL_FS_MAGIC, Attachment.INTERNAL), ROOT_DENTRY, Placement.FAILFS),
        (mount(ROOTFS, INIT_NS, 1), ROOT_DENTRY, Placement.INIT_ROOT),
        (mount(ROOTFS, INIT_NS, 1), SUB_DENTRY, Placement.CHROOT),
        (mount(OTHER_ROOT, OTHER_NS, 1), ROOT_DENTRY, Placement.NS_ROOT),
        (mount(OTHER_ROOT, OTHER_NS, 1), SUB_DENTRY, Placement.CHROOT),
        (mount(0x30, None, 1, Attachment.DETACHED), ROOT_DENTRY, Placement.DETACHED),
        (mount(0x30, 0x300, 1, Attachment.ANONYMOUS), ROOT_DENTRY, Placement.DETACHED),
        (mount(0x30, None, 1, Attachment.INTERNAL), ROOT_DENTRY, Placement.INTERNAL),
    ],
)
def test_a_path_is_placed_by_its_mount(where: Mount, dentry: int, expected: Placement) -> None:
    assert classify_path(where, dentry, ROOT_DENTRY, CONTEXT) is expected


def test_a_pid1_that_is_in_nullfs_itself_makes_nobody_elses_nullfs_an_init_root() -> None:
    lost = PlacementContext(KNULLFS, (KNULLFS, ROOT_DENTRY), CONTEXT.namespaces)
    private = mount(KNULLFS, None, NULL_FS_MAGIC, Attachment.INTERNAL)
    assert classify_path(private, ROOT_DENTRY, ROOT_DENTRY, lost) is Placement.NULLFS
    assert classify_path(mount(ROOTFS, INIT_NS, 1), ROOT_DENTRY, ROOT_DENTRY, lost) is Placement.NS_ROOT


@pytest.mark.parametrize(
    ("owned", "sharers", "expected"),
    [
        (None, 0, Owner.NONE),
        (1, 60, Owner.INIT_FS),
        (2, 1, Owner.USERSPACE_INIT_FS),
        (3, 1, Owner.PRIVATE),
        (3, 2, Owner.SHARED),
    ],
)
def test_the_two_well_known_fs_structs_keep_their_name(
    owned: int | None, sharers: int, expected: Owner
) -> None:
    assert classify_owner(owned, sharers, 1, 2) is expected


def test_a_kernel_without_userspace_init_fs_does_not_call_exited_tasks_its_owners() -> None:
    assert classify_owner(None, 0, 1, None) is Owner.NONE
