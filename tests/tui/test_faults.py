"""A fault of this program is a screen, and the app goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.faults import FAULT_MODE
from explorer.tui.screens.base import BrowserScreen
from explorer.tui.screens.dialogs.fault import FaultScreen
from explorer.tui.screens.dialogs.info import TextScreen
from explorer.tui.screens.namespaces import MountsScreen
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.screens.subsystems import SubsystemsScreen
from explorer.tui.screens.tables import FsStructsScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.views.details.record_table import RecordTable
from explorer.tui.widgets.virtual_table import VirtualTable

from .conftest import Pilots, drive, press, screen_text

HOSTILE = "\x1b[31m[bold]no such\nthing[/red]"


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What breaks something, and mends it when the test ends."""
    with monkeypatch.context() as patch:
        yield patch


def breaks(*_: object, **__: object) -> None:
    raise RuntimeError(HOSTILE)


async def shown_fault(app: ExplorerApp, pilot: Pilots) -> str:
    while not isinstance(app.screen, FaultScreen):
        await pilot.pause(0.02)
    await pilot.pause()
    text = screen_text(app)
    assert "RuntimeError" in text and "\\e[31m[bold]no such\\nthing[/red]" in text
    assert all(character.isprintable() for character in text.replace("\n", ""))
    return text


def test_a_view_that_cannot_be_shown_is_a_screen_that_says_so_and_the_other_screens_work(
    app: ExplorerApp, faulty: pytest.MonkeyPatch, own_settings: Path
) -> None:
    async def steps(pilot: Pilots) -> None:
        faulty.setattr(MountsScreen, "make_source", breaks)
        await pilot.press("m")
        text = await shown_fault(app, pilot)
        assert "'mounts'" in text and "fault.txt" in text
        assert "make_source" in (own_settings / "fault.txt").read_text()
        await press(pilot, "o")
        assert isinstance(app.screen, OverviewScreen) and "ISOLATED" in screen_text(app)
        await press(pilot, "t", "j")
        assert isinstance(app.screen, TasksScreen) and app.screen.table.row == 1
        faulty.undo()
        await press(pilot, "m")
        assert isinstance(app.screen, MountsScreen) and app.screen.table.source is not None

    drive(app, steps)


def test_back_makes_the_screen_anew_in_which_it_happened(
    app: ExplorerApp, faulty: pytest.MonkeyPatch
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f")
        first = app.screen
        faulty.setattr(VirtualTable, "action_move", breaks)
        await pilot.press("j")
        await shown_fault(app, pilot)
        faulty.undo()
        await press(pilot, "escape", "j")
        assert isinstance(app.screen, FsStructsScreen) and app.screen is not first
        assert app.screen.table.row == 1

    drive(app, steps)


@pytest.mark.parametrize("place", ["compose", "render", "worker", "timer", "cells"])
def test_wherever_it_is_raised_it_is_shown_and_not_the_end(
    app: ExplorerApp, faulty: pytest.MonkeyPatch, place: str
) -> None:
    async def worker() -> None:
        breaks()

    async def steps(pilot: Pilots) -> None:
        if place == "compose":
            faulty.setattr(FsStructsScreen, "compose_body", breaks)
            await pilot.press("f")
        elif place == "render":
            faulty.setattr(VirtualTable, "render_line", breaks)
            await pilot.press("f")
        elif place == "cells":
            faulty.setattr(RecordTable, "cells", breaks)
            await pilot.press("f")
        elif place == "worker":
            app.run_worker(worker())
        else:
            app.set_timer(0.01, breaks)
        await shown_fault(app, pilot)
        faulty.undo()
        await press(pilot, "o")
        assert isinstance(app.screen, OverviewScreen)
        await press(pilot, "f", "j")
        assert isinstance(app.screen, FsStructsScreen) and app.screen.table.row == 1

    drive(app, steps)


def test_the_report_is_copied_and_the_debug_info_has_it(
    app: ExplorerApp, faulty: pytest.MonkeyPatch, saved: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        faulty.setattr(MountsScreen, "make_source", breaks)
        await pilot.press("m")
        await shown_fault(app, pilot)
        await press(pilot, "c")
        assert "make_source" in app.clipboard and app.clipboard.replace("\n", "").isprintable()
        await press(pilot, "o", "exclamation_mark")
        assert isinstance(app.screen, TextScreen)
        assert "RuntimeError" in app.screen._text and saved.kernel.release in app.screen._text

    drive(app, steps)


def test_the_keys_of_the_other_screens_do_not_lead_past_the_one_that_failed(
    app: ExplorerApp, faulty: pytest.MonkeyPatch
) -> None:
    async def steps(pilot: Pilots) -> None:
        faulty.setattr(MountsScreen, "make_source", breaks)
        await pilot.press("m")
        await shown_fault(app, pilot)
        await press(pilot, "t")
        assert app.current_mode == FAULT_MODE

    drive(app, steps)


def test_a_fault_on_the_screen_of_faults_ends_the_app_with_its_traceback(
    app: ExplorerApp, faulty: pytest.MonkeyPatch
) -> None:
    async def steps(pilot: Pilots) -> None:
        faulty.setattr(MountsScreen, "make_source", breaks)
        faulty.setattr(FaultScreen, "on_screen_resume", breaks)
        await pilot.press("m")
        while app._running:
            await pilot.pause(0.02)

    with pytest.raises(RuntimeError, match="no such"):
        drive(app, steps)
    assert app.return_code == 1


def test_findings_that_come_while_their_screen_is_taken_down_are_no_fault(app: ExplorerApp) -> None:
    """Rules run in a thread: who quits, or leaves a screen, does not wait for them."""

    async def steps(pilot: Pilots) -> None:
        screen = app.screen
        assert isinstance(screen, OverviewScreen)
        view = app.view
        assert view is not None
        await screen.query_one("#body").remove_children()
        screen._show_findings(view)
        screen.catch_up()
        await press(pilot, "s")
        screen = app.screen
        assert isinstance(screen, SubsystemsScreen)
        await screen.query_one("#body").remove_children()
        screen._audited(view)

    drive(app, steps)


@pytest.mark.parametrize("mode", ["subsystems", "tasks", "mounts", "findings"])
def test_a_screen_of_which_only_the_innermost_part_is_gone_is_no_fault(app: ExplorerApp, mode: str) -> None:
    """Textual takes a screen down from its leaves on, and the clock ticks meanwhile."""

    async def steps(pilot: Pilots) -> None:
        await app.show_mode(mode)
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, BrowserScreen)
        assert screen.is_there
        await screen.query_one("#detail").remove()
        assert not screen.is_there
        screen.show_status()
        screen.catch_up()
        app._tick()

    drive(app, steps)


@pytest.mark.parametrize("at_work", ["worker", "call"])
def test_who_is_at_work_when_the_end_comes_and_asks_for_what_is_gone_ends_nothing_with_a_traceback(
    app: ExplorerApp, at_work: str
) -> None:
    async def ask() -> None:
        app.exit()
        screen = app.screen
        await screen.query_one("#body").remove_children()
        screen.query_one("#detail")

    async def steps(pilot: Pilots) -> None:
        await app.show_mode("tasks")
        if at_work == "worker":
            app.run_worker(ask())
        else:
            app.call_later(ask)
        while app._running:
            await pilot.pause(0.02)

    drive(app, steps)
    assert (app.return_code, list(app.faults)) == (0, [])


def test_a_fault_of_another_kind_while_the_app_ends_is_not_hidden(app: ExplorerApp) -> None:
    async def ask() -> None:
        app.exit()
        breaks()

    async def steps(pilot: Pilots) -> None:
        app.call_later(ask)
        while app._running:
            await pilot.pause(0.02)

    with pytest.raises(RuntimeError, match="no such"):
        drive(app, steps)
