"""Dumps of kernels and by tools that cannot be had here, against what the guest said of its tasks before."""

from __future__ import annotations

from explorer.model import Attachment, Generation, Placement
from tests.conftest import DATA, capture_file
from tests.truth import differences, missing_values, read_truth

LTS = DATA / "linux-6.18.elf.zst"


def test_every_task_of_a_6_18_kernel_is_as_the_guest_said() -> None:
    """Its kallsyms are relative to a base, all of them: read as those of 6.12, no symbol is where it should be."""
    snapshot = capture_file(LTS, cache=False)
    truth = read_truth(DATA / "linux-6.18.truth")
    assert len(truth) == 86
    assert snapshot.errors == []
    assert snapshot.kernel.generation is Generation.LEGACY
    assert differences(snapshot, truth) == []
    assert missing_values(snapshot, truth) == set()


def test_the_mounts_of_a_6_18_kernel_are_in_namespaces_not_in_anonymous_ones() -> None:
    """6.18 knows an anonymous namespace by its lack of an id; the sequence number that told it before is gone."""
    snapshot = capture_file(LTS)
    pid1 = next(task for task in snapshot.tasks if task.pid == 1)
    root = snapshot.fs_by_address[pid1.owned_fs or 0].root
    assert root is not None
    assert root.placement is Placement.INIT_ROOT
    placed = {mount.attachment for mount in snapshot.mounts if mount.mnt_ns is not None}
    assert placed == {Attachment.NAMESPACE}
