"""Worlds: every task in exactly one, and the query of each finds the same tasks, on every generation."""

from __future__ import annotations

import io

import pytest

from explorer.analysis.query.parse import compile_query
from explorer.analysis.worlds import WorldKey, find_worlds, fs_structs_by_world
from explorer.codec import write_json
from explorer.codec.columns import TextTable
from explorer.codec.snapshots import parse_snapshot
from explorer.model import Owner, Placement, Snapshot, table_and_row
from explorer.tui.views.overview import OVERVIEW_COLUMNS, fit_header, make_overview
from explorer.tui.views.verdict import show_verdict
from tests.conftest import FIXTURES


@pytest.fixture(params=FIXTURES)
def snapshot(request: pytest.FixtureRequest, fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return fixture_snapshots[request.param]


def test_every_task_is_in_exactly_one_world(snapshot: Snapshot) -> None:
    worlds = find_worlds(snapshot)
    addresses = [task.address for world in worlds.worlds.values() for task in world.tasks]
    assert sorted(addresses) == sorted(task.address for task in snapshot.tasks)


def test_every_fs_struct_is_in_exactly_one_world(snapshot: Snapshot) -> None:
    addresses = [fs.address for inside in fs_structs_by_world(snapshot).values() for fs in inside]
    assert sorted(addresses) == sorted(fs.address for fs in snapshot.fs_structs)


def test_the_query_behind_a_door_finds_exactly_who_is_inside(snapshot: Snapshot) -> None:
    for world in find_worlds(snapshot).worlds.values():
        matches = compile_query(world.query, snapshot)
        found = [task.address for task in snapshot.tasks if matches(task)]
        assert found == [task.address for task in world.tasks], world.key


def test_the_doors_of_the_overview_hold_every_task(snapshot: Snapshot) -> None:
    overview = make_overview(snapshot, find_worlds(snapshot))
    doors = [overview.left, *overview.others]
    if overview.right is not None:
        doors.append(overview.right)
    assert sum(door.count for door in doors) == len(snapshot.tasks)


def test_kernel_threads_live_apart_only_where_the_kernel_isolates_them(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    assert WorldKey.NULLFS in find_worlds(fixture_snapshots["isolated"]).worlds
    legacy = find_worlds(fixture_snapshots["legacy-6.1"]).worlds
    assert WorldKey.NULLFS not in legacy
    assert any(task.pid == 1 for task in legacy[WorldKey.INIT_FS].tasks)


def test_an_abandoned_kernel_is_called_abandoned_and_looks_bad(saved: Snapshot) -> None:
    assert (show_verdict(saved).word, show_verdict(saved).tone) == ("ISOLATED", "good")
    moved = saved.model_copy(deep=True)
    fs = moved.fs_by_address[moved.kernel.userspace_init_fs or 0]
    assert fs.root is not None
    fs.root.placement = Placement.NULLFS
    for task in moved.tasks:
        if task.pid == 1:
            task.real_fs = task.fs = 0xDEAD
            task.owner = Owner.PRIVATE
    assert (show_verdict(moved).word, show_verdict(moved).tone) == ("ABANDONED", "bad")


def test_a_kernel_on_which_all_share_is_not_shown_as_broken(fixture_snapshots: dict[str, Snapshot]) -> None:
    shown = show_verdict(fixture_snapshots["nullfs-rootfs"])
    assert "SHARED" in shown.word and shown.tone != "bad"
    assert "normal" in shown.normal


def test_the_name_of_pid_1_is_escaped_in_the_verdict(saved: Snapshot) -> None:
    hostile = saved.model_copy(deep=True)
    for task in hostile.tasks:
        if task.pid == 1:
            task.comm = "\x1b[31mevil"
    assert "\\e[31mevil" in show_verdict(hostile).sentence
    assert show_verdict(hostile).sentence.isprintable()


def test_where_nobody_borrows_no_arrow_points_to_nobody(saved: Snapshot) -> None:
    quiet = saved.model_copy(deep=True)
    for task in quiet.tasks:
        task.borrowing = False
    bridges = [make_overview(each, find_worlds(each)).bridge for each in (saved, quiet)]
    lines = [() if bridge is None else bridge.lines for bridge in bridges]
    assert any("▶" in line for line in lines[0])
    assert lines[1] == ("nobody borrows",)


def test_a_header_that_is_too_long_leaves_something_out_and_cuts_nothing() -> None:
    header = "Linux 7.3.4+deb13-cloud-amd64   7.3-lively.elf   types: BTF   112 tasks in 0.13 s"
    assert fit_header(header, 90) == header
    assert (
        fit_header(header, 79) == "Linux 7.3.4+deb13-cloud-amd64   7.3-lively.elf   BTF   112 tasks in 0.13 s"
    )
    assert fit_header(header, 70) == "Linux 7.3.4+deb13-cloud-amd64   7.3-lively.elf   BTF   112 tasks"
    assert fit_header(header, 50) == "Linux 7.3.4+deb13-cloud-amd64   7.3-lively.elf"


def test_every_column_that_is_made_before_the_overview_asks_for_it_is_one_that_it_asks_for(
    saved: Snapshot,
) -> None:
    out = io.BytesIO()
    write_json(saved, out)
    snapshot = parse_snapshot(out.getvalue(), "saved")
    make_overview(snapshot, find_worlds(snapshot))
    for name, columns in OVERVIEW_COLUMNS.items():
        place = table_and_row(getattr(snapshot, name)[-1])
        assert place is not None and isinstance(place[0], TextTable)
        assert set(columns) <= set(place[0])
