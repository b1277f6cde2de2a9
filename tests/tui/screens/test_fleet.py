"""The screen of a fleet: its targets, filtered and counted; enter opens one, backspace comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from explorer.codec import load_snapshot, write_json
from explorer.fleet import Dataset, Outcome, list_targets
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import FleetScreen
from explorer.tui.session import Session
from tests.tui.conftest import Golden, Pilots, press, screen_text, until
from tests.written_fleets import fleet_key, write_fleet

ROOT = Path(__file__).parents[3]
UNREAD = (("/srv/dumps/old/broken.elf", Outcome.CANNOT_OPEN, "the file is empty"),)
ABANDONED, LIVELY = "/srv/dumps/abandoned.json", "/srv/dumps/lively.json"


@pytest.fixture(scope="module")
def abandoned() -> Snapshot:
    return load_snapshot(ROOT / "screenshots" / "abandoned.json.zst")


@pytest.fixture
def fleet(saved: Snapshot, abandoned: Snapshot, tmp_path: Path) -> Path:
    targets = {LIVELY: saved, "/srv/dumps/twin.json": saved, ABANDONED: abandoned}
    return write_fleet(tmp_path / "fleet", targets, UNREAD, keep=True)


def screen_of(app: ExplorerApp) -> FleetScreen:
    assert isinstance(app.screen, FleetScreen)
    return app.screen


def names(app: ExplorerApp) -> list[str]:
    return [each.path for each in screen_of(app).source().records]


def said(app: ExplorerApp) -> str:
    """The notices that are on the screen."""
    return "\n".join(notice.message for notice in app._notifications)


def facet_lines(app: ExplorerApp) -> list[list[str]]:
    source = screen_of(app).facets.source
    assert source is not None
    return [[cell.text for cell in source.cells(row)] for row in range(len(source))]


async def shown(pilot: Pilots) -> ExplorerApp:
    """When the targets are there."""
    app = pilot.app
    assert isinstance(app, ExplorerApp)
    await until(pilot, lambda: app.current_mode, "fleet")
    screen = await until(pilot, lambda: app.screen, FleetScreen)
    await until(pilot, lambda: screen.is_there and bool(screen.query("#filter")))
    await until(pilot, lambda: screen.source() is not None)
    await pilot.pause()
    return app


def drive_fleet(fleet: Path, steps: object, size: tuple[int, int] = (120, 36)) -> None:
    async def run() -> None:
        app = ExplorerApp(Session(fleet=fleet))
        async with app.run_test(size=size) as pilot:
            await shown(pilot)
            await steps(pilot)  # type: ignore[operator]

    asyncio.run(run())


def test_what_could_not_be_read_comes_first_then_what_is_worst(fleet: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        listed = [each.path for each in list_targets(Dataset.open(fleet))]
        assert names(app) == listed
        assert listed[:2] == [UNREAD[0][0], ABANDONED]
        text = screen_text(app)
        assert "4 targets" in text and "1 abandoned" in text and "1 not read" in text
        assert "old/broken.elf" in text and "/srv/dumps/lively" not in text, "named from where all are"
        assert "the file is empty" in text, "the detail of the first"

    drive_fleet(fleet, steps)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("verdict:abandoned", [ABANDONED]),
        ("rules:NX-PID1-ABANDONED", [ABANDONED]),
        ("rules~BORROWER", [LIVELY, "/srv/dumps/twin.json"]),
        ("outcome:cannot-open", [UNREAD[0][0]]),
        ("findings>0 not verdict:abandoned", [LIVELY, "/srv/dumps/twin.json"]),
        ("release~^7.3 lively", [LIVELY]),
        ("borken", []),
    ],
)
def test_a_filter_selects_targets_by_what_the_columns_say(fleet: Path, query: str, found: list[str]) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        screen_of(app).filter_by(query)
        await pilot.pause()
        assert names(app) == found

    drive_fleet(fleet, steps)


def test_facets_count_what_the_filter_left_and_ask_for_a_value(fleet: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        facets = screen_of(app).facets
        assert facets.display
        lines = facet_lines(app)
        assert ["verdict", ""] in lines and [" isolated", "2"] in lines and [" abandoned", "1"] in lines
        assert ["rules", ""] in lines and [" NX-UMH-NO-MODPROBE", "3"] in lines
        assert [" cannot-open", "1"] in lines
        await press(pilot, "F", "j", "enter")
        assert screen_of(app).query_text == "verdict:isolated"
        assert len(names(app)) == 2
        lines = facet_lines(app)
        assert ["✓isolated", "2"] in lines
        assert [" NX-UMH-NO-MODPROBE", "2"] in lines

    drive_fleet(fleet, steps)


def test_targets_are_ordered_by_any_column_and_the_cursor_stays_with_its_target(fleet: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        screen = screen_of(app)
        await press(pilot, "j")
        before = screen.target_at(screen.table.row)
        screen.sort_by("findings")
        await pilot.pause()
        assert screen.target_at(screen.table.row) == before
        ranks = [each.rank for each in screen.source().records if each.is_read]
        assert ranks == sorted(ranks)

    drive_fleet(fleet, steps)


def test_enter_opens_the_snapshot_of_a_target_and_backspace_is_back_on_its_row(
    fleet: Path, abandoned: Snapshot, saved: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        await press(pilot, "j", "enter")
        await until(pilot, lambda: app.current_mode, "overview")
        assert app.view is not None
        assert app.view.snapshot.kernel == abandoned.kernel
        assert "ABANDONED" in screen_text(app)
        await press(pilot, "n", "t")
        await until(pilot, lambda: app.current_mode, "tasks")
        for _ in range(3):
            if app.current_mode != "fleet":
                await press(pilot, "backspace")
        await until(pilot, lambda: app.current_mode, "fleet")
        row = screen_of(app).table.row
        assert row == 1 and screen_of(app).target_at(row).path == ABANDONED  # type: ignore[union-attr]
        await press(pilot, "j", "enter")
        await until(pilot, lambda: app.current_mode, "overview")
        assert app.view.snapshot.kernel == saved.kernel, "another target is shown, and nothing of the first"
        assert "ABANDONED" not in screen_text(app)
        await press(pilot, "backspace")
        await until(pilot, lambda: app.current_mode, "fleet")
        assert screen_of(app).table.row == 2

    drive_fleet(fleet, steps)


def test_a_target_without_a_kept_snapshot_is_opened_from_its_file_or_said_not_to_be_here(
    saved: Snapshot, tmp_path: Path
) -> None:
    here = tmp_path / "here.json"
    with here.open("wb") as out:
        write_json(saved, out)
    fleet = write_fleet(tmp_path / "fleet", {str(here): saved, str(tmp_path / "moved.json"): saved})

    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        screen_of(app).filter_by("moved")
        await press(pilot, "enter")
        await until(pilot, lambda: "not here to be opened" in said(app))
        assert app.current_mode == "fleet"
        screen_of(app).filter_by("here")
        await press(pilot, "enter")
        await until(pilot, lambda: app.current_mode, "overview")

    drive_fleet(fleet, steps)


def test_a_kept_snapshot_that_is_damaged_is_said_and_the_fleet_stays(fleet: Path) -> None:
    (fleet / "snapshots" / f"{fleet_key(ABANDONED)}.json.zst").write_bytes(b"nothing")

    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        await press(pilot, "j", "enter")
        await until(pilot, lambda: "cannot be opened" in said(app))
        await until(pilot, lambda: app.current_mode, "fleet")
        assert screen_of(app).table.row == 1

    drive_fleet(fleet, steps)


def test_before_a_target_is_opened_the_other_screens_say_that_there_is_none(fleet: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        for key in ("t", "o", "n", "backspace", "r", "K", "x", "w"):
            if key == "w":
                screen_of(app).filter_by("zzz")
            await press(pilot, key)
            assert app.current_mode == "fleet"
        assert "enter opens one of its targets" in said(app)

    drive_fleet(fleet, steps)


def test_of_a_target_alone_there_is_no_fleet_to_go_to(app: ExplorerApp) -> None:
    async def run() -> None:
        async with app.run_test(size=(100, 30)) as pilot:
            await press(pilot, "O")
            assert app.current_mode == "overview"
            assert "lists those of a fleet" in said(app)

    asyncio.run(run())


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_screen_is_as_it_was_looked_at(fleet: Path, golden: Golden, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilots) -> None:
        app = await shown(pilot)
        app.fleet.name = "/srv/fleet"  # how long the test's own is differs
        await press(pilot, "j")
        screen_of(app).show_status()
        await pilot.pause()
        golden(f"fleet-{size[0]}x{size[1]}", screen_text(app))

    drive_fleet(fleet, steps, size)
