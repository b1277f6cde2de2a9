"""Names of mounts in a trace: of those that came later too, and never that of one which has left its address."""

from __future__ import annotations

import pytest

from explorer.capture import MountIdentity
from explorer.model import Placement, Snapshot
from explorer.tracing.places import MountPlaces

_OFFSET = 0x20
_NEW = 0xFFFF88800ABC0000


@pytest.fixture
def isolated(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return fixture_snapshots["isolated"]


class Kernel:
    """What lies where, and which addresses were looked at."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.mounts = {mount.address: MountIdentity.of(mount) for mount in snapshot.mounts}
        self.looked: list[int] = []

    def read(self, address: int) -> MountIdentity | None:
        self.looked.append(address)
        return self.mounts.get(address)


def _other(fstype: str = "tmpfs", number: int = 900) -> MountIdentity:
    return MountIdentity(number, 0x80000000 + number, 0xFFFF888000770000, fstype)


def test_a_mount_that_came_later_has_its_name_and_one_that_is_none_has_none(isolated: Snapshot) -> None:
    kernel = Kernel(isolated)
    places = MountPlaces(isolated, _OFFSET, kernel.read)
    kernel.mounts[_NEW] = _other()
    places.look([_NEW + _OFFSET, _NEW + 0x1000 + _OFFSET, 0, None])
    assert kernel.looked == [_NEW, _NEW + 0x1000]
    found = places.find(_NEW + _OFFSET)
    assert found is not None and (found.id, found.fstype, found.placement) == (900, "tmpfs", None)
    assert places.find(_NEW + 0x1000 + _OFFSET) is None, "nobody can say what was there"
    assert places.find(0) is None and places.find(None) is None


def test_an_address_that_another_mount_has_now_is_not_known_and_later_has_the_name_of_the_other(
    isolated: Snapshot,
) -> None:
    kernel = Kernel(isolated)
    places = MountPlaces(isolated, _OFFSET, kernel.read)
    mount = next(each for each in isolated.mounts if each.fstype == "tmpfs")
    vfsmount = mount.address + _OFFSET
    places.look([vfsmount])
    same = places.find(vfsmount)
    assert same is not None and (same.id, same.fstype) == (mount.id, mount.fstype)
    kernel.mounts[mount.address] = _other("ext4")
    places.look([vfsmount])
    assert places.find(vfsmount) is None, "the lookup may have been in the one or in the other"
    places.look([vfsmount])
    later = places.find(vfsmount)
    assert later is not None and (later.id, later.fstype, later.placement) == (900, "ext4", None)
    kernel.mounts[mount.address] = None
    places.look([vfsmount])
    assert places.find(vfsmount) is None


def test_whatever_lies_where_inits_root_was_is_never_taken_for_it(isolated: Snapshot) -> None:
    """A trace's header names that mount by its address alone."""
    kernel = Kernel(isolated)
    places = MountPlaces(isolated, _OFFSET, kernel.read)
    assert isolated.kernel.knullfs is not None
    vfsmount = isolated.kernel.knullfs + _OFFSET
    places.look([vfsmount])
    found = places.find(vfsmount)
    assert found is not None and found.placement is Placement.NULLFS
    kernel.mounts[isolated.kernel.knullfs] = _other()
    for _ in range(3):
        places.look([vfsmount])
        assert places.find(vfsmount) is None


def test_looking_is_bounded_and_what_was_not_looked_at_is_not_known(isolated: Snapshot) -> None:
    kernel = Kernel(isolated)
    places = MountPlaces(isolated, _OFFSET, kernel.read)
    many = [_NEW + number * 0x100 for number in range(1000)]
    kernel.mounts |= {address: _other(number=number) for number, address in enumerate(many)}
    places.look(address + _OFFSET for address in many)
    assert len(kernel.looked) == 256
    named = [places.find(address + _OFFSET) for address in many]
    assert sum(place is not None for place in named) == 256
