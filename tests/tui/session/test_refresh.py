"""Reading the same target again: what stays, and what happens when that fails or takes too long."""

from __future__ import annotations

from pathlib import Path

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.session.state import Session, View
from tests.conftest import silent_qemu
from tests.tui.conftest import SAVED, Pilots, drive, press
from tests.tui.screens.test_screens import tasks_screen


def test_a_refresh_keeps_the_selected_task_and_the_filter(saved: Snapshot) -> None:
    app = ExplorerApp(Session((str(SAVED),)), saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"kind:kworker", "enter", "j", "j")
        screen = tasks_screen(app)
        selected, before = screen.selected(), app.view
        await press(pilot, "r")
        assert app.view is not before
        assert screen.selected() == selected
        assert screen.tasks is not None and screen.tasks.matching < len(saved.tasks)

    drive(app, steps)


def test_a_refresh_that_hangs_can_be_stopped_and_the_screen_works_meanwhile(
    saved: Snapshot, tmp_path: Path
) -> None:
    async def steps(pilot: Pilots) -> None:
        before = app.view
        await pilot.press("r")
        while not app.source.activity:
            await pilot.pause(0.02)
        await pilot.press("t")
        await pilot.pause()
        assert tasks_screen(app).tasks is not None
        await press(pilot, "X")
        assert not app.source.activity and app.view is before
        assert any("as you asked" in note.message for note in app._notifications)

    with silent_qemu(tmp_path) as target:
        app = ExplorerApp(Session((target,)), saved)
        drive(app, steps)


def test_a_refresh_that_fails_keeps_what_was_shown(saved: Snapshot, tmp_path: Path) -> None:
    app = ExplorerApp(Session((str(tmp_path / "gone"),)), saved)

    async def steps(pilot: Pilots) -> None:
        before = app.view
        await press(pilot, "r")
        assert app.view is before
        assert isinstance(app.screen, OverviewScreen)
        assert any("Not read again" in note.message for note in app._notifications)

    drive(app, steps)


def test_where_the_selected_object_is_gone_the_cursor_stays_at_its_place(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", *"jjjjj")
        screen = tasks_screen(app)
        selected = screen.selected()
        assert selected is not None and screen.table.row == 5
        later = saved.model_copy(deep=True)
        later.tasks[:] = [task for task in later.tasks if task.address != selected.address]
        app.source.view = View(later)
        screen.catch_up()
        await press(pilot)
        assert screen.table.row == 5

    drive(app, steps)
