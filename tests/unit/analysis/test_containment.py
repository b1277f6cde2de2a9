"""Inside a root or outside of it is decided by mounts; text decides only within one mount."""

from __future__ import annotations

import pytest

from explorer.analysis.containment import is_inside
from explorer.model import Attachment, Mount, PathRef, Placement, Snapshot

# rootfs(1) at /; bind(2) of /srv at /jail/mnt; tmpfs(3) at /other; detached(4); two namespaces: rootfs(5) is another
MOUNTS = {
    1: (None, "/"),
    2: (1, "/jail/mnt"),
    3: (1, "/other"),
    4: (None, "/"),
    5: (None, "/"),
    6: (1, "/jail"),
}


def path(mount: int, dentry: int, text: str | None) -> PathRef:
    return PathRef(mount=mount, dentry=dentry, path=text, fstype="fs", placement=Placement.CHROOT)


@pytest.fixture
def snapshot(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    mounts = [
        Mount(
            address=address,
            id=address,
            unique_id=None,
            parent=parent,
            mnt_ns=0x100,
            superblock=1,
            fstype="fs",
            magic=1,
            source=None,
            mountpoint=mountpoint,
            flags=0,
            overmount=None,
            attachment=Attachment.NAMESPACE,
        )
        for address, (parent, mountpoint) in MOUNTS.items()
    ]
    empty = Snapshot.model_validate(fixture_snapshots["isolated"].model_dump())
    return empty.model_copy(update={"mounts": mounts})


JAIL = path(1, 10, "/jail")


@pytest.mark.parametrize(
    ("where", "root", "inside"),
    [
        (path(1, 10, "/jail"), JAIL, True),
        (path(1, 11, "/jail/etc"), JAIL, True),
        (path(1, 12, "/"), JAIL, False),
        (path(1, 13, "/jailbreak"), JAIL, False),
        (path(1, 14, "/jail (deleted)"), JAIL, False),  # the one before this jail
        (path(2, 15, "/jail/mnt/data"), JAIL, True),  # on a mount below
        (path(6, 16, "/jail"), JAIL, True),  # on a mount that covers the root: '..' ends at the root
        (path(3, 17, "/other"), JAIL, False),
        (path(4, 18, "/jail/x"), JAIL, False),  # the same text on a mount that hangs nowhere
        (path(5, 19, "/jail"), JAIL, False),  # and in another namespace
        (path(1, 12, "/"), path(5, 20, "/"), False),
        (
            path(1, 21, "/jail/mnt/data"),
            path(2, 22, "/jail/mnt"),
            False,
        ),  # below the mountpoint, not on the mount
        (path(3, 17, "/other"), path(1, 12, "/"), True),
        (path(1, 11, None), JAIL, None),
        (path(99, 11, "/jail/x"), JAIL, None),  # a mount that was not read
    ],
)
def test_the_way_up_meets_the_root_or_does_not(
    snapshot: Snapshot, where: PathRef, root: PathRef, inside: bool | None
) -> None:
    assert is_inside(where, root, snapshot) is inside


def test_mounts_that_run_in_a_circle_are_not_followed_for_ever(snapshot: Snapshot) -> None:
    snapshot.mounts[1].parent, snapshot.mounts[2].parent = 3, 2
    assert is_inside(path(2, 15, "/x"), path(5, 19, "/"), snapshot) is None
