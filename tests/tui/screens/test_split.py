"""How the table and the detail share the screen, with the real app."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.capture import CaptureRequest, capture_snapshot
from explorer.model import Snapshot, mount_reference
from explorer.targets import detect_target, open_kernel
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.tables import TableScreen
from explorer.tui.views.details import DetailTable, Fact, describe
from explorer.tui.views.details.facts import Detail
from tests.conftest import HELD
from tests.tui.conftest import Pilots, drive, press, screen_text, settle, type_ahead


def heights(app: object) -> tuple[int, int]:
    assert isinstance(app, ExplorerApp)
    assert isinstance(app.screen, TableScreen)
    return app.screen.table.size.height, app.screen.pane.size.height


@pytest.fixture(scope="module")
def held_snapshot() -> Snapshot:
    """Of a guest in which mounts were unmounted lazily, and held in each way there is."""
    with open_kernel(detect_target(str(HELD))) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@pytest.mark.parametrize("key", ["f", "m", "t", "n"])
def test_the_detail_grows_shrinks_and_takes_all_and_gives_it_back(saved: Snapshot, key: str) -> None:
    async def scenario(pilot: Pilots) -> None:
        await press(pilot, key)
        await pilot.pause(0.4)
        table, pane = heights(pilot.app)
        await press(pilot, "right_parenthesis", "right_parenthesis", "right_parenthesis", "right_parenthesis")
        smaller, larger = heights(pilot.app)
        assert larger > max(pane, smaller)
        await press(pilot, *["left_parenthesis"] * 5)
        assert heights(pilot.app)[1] < larger // 2
        await press(pilot, "Z")
        screen = pilot.app.screen
        assert isinstance(screen, TableScreen)
        assert screen.pane.has_focus
        assert heights(pilot.app)[1] >= table + pane
        await press(pilot, "Z")
        assert screen.table.has_focus
        assert heights(pilot.app)[0] > 0

    drive(ExplorerApp(snapshot=saved), scenario)


def test_what_the_table_has_no_rows_for_is_the_details(saved: Snapshot) -> None:
    few = saved.model_copy(update={"fs_structs": saved.fs_structs[:2]})

    async def scenario(pilot: Pilots) -> None:
        type_ahead(pilot, "f")
        await settle(pilot)
        await pilot.pause(0.5)
        table, pane = heights(pilot.app)
        assert table <= 3 < pane

    drive(ExplorerApp(snapshot=few), scenario)


def test_who_holds_a_detached_mount_is_said_before_its_flags_and_numbers(
    held_snapshot: Snapshot,
) -> None:
    held = [mount for mount in held_snapshot.mounts if mount.holders is not None and mount.holders.holders]
    assert len(held) > 5
    for mount in held:
        names = [fact.name for fact in describe_mount(held_snapshot, mount.address).facts]
        assert names.index("held by") < names.index("mnt_flags")


def describe_mount(snapshot: Snapshot, address: int) -> Detail:
    return describe(mount_reference(snapshot.mount_by_address[address]), snapshot)


def test_a_path_of_four_thousand_letters_leaves_room_and_enter_shows_it(saved: Snapshot) -> None:
    detail = describe_mount(saved, saved.mounts[0].address)
    path = "/".join(f"part{number}" for number in range(600))
    detail = replace(detail, facts=[Fact("mountpoint", path), *detail.facts[1:]])
    folded = DetailTable(detail, 78)
    whole = DetailTable(detail, 78, unfolded=frozenset({"mountpoint"}))
    assert len(whole) > len(folded) + 40
    [fold] = [line for line in range(len(folded)) if folded.folded_at(line)]
    assert fold <= 6
    assert "enter shows them" in folded.cells(fold)[1].text
    assert (
        "".join(cells[1].text for cells in map(whole.cells, range(len(whole))))
        .replace(" ", "")
        .startswith(path)
    )


def test_a_table_without_rows_has_a_line_that_says_so(saved: Snapshot) -> None:
    async def scenario(pilot: Pilots) -> None:
        await press(pilot, "L")
        assert "nothing has changed since the first reading" in screen_text(app)

    app = ExplorerApp(snapshot=saved)
    drive(app, scenario)
