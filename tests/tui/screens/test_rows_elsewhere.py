"""The keys of rows on the screens that came later: the timeline of a recording, and the mount namespaces."""

from __future__ import annotations

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.timeline import TimelineScreen
from tests.tui.conftest import Pilots, drive, press, screen_text
from tests.tui.session.test_playback import play
from tests.tui.test_goldens import app_with_findings

from .test_filters import reach, rows_obey


async def timeline(app: ExplorerApp, pilot: Pilots) -> TimelineScreen:
    await press(pilot, "L")
    assert isinstance(app.screen, TimelineScreen)
    return app.screen


def test_every_key_of_rows_works_on_the_timeline_of_a_recording() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        await rows_obey(app, pilot, await timeline(app, pilot), ("kworker", "frame<60"))

    play(steps)


def test_a_timeline_hides_columns_keeps_views_and_searches_its_detail() -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        screen = await timeline(app, pilot)
        assert "FRAME" in screen_text(app)
        await press(pilot, "l", "l", "H")
        assert screen.table.choice.left_out == {"frame"} and "FRAME" not in screen_text(app)
        await press(pilot, "slash", *"borrow", "enter", "V", *"borrows", "enter")
        (view,) = app.look.views
        assert (view.name, view.table, view.filter) == ("borrows", "timeline", "borrow")
        await press(pilot, "U", "escape")
        assert "FRAME" in screen_text(app) and len(screen.source()) == 40
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        commands["View borrows"].callback()
        await press(pilot)
        assert len(screen.source()) == 2 and screen.table.choice.left_out == {"frame"}
        screen.set_focus(screen.pane)
        await press(pilot, "slash", *"kworker", "enter")
        found = screen.pane.matches()
        assert len(found) > 1 and screen.pane.row == found[0] and screen.query_text == "borrow"
        await press(pilot, "n")
        assert screen.pane.row == found[1] and app.screen is screen
        await press(pilot, "N")
        assert screen.pane.row == found[0] and app.screen is screen

    play(steps)


def test_namespaces_keep_views_and_search_their_detail(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "mount_namespaces", saved)
        await press(pilot, "slash", *"mounts>2", "enter", "greater_than_sign", "V", *"big", "enter")
        (view,) = app.look.views
        assert (view.table, view.filter, view.sort) == ("namespaces", "mounts>2", "inum")
        screen.set_focus(screen.pane)
        await press(pilot, "slash", *"mount", "enter")
        found = screen.pane.matches()
        assert len(found) > 2 and screen.pane.row == found[0]
        await press(pilot, "n")
        assert screen.pane.row == found[1] and app.screen is screen
        await press(pilot, "N", "N")
        assert screen.pane.row == found[-1]

    drive(app, steps, width=120)
