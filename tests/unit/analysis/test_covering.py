"""What lies over a root: found wherever it is mounted on the way, and nowhere else."""

from __future__ import annotations

import time

import pytest

from explorer.analysis.mounts.covering import Covers, _upwards
from explorer.model import Attachment, Mount, PathRef, Placement, Snapshot

NS = 0x900
#: nullfs at the bottom, rootfs on it, a disk over that; on rootfs /sys and /srv, on /srv a second and a third one.
BOTTOM, ROOTFS, DISK, SYS, SRV, SRV_OVER, BELOW, DISK_HOME = range(1, 9)
TREE = {
    BOTTOM: (None, "/", ROOTFS),
    ROOTFS: (BOTTOM, "/", None),
    SYS: (ROOTFS, "/sys", None),
    SRV: (ROOTFS, "/srv", SRV_OVER),
    SRV_OVER: (SRV, "/srv", None),
    BELOW: (SRV, "/srv/below", None),
}
COVERED = {DISK: (ROOTFS, "/", None), DISK_HOME: (DISK, "/home", None)}


def mount(address: int, parent: int | None, mountpoint: str, overmount: int | None) -> Mount:
    return Mount(
        address=address,
        id=address,
        unique_id=None,
        parent=parent,
        mnt_ns=NS,
        superblock=1,
        fstype="fs",
        magic=1,
        source=None,
        mountpoint=mountpoint,
        flags=0,
        overmount=overmount,
        attachment=Attachment.NAMESPACE,
    )


def covers(snapshot: Snapshot, covered: bool) -> Covers:
    tree = TREE | COVERED | {ROOTFS: (BOTTOM, "/", DISK)} if covered else TREE
    mounts = [mount(address, *place) for address, place in tree.items()]
    return Covers(snapshot.model_copy(update={"mounts": mounts}))


def at(address: int, path: str | None) -> PathRef:
    return PathRef(mount=address, dentry=0xD, path=path, fstype="fs", placement=Placement.CHROOT)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        (ROOTFS, "/"),
        (ROOTFS, "/jail"),
        (SYS, "/sys"),
        (SYS, "/sys/kernel"),
        (SRV_OVER, "/srv"),
        (ROOTFS, None),
    ],
)
def test_what_lies_on_a_covered_root_is_covered_however_deep_it_is(
    isolated: Snapshot, where: int, path: str | None
) -> None:
    found = covers(isolated, covered=True).find(at(where, path))
    assert found is not None and found.address == DISK
    assert covers(isolated, covered=False).find(at(where, path)) is None


@pytest.mark.parametrize(
    ("where", "path"),
    [(SRV, "/srv"), (SRV, "/srv/data"), (BELOW, "/srv/below"), (ROOTFS, "/srv"), (ROOTFS, "/srv/data")],
)
def test_what_lies_below_a_mountpoint_that_is_no_root_is_covered_too(
    isolated: Snapshot, where: int, path: str
) -> None:
    found = covers(isolated, covered=False).find(at(where, path))
    assert found is not None and found.address == SRV_OVER


@pytest.mark.parametrize(
    ("where", "path"),
    [(DISK, "/"), (DISK, "/jail"), (DISK_HOME, "/home"), (DISK, "/srv/data"), (DISK, "/homes")],
)
def test_what_lies_on_top_is_not_covered_by_what_it_is_mounted_on(
    isolated: Snapshot, where: int, path: str
) -> None:
    assert covers(isolated, covered=True).find(at(where, path)) is None


def test_a_directory_whose_name_only_begins_like_a_mountpoint_is_not_covered(isolated: Snapshot) -> None:
    assert covers(isolated, covered=False).find(at(ROOTFS, "/srv-too")) is None


def test_mounts_that_are_mounted_on_each_other_end_the_search(isolated: Snapshot) -> None:
    ring = [mount(1, 2, "/a", None), mount(2, 1, "/a", None)]
    assert Covers(isolated.model_copy(update={"mounts": ring})).find(at(1, "/b")) is None


@pytest.mark.parametrize(
    "text", ["/", "", "/a", "/a/b/c", "/a//b", "a/b", "/ab/c", "/a/b/", "//", "/a/b/c/d/e/f"]
)
def test_places_above_a_path_are_the_same_by_either_way(text: str) -> None:
    places = ["/", "/a", "/a/b", "/a/b/c/d", "/ab", "a", "/b", "/a/"]
    few = [[each] for each in places]
    by_place = [found for one in few for found in _upwards(text, one)]
    assert sorted(by_place, key=len, reverse=True) == _upwards(
        text, places + [f"/other{n}" for n in range(20)]
    )


def test_a_path_of_very_many_parts_takes_no_time(isolated: Snapshot) -> None:
    deep = "/d" * 100_000
    began = time.process_time()
    assert covers(isolated, True).find(at(ROOTFS, deep)) is not None
    assert _upwards(deep, ["/", "/d", deep]) == [deep, "/d", "/"]
    assert time.process_time() - began < 2.0
