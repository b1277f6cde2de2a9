"""Slices of real kernels, one for each layout that filesystem state ever had: what they show, and their books."""

from __future__ import annotations

import pytest

from explorer.analysis.accounting import reconcile
from explorer.model import Generation, Owner, Placement, Snapshot, TaskKind
from tests.conftest import FIXTURES, capture_file

GENERATIONS = {
    "isolated": Generation.ISOLATED,
    "rfc-v1": Generation.RFC_V1,
    "nullfs-rootfs": Generation.NULLFS_ROOTFS,
    "legacy-6.12": Generation.LEGACY,
    "legacy-6.1": Generation.LEGACY,
}


@pytest.mark.parametrize("layout", FIXTURES)
def test_the_generation_is_detected_on_every_layout(
    layout: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    assert fixture_snapshots[layout].kernel.generation is GENERATIONS[layout]


@pytest.mark.parametrize("layout", FIXTURES)
def test_every_reference_is_accounted_for_and_nothing_is_unreadable(
    layout: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    snapshot = fixture_snapshots[layout]
    assert snapshot.errors == []
    assert [ref.fs.address for ref in reconcile(snapshot) if not ref.balanced] == []


@pytest.mark.parametrize("layout", FIXTURES)
def test_a_slice_stands_alone_without_a_cache(layout: str, fixture_snapshots: dict[str, Snapshot]) -> None:
    alone = capture_file(FIXTURES[layout], cache=False)
    left_out = {"capture"}
    assert alone.model_dump(exclude=left_out) == fixture_snapshots[layout].model_dump(exclude=left_out)


def test_rfc_v1_is_what_its_recording_was_known_to_hold(fixture_snapshots: dict[str, Snapshot]) -> None:
    """Figures noted when the dump was made: 79 tasks besides idle ones, 36 on init_fs, 2 on userspace_init_fs."""
    snapshot = fixture_snapshots["rfc-v1"]
    assert len([task for task in snapshot.tasks if task.kind is not TaskKind.IDLE]) == 79
    users = {fs.address: fs.users for fs in snapshot.fs_structs}
    assert users[snapshot.kernel.init_fs or 0] == 36
    assert users[snapshot.kernel.userspace_init_fs or 0] == 2
    second = next(task for task in snapshot.tasks if task.comm == "swapper/1")
    fs = snapshot.fs_by_address[second.fs or 0]
    assert second.owner is Owner.PRIVATE
    assert fs.root is not None
    assert fs.root.fstype == "rootfs"
    assert {task.real_fs for task in snapshot.tasks} == {None}


def test_isolated_kernel_threads_are_in_the_private_nullfs_and_pid_1_is_not(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    snapshot = fixture_snapshots["isolated"]
    init_fs = snapshot.fs_by_address[snapshot.kernel.init_fs or 0]
    assert init_fs.root is not None
    assert init_fs.root.placement is Placement.NULLFS
    assert init_fs.root.mount == snapshot.kernel.knullfs
    init = next(task for task in snapshot.tasks if task.pid == 1)
    assert init.owner is Owner.USERSPACE_INIT_FS
    assert [task.comm for task in snapshot.tasks if task.borrowing] == ["borrower"]


@pytest.mark.parametrize("layout", FIXTURES)
def test_the_stack_on_the_root_ends_in_the_visible_root(
    layout: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    snapshot = fixture_snapshots[layout]
    namespace = snapshot.namespace_by_address[snapshot.kernel.init_mnt_ns or 0]
    bottom = snapshot.mount_by_address[namespace.root or 0]
    top = snapshot.mount_by_address[namespace.visible_root or 0]
    assert top.overmount is None
    if GENERATIONS[layout] is Generation.LEGACY:
        assert bottom is top
    else:
        assert bottom.fstype == "nullfs"
        assert bottom.overmount == top.address
        assert top.fstype == "rootfs"
