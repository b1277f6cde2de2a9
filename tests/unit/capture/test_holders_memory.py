"""Holders of mounts where memory has holes, or was made to mislead: what is missing is said, and nothing hangs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import drgn
import pytest

from explorer.capture.holders import reader as holders_reader
from explorer.capture.holders.reader import HolderReader
from explorer.capture.memory import MemoryReader
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Attachment, Mount, MountHolders, Snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, OpenOptions, open_kernel
from tests.conftest import HELD, SAMPLE, capture_file
from tests.holes import PAGE, Holes, differences
from tests.unit.poked import FREE, put, put_words

_ROOT = 2  # ma_root: there is more than one entry
_RANGE = 0x14  # a maple_range_64 in a pointer to a node: its kind in bits 3 to 6, and bit 2


@pytest.fixture
def kernel() -> Iterator[OpenKernel]:
    with open_kernel(detect_target(str(HELD)), OpenOptions(use_cache=False)) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole() -> Snapshot:
    return capture_file(HELD)


def capture(kernel: OpenKernel) -> Snapshot:
    return capture_snapshot(CaptureRequest.from_kernel(kernel))


def dead(snapshot: Snapshot, source: str) -> tuple[Mount, MountHolders]:
    [mount] = [mount for mount in snapshot.mounts if mount.source == source]
    assert mount.holders is not None
    return mount, mount.holders


def task_of(kernel: OpenKernel, snapshot: Snapshot, comm: str) -> drgn.Object:
    task = next(task for task in snapshot.tasks if task.comm == comm)
    return drgn.Object(kernel.prog, "struct task_struct *", task.address)


def test_the_fixture_is_whole(whole: Snapshot) -> None:
    assert whole.errors == []
    assert whole.capture.lost_mounts is None
    detached = [mount for mount in whole.mounts if mount.attachment is Attachment.DETACHED]
    left = {mount.source: mount.holders and mount.holders.unexplained for mount in detached}
    assert left.pop("h-sent") == 1
    assert set(left.values()) == {0}


def pages_for_holders(kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pages that are read for the holders, and for nothing before."""
    before: set[int] = set()
    during: set[int] = set()
    pages, read, find = before, MemoryReader.read, HolderReader.read

    def note(self: MemoryReader, address: int, size: int) -> bytes:
        pages.update(range(address // PAGE * PAGE, address + size, PAGE))
        return read(self, address, size)

    def find_holders(self: HolderReader, choose: Callable[[Snapshot], Collection[int]]) -> None:
        nonlocal pages
        pages = during
        find(self, choose)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryReader, "read", note)
        patch.setattr(HolderReader, "read", find_holders)
        capture(kernel)
    return sorted(during - before)


def test_a_hole_in_any_page_that_leads_to_a_holder_makes_holders_missing_and_says_so(
    kernel: OpenKernel, whole: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    holes = Holes(kernel)
    pages = [page for page in pages_for_holders(kernel, monkeypatch) if holes.is_there(page)]
    assert len(pages) > 30
    said = 0
    for page in pages:
        with holes.hole(page):
            holed = holes.capture()
        shown = {mount.address: mount for mount in holed.mounts}
        for mount in whole.mounts:
            old, new = mount.holders, shown[mount.address].holders
            if old is None or new is None:
                assert old is new
                continue
            assert {h.address for h in new.holders} <= {h.address for h in old.holders}, f"0x{page:x}"
            assert new.count in (old.count, None)
            if len(new.holders) < len(old.holders):
                assert new.missing is not None, f"0x{page:x}: {mount.source} lost a holder in silence"
                said += 1
            if new.count is None:
                assert any(error.what == "mnt_count" for error in holed.errors)
        quiet = holed.model_copy(
            update={"mounts": [m.model_copy(update={"holders": None}) for m in holed.mounts]}
        )
        plain = whole.model_copy(
            update={"mounts": [m.model_copy(update={"holders": None}) for m in whole.mounts]}
        )
        assert differences(plain, quiet) == []
    assert said > 5


def test_mappings_in_a_circle_are_one_thing_that_is_missing(kernel: OpenKernel, whole: Snapshot) -> None:
    tree = task_of(kernel, whole, "h-map").mm.mm_mt
    node = FREE + 0x100
    slots = drgn.offsetof(kernel.prog.type("struct maple_range_64"), "slot")
    data = bytearray(256)
    data[slots : slots + 8] = (node | _RANGE).to_bytes(8, "little")
    put(kernel.prog, node, bytes(data))
    put_words(kernel.prog, tree.ma_root.address_of_().value_(), node | _RANGE | _ROOT)
    _, holders = dead(capture(kernel), "h-map")
    assert holders.holders == []
    assert holders.unexplained == 1
    assert "mappings of task" in (holders.missing or "")
    assert "runs in a circle" in (holders.missing or "")


@pytest.mark.parametrize("kind", [0, 5, 15])
def test_a_node_of_no_known_kind_is_not_guessed_at(kernel: OpenKernel, whole: Snapshot, kind: int) -> None:
    tree = task_of(kernel, whole, "h-map").mm.mm_mt
    put_words(kernel.prog, tree.ma_root.address_of_().value_(), (FREE | kind << 3 | 6))
    _, holders = dead(capture(kernel), "h-map")
    assert "is no node of a maple tree" in (holders.missing or "")


def test_a_table_of_endless_descriptors_is_not_read(kernel: OpenKernel, whole: Snapshot) -> None:
    table = task_of(kernel, whole, "h-files").files.fdt
    put(kernel.prog, table.max_fds.address_of_().value_(), (0xFFFFFFFF).to_bytes(4, "little"))
    _, holders = dead(capture(kernel), "h-files")
    assert holders.holders == []
    assert "has 4294967295 places" in (holders.missing or "")


def test_a_descriptor_that_is_no_pointer_costs_that_table_and_is_said(
    kernel: OpenKernel, whole: Snapshot
) -> None:
    array = task_of(kernel, whole, "h-files").files.fdt.fd.value_()
    put_words(kernel.prog, array, 0x4141414141414141)
    _, holders = dead(capture(kernel), "h-files")
    assert "descriptor 0 is 0x4141414141414141" in (holders.missing or "")


def test_more_files_than_any_system_has_end_the_search_and_that_is_said(
    kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders_reader, "_MAX_FILES", 20)
    snapshot = capture(kernel)
    missing = {
        mount.holders.missing for mount in snapshot.mounts if mount.holders and mount.holders.unexplained
    }
    assert len(missing) == 1
    assert "more than 20 descriptors and mappings" in (missing.pop() or "")


def test_a_holder_of_thousands_of_tasks_lists_the_first_and_counts_all(
    kernel: OpenKernel, whole: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders_reader, "_MAX_USES", 2)
    _, holders = dead(capture(kernel), "h-table")
    assert [(len(holder.uses), holder.nr_uses) for holder in holders.holders] == [(2, 3)]


@pytest.mark.parametrize("circle", [True, False])
def test_superblocks_in_a_circle_or_torn_are_said_once_and_tasks_are_whole(
    kernel: OpenKernel, whole: Snapshot, circle: bool
) -> None:
    head = kernel.types.symbol_address("super_blocks")
    assert head is not None
    first = kernel.prog.read_u64(head)
    # what a slice as old as this one lacks is an error of a dump that is none: no earlier version read control groups
    whole_dump = dataclasses.replace(CaptureRequest.from_kernel(kernel), is_slice=False)
    lacking = Counter(map(str, capture_snapshot(whole_dump).errors))
    put_words(kernel.prog, kernel.prog.read_u64(first), first if circle else 0x4242)
    snapshot = capture(kernel)
    assert "the list of superblocks breaks off" in (snapshot.capture.lost_mounts or "")
    assert snapshot.tasks == whole.tasks
    assert snapshot.errors == []
    assert {mount.holders for mount in snapshot.mounts} == {None}
    # in a dump that is no slice it is a fault, and what is known without that list is told
    snapshot = capture_snapshot(whole_dump)
    (said,) = [error for error in snapshot.errors if error.where == "superblocks"]
    assert Counter(map(str, snapshot.errors)) == lacking + Counter([str(said)])
    assert dead(snapshot, "h-root")[1].unexplained == 0


def test_a_tree_of_namespaces_in_a_circle_is_an_error_and_no_namespace_is_lost(
    kernel: OpenKernel, whole: Snapshot
) -> None:
    tree = kernel.types.symbol_address("mnt_ns_tree")
    assert tree is not None
    root = kernel.prog.read_u64(tree)
    put_words(kernel.prog, root + 8, root)
    snapshot = capture(kernel)
    assert [error.where for error in snapshot.errors] == ["mount namespaces"]
    assert "runs in a circle" in snapshot.errors[0].why
    # their mounts lead to them, too
    assert {space.inum for space in snapshot.mount_namespaces} == {
        space.inum for space in whole.mount_namespaces
    }


def test_a_slice_of_an_older_version_says_once_that_it_has_no_holders() -> None:
    """Of its detached mounts, too: not a fault for each table of descriptors that was not kept."""
    old = capture_file(SAMPLE)
    if old.capture.lost_mounts is None:
        pytest.skip("the sample was made anew")
    assert old.errors == []
    assert {mount.holders for mount in old.mounts} == {None}
    assert [mount for mount in old.mounts if mount.attachment is Attachment.DETACHED] != []
