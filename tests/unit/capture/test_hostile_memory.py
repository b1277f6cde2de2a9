"""Memory made to keep a reader busy for ever, or to fill its memory: each case ends with what can be read, and says so.

Chance damage does not do this; somebody who sends a dump can.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn
import pytest
from drgn.helpers.linux.idr import idr_for_each

from explorer.capture import plugins
from explorer.capture.kernel import workqueues
from explorer.capture.paths import resolve as paths
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Snapshot
from explorer.plugin import load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, open_kernel
from explorer.targets.symbols.btf import BtfError, Kind
from explorer.targets.symbols.idr import IdrError, for_each_idr_entry
from tests.conftest import FIXTURES
from tests.unit.btf_builder import BtfBuilder
from tests.unit.poked import FREE, put, put_words
from tests.unit.targets.symbols.test_btf_types import program

_NODE = 2  # the low bits of a pointer to a node of an xarray
_SLOTS = 64


@pytest.fixture(params=["isolated", "legacy-6.1"])
def kernel(request: pytest.FixtureRequest) -> Iterator[OpenKernel]:
    with open_kernel(detect_target(str(FIXTURES[request.param]))) as opened:
        yield opened


def capture(kernel: OpenKernel) -> Snapshot:
    return capture_snapshot(CaptureRequest.from_kernel(kernel))


def address_of(kernel: OpenKernel, name: str) -> int:
    address = kernel.types.symbol_address(name)
    assert address is not None
    return address


def offset_of(kernel: OpenKernel, structure: str, member: str) -> int:
    return int(drgn.offsetof(kernel.prog.type(f"struct {structure}"), member))


def whys(snapshot: Snapshot, where: str) -> str:
    return "; ".join(error.why for error in snapshot.errors if error.where == where)


# --- Radix trees


def put_node(kernel: OpenKernel, address: int, shift: int, slots: list[int]) -> int:
    """A ``struct xa_node``; returns the entry that leads to it."""
    data = bytearray(drgn.sizeof(kernel.prog.type("struct xa_node")))
    data[offset_of(kernel, "xa_node", "shift")] = shift
    struct.pack_into(f"<{len(slots)}Q", data, offset_of(kernel, "xa_node", "slots"), *slots)
    put(kernel.prog, address, bytes(data))
    return address + _NODE


def put_idr(kernel: OpenKernel, address: int, head: int) -> drgn.Object:
    data = bytearray(drgn.sizeof(kernel.prog.type("struct idr")))
    struct.pack_into("<Q", data, offset_of(kernel, "idr", "idr_rt.xa_head"), head)
    put(kernel.prog, address, bytes(data))
    return drgn.Object(kernel.prog, "struct idr", address=address)


def test_the_pointers_in_a_tree_of_three_levels_are_those_that_drgn_finds_in_the_same_order(
    kernel: OpenKernel,
) -> None:
    value = 0xFFFF888000000000
    leaves = [
        put_node(
            kernel,
            FREE + 0x1000 * leaf,
            0,
            [value + 8 * (leaf * _SLOTS + i) * (i % 3 > 0) for i in range(_SLOTS)],
        )
        for leaf in range(1, 5)
    ]
    retry, sibling = 256 << 2 | _NODE, 3 << 2 | _NODE
    middle = put_node(kernel, FREE + 0x8000, 6, [leaves[0], 0, leaves[1], sibling, leaves[2]])
    top = put_node(kernel, FREE + 0x9000, 12, [0, middle, retry, leaves[3]])
    idr = put_idr(kernel, FREE + 0xA000, top)
    # drgn gives the retry entry out as a node would be: it is in no tree that is at rest.
    expected = [entry.value_() for _, entry in idr_for_each(put_idr(kernel, FREE + 0xB000, middle))]
    found = list(for_each_idr_entry(idr))
    assert len(expected) > 100
    assert found[: len(expected)] == expected
    assert found[len(expected) :] == [value for value in leaf_values(kernel, leaves[3]) if value]
    assert list(for_each_idr_entry(put_idr(kernel, FREE + 0xC000, 0))) == []
    assert list(for_each_idr_entry(put_idr(kernel, FREE + 0xD000, value))) == [value]


def leaf_values(kernel: OpenKernel, entry: int) -> list[int]:
    slots = entry - _NODE + offset_of(kernel, "xa_node", "slots")
    return list(struct.unpack(f"<{_SLOTS}Q", kernel.prog.read(slots, 8 * _SLOTS)))


@pytest.mark.parametrize("slots", [1, _SLOTS])
def test_a_node_that_holds_itself_ends_the_walk(kernel: OpenKernel, slots: int) -> None:
    entry = put_node(kernel, FREE, 6, [FREE + _NODE] * slots)
    with pytest.raises(IdrError, match=r"circle|above"):
        list(for_each_idr_entry(put_idr(kernel, FREE + 0x1000, entry)))


def test_a_node_that_hangs_from_two_is_walked_once_not_twice_at_every_level(kernel: OpenKernel) -> None:
    below = 0xFFFF888000000000
    for level in range(10):
        below = put_node(kernel, FREE + 0x1000 * level, 6 * level, [below] * _SLOTS)
    found = []
    with pytest.raises(IdrError, match="circle"):
        for entry in for_each_idr_entry(put_idr(kernel, FREE + 0x20000, below)):
            found.append(entry)
    assert len(found) == _SLOTS


def test_a_broken_list_and_a_table_of_pids_in_a_circle_still_end_with_the_idle_tasks(
    kernel: OpenKernel,
) -> None:
    init_task, tasks = address_of(kernel, "init_task"), offset_of(kernel, "task_struct", "tasks")
    put_words(kernel.prog, init_task + tasks, 0, 0)
    entry = put_node(kernel, FREE, 0, [FREE + _NODE] * _SLOTS)
    head = address_of(kernel, "init_pid_ns") + offset_of(kernel, "pid_namespace", "idr.idr_rt.xa_head")
    put_words(kernel.prog, head, entry)
    snapshot = capture(kernel)
    assert snapshot.tasks
    assert {task.pid for task in snapshot.tasks} == {0}
    assert "radix tree" in "; ".join(error.why for error in snapshot.errors if error.what == "table of pids")


def test_a_list_of_worker_pools_in_a_circle_costs_that_list_alone() -> None:
    with open_kernel(detect_target(str(FIXTURES["isolated"]))) as kernel:
        entry = put_node(kernel, FREE, 0, [FREE + _NODE] * _SLOTS)
        head = address_of(kernel, "worker_pool_idr") + offset_of(kernel, "idr", "idr_rt.xa_head")
        put_words(kernel.prog, head, entry)
        loaded = load_plugins(strangers=False).plugins
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, loaded))
    assert len(snapshot.tasks) > 100
    assert "radix tree" in str(snapshot.plugins)


# --- Objects that lie in one another


def test_tasks_that_lie_within_one_another_are_not_a_million(kernel: OpenKernel) -> None:
    """A list whose nodes are 16 bytes apart: each is the start of another task."""
    count, stride, room = 20_000, 16, 1 << 16
    init = address_of(kernel, "init_task") + offset_of(kernel, "task_struct", "tasks")
    first = FREE - (8 << 20)
    nodes = [init, *(first + room + stride * step for step in range(count)), init]
    data = bytearray(2 * room + count * stride)
    for step in range(1, count + 1):
        struct.pack_into("<QQ", data, nodes[step] - first, nodes[step + 1], nodes[step - 1])
    put(kernel.prog, first, bytes(data))
    put_words(kernel.prog, init, nodes[1], nodes[count])
    snapshot = capture(kernel)
    assert len(snapshot.tasks) < 5000
    assert "lie within another" in whys(snapshot, "tasks")


def test_mounts_that_lie_within_one_another_are_not_a_million() -> None:
    """A tree that is one long branch, with nodes 16 bytes apart."""
    with open_kernel(detect_target(str(FIXTURES["isolated"]))) as kernel:
        count, stride, room = 20_000, 32, 1 << 16
        first = FREE - (8 << 20)
        right, left = (offset_of(kernel, "rb_node", name) for name in ("rb_right", "rb_left"))
        data = bytearray(2 * room + count * stride)
        for step in range(count):
            at = room + step * stride
            struct.pack_into("<Q", data, at + right, first + at + stride)
            struct.pack_into("<Q", data, at + left, 0)
        put(kernel.prog, first, bytes(data))
        before = capture(kernel)
        init_ns = before.kernel.init_mnt_ns
        assert init_ns is not None
        put_words(kernel.prog, init_ns + offset_of(kernel, "mnt_namespace", "mounts.rb_node"), first + room)
        snapshot = capture(kernel)
    assert len(snapshot.mounts) < 5000
    assert "lie within another" in whys(snapshot, f"mount namespace 0x{init_ns:x}")
    assert len(snapshot.tasks) == len(before.tasks)


# --- Paths


def put_directories(kernel: OpenKernel, first: int, below: int, count: int, name: bytes) -> int:
    """``count`` dentries, each in the one before, the first in ``below``; returns the last."""
    dentry = int(drgn.sizeof(kernel.prog.type("struct dentry")))
    size = dentry + -dentry % 64
    data = bytearray(count * size + 256)
    data[count * size : count * size + len(name)] = name
    parent, length, text, hashed = (
        offset_of(kernel, "dentry", member)
        for member in ("d_parent", "d_name.len", "d_name.name", "d_hash.pprev")
    )
    for step in range(count):
        at = step * size
        struct.pack_into("<Q", data, at + parent, first + at - size if step else below)
        struct.pack_into("<I", data, at + length, len(name))
        struct.pack_into("<Q", data, at + text, first + count * size)
        struct.pack_into("<Q", data, at + hashed, first)
    put(kernel.prog, first, bytes(data))
    return first + (count - 1) * size


def init_fs(kernel: OpenKernel, snapshot: Snapshot) -> tuple[int, int]:
    """Of PID 1: its fs_struct, and the dentry it is in."""
    fs = next(task.fs for task in snapshot.tasks if task.pid == 1)
    assert fs is not None
    return fs, kernel.prog.read_u64(fs + offset_of(kernel, "fs_struct", "pwd.dentry"))


def test_a_directory_deeper_than_path_max_has_its_whole_path(kernel: OpenKernel) -> None:
    fs, below = init_fs(kernel, capture(kernel))
    last = put_directories(kernel, FREE - (16 << 20), below, 20_000, b"d")
    put_words(kernel.prog, fs + offset_of(kernel, "fs_struct", "pwd.dentry"), last)
    snapshot = capture(kernel)
    found = next(record for record in snapshot.fs_structs if record.address == fs)
    assert found.pwd is not None
    assert found.pwd.path == "/d" * 20_000


def test_a_path_of_a_megabyte_is_one_value_that_could_not_be_read(kernel: OpenKernel) -> None:
    fs, below = init_fs(kernel, capture(kernel))
    last = put_directories(kernel, FREE - (16 << 20), below, 5_000, b"d" * 200)
    put_words(kernel.prog, fs + offset_of(kernel, "fs_struct", "pwd.dentry"), last)
    snapshot = capture(kernel)
    assert "longer than 65536 bytes" in whys(snapshot, f"fs_struct 0x{fs:x}")
    assert len(snapshot.errors) == 1


def test_paths_that_are_long_all_together_end_in_errors_not_in_all_of_memory(
    kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 40,000 bytes, where there may be 50,000 in all, and few of them are kept."""
    monkeypatch.setattr(paths, "_CREDIT", 50_000)
    monkeypatch.setattr(paths, "_MAX_KEPT", 4_096)
    fs, below = init_fs(kernel, capture(kernel))
    one, other = (
        put_directories(kernel, FREE - (megabytes << 20), below, 200, name * 199)
        for megabytes, name in ((16, b"a"), (8, b"b"))
    )
    put_words(kernel.prog, fs + offset_of(kernel, "fs_struct", "root.dentry"), one)
    put_words(kernel.prog, fs + offset_of(kernel, "fs_struct", "pwd.dentry"), other)
    snapshot = capture(kernel)
    found = next(record for record in snapshot.fs_structs if record.address == fs)
    assert [ref is not None and ref.path for ref in (found.root, found.pwd)].count(None) == 1
    assert "all together" in whys(snapshot, f"fs_struct 0x{fs:x}")


def test_paths_that_end_in_an_error_are_paid_for_too_and_the_same_one_only_once(
    kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else any number of tasks in one deep directory cost its whole depth each, or leave nothing for others."""
    before = capture(kernel)
    mounts = {fs.pwd.mount for fs in before.fs_structs if fs.pwd is not None}
    assert 1 < len(mounts) < len(before.fs_structs) // 2
    monkeypatch.setattr(paths, "_CREDIT", 80_000 * len(mounts) + 100_000)
    _, below = init_fs(kernel, before)
    last = put_directories(kernel, FREE - (16 << 20), below, 5_000, b"d" * 200)
    for fs in before.fs_structs:
        if fs.pwd is not None:
            put_words(kernel.prog, fs.address + offset_of(kernel, "fs_struct", "pwd.dentry"), last)
    snapshot = capture(kernel)
    assert {error.why for error in snapshot.errors} == {"the path is longer than 65536 bytes"}
    assert [fs.root for fs in snapshot.fs_structs] == [fs.root for fs in before.fs_structs]
    monkeypatch.setattr(paths, "_CREDIT", 100_000)
    assert any("all together" in error.why for error in capture(kernel).errors)


# --- Lists of lists


def test_workqueues_whose_lists_are_endless_all_together_are_cut_and_said(
    kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = capture(kernel)
    monkeypatch.setattr(workqueues, "_MAX_NODES", 40)
    snapshot = capture(kernel)
    assert whole.errors == []
    assert any("more than 40 entries" in error.why for error in snapshot.errors)
    assert 0 < len(snapshot.workqueues) <= 40 < len(whole.workqueues)
    assert snapshot.tasks == whole.tasks


def test_plugins_whose_lists_are_endless_all_together_are_cut_and_said(
    kernel: OpenKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_MAX_ITEMS", 3)
    loaded = load_plugins(strangers=False).plugins
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, loaded))
    assert "more than 3 in all plugins" in str(snapshot.errors)


# --- Types


def test_anonymous_structs_that_double_at_every_level_are_an_error_not_a_day_of_work() -> None:
    make = BtfBuilder()
    number = make.add(Kind.INT, "int", 4, words=(1 << 24 | 32,))
    inner = make.struct("", 4, [("a", number, 0)])
    for _ in range(40):
        inner = make.struct("", 4, [("", inner, 0), ("", inner, 0)])
    make.struct("bomb", 4, [("", inner, 0)])
    prog, _ = program(make.btf())
    with pytest.raises(BtfError, match="members in its anonymous members"):
        prog.type("struct bomb").has_member("b")


def test_anonymous_structs_within_anonymous_structs_still_show_what_is_in_them() -> None:
    make = BtfBuilder()
    number = make.add(Kind.INT, "int", 4, words=(1 << 24 | 32,))
    inner = make.struct("", 4, [("deep", number, 0)])
    for level in range(7):
        inner = make.struct("", 8, [(f"level{level}", number, 32), ("", inner, 0)])
    make.struct("nested", 8, [("", inner, 0)])
    prog, _ = program(make.btf())
    nested = prog.type("struct nested")
    assert all(nested.has_member(name) for name in ("deep", "level0", "level6"))
