"""Texts are searched as the detail is: help, debug info, an object over the screen, a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual.geometry import Region

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.help import HelpScreen
from explorer.tui.screens.dialogs.info import TextScreen
from explorer.tui.widgets.text_view import TextView
from tests.tui.conftest import Pilots, drive, screen_text, settle, type_ahead, until
from tests.tui.test_goldens import SIZES


@pytest.fixture
def faulty() -> None:
    """A fault of the app is meant."""


async def keys(pilot: Pilots, *names: str) -> None:
    type_ahead(pilot, *names)
    await settle(pilot)
    await pilot.pause()


def view_of(app: ExplorerApp) -> TextView:
    return app.screen.query_one(TextView)


def marked(app: ExplorerApp) -> list[str]:
    """What is shown in reverse in the text: the matches of the line that one is in."""
    region: Region = view_of(app).body.region
    found = []
    for strip in app.screen._compositor.render_strips()[region.y : region.bottom]:
        found += [
            segment.text
            for segment in strip.crop(region.x, region.right - 2)  # beside the scrollbar
            if segment.style is not None and segment.style.reverse
        ]
    return found


def by_size(app: ExplorerApp, size: tuple[int, int], steps: Callable[[Pilots], object]) -> None:
    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(pilot)  # type: ignore[misc]

    asyncio.run(run())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_help_is_searched_and_n_goes_on_over_its_pages(saved: Snapshot, size: tuple[int, int]) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await keys(pilot, "t", "?")
        assert isinstance(app.screen, HelpScreen)
        # What is typed is text: q closes nothing, 1 runs no query, a slash is one.
        await keys(pilot, "/", *"q1?/")
        assert isinstance(app.screen, HelpScreen) and "0 lines" in screen_text(app)
        await keys(pilot, "escape")
        assert "search" not in screen_text(app) and view_of(app).body.has_focus

        await keys(pilot, "/", *"NAMESPACE", "enter")
        seen: list[tuple[int, int]] = []
        view = view_of(app)
        while not seen or (app.screen._page, view.row) != seen[0]:
            line = view.text.split("\n")[view.row]
            assert "namespace" in line.casefold()
            found = ["namespace"] * line.casefold().count("namespace")
            await until(pilot, lambda: [each.casefold() for each in marked(app)], found)
            seen.append((app.screen._page, view.row))
            await keys(pilot, "n")
        every = [
            (page, number)
            for page, (_, lines) in enumerate(app.screen._pages())
            for number, line in enumerate(lines)
            if "namespace" in line.casefold()
        ]
        at = every.index(seen[0])
        assert seen == every[at:] + every[:at] and len({page for page, _ in every}) > 1
        await keys(pilot, "N")
        assert (app.screen._page, view.row) == seen[-1]

        # Escape ends the search first, then closes.
        await keys(pilot, "escape")
        assert isinstance(app.screen, HelpScreen) and not view.wanted and not marked(app)
        await keys(pilot, "escape")
        assert not isinstance(app.screen, HelpScreen)

    by_size(app, size, steps)


def test_what_only_another_page_has_is_said_and_n_goes_there(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await keys(pilot, "?", "/", *"tighter")
        assert "0 lines" in screen_text(app)
        await keys(pilot, "escape", "/", *"free text")
        assert isinstance(app.screen, HelpScreen)
        assert "0 lines, 1 on other pages: n" in screen_text(app)
        await keys(pilot, "enter", "n")
        await until(pilot, lambda: marked(app), ["free text"])
        assert app.screen._page == 1
        assert "1 line " in screen_text(app)
        await keys(pilot, "n")
        await until(pilot, lambda: marked(app), ["free text"])
        assert app.screen._page == 1

    drive(app, steps)


@pytest.mark.parametrize(("key", "wanted"), [("!", "textual"), ("K", "init_mnt_ns")])
def test_every_text_over_the_screens_is_searched(saved: Snapshot, key: str, wanted: str) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await keys(pilot, {"!": "exclamation_mark"}.get(key, key))
        assert isinstance(app.screen, TextScreen)
        await keys(pilot, "/", *wanted, "enter")
        assert wanted in view_of(app).text.split("\n")[view_of(app).row]
        await until(pilot, lambda: wanted in marked(app))
        mode = app.current_mode
        await keys(pilot, "n", "N")
        assert app.current_mode == mode and isinstance(app.screen, TextScreen)
        await keys(pilot, "c")
        assert app.clipboard == view_of(app).text

    drive(app, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_match_at_the_end_of_a_line_of_four_kilobytes_is_on_the_screen(
    saved: Snapshot, size: tuple[int, int]
) -> None:
    app = ExplorerApp(snapshot=saved)
    path = "/" + "/".join(f"directory{number:03}" for number in range(290))
    lines = ["path " + path + "/last-of-it [red]not markup[/]", *(f"line {number}" for number in range(99))]

    async def steps(pilot: Pilots) -> None:
        app.push_screen(TextScreen("a path", lines))
        await settle(pilot)
        await keys(pilot, "/", *"LAST-of", "enter")
        await until(pilot, lambda: marked(app), ["last-of"])
        await keys(pilot, "/", "ctrl+u", *"line 98", "enter")
        await until(pilot, lambda: marked(app), ["line 98"])
        await keys(pilot, "/", "ctrl+u", *"[red]", "enter")
        await until(pilot, lambda: marked(app), ["[red]"])
        await keys(pilot, "/", "ctrl+u", *"directory000", "enter")
        await until(pilot, lambda: marked(app), ["directory000"])

    by_size(app, size, steps)


def test_a_fault_is_searched(saved: Snapshot, faulty: None) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        def fail() -> None:
            raise LookupError("made for this test")

        app.call_later(fail)
        while app.current_mode != "fault":
            await pilot.pause(0.05)
        await settle(pilot)
        await keys(pilot, "/", *"in fail", "enter")
        await until(pilot, lambda: marked(app), ["in fail"])
        assert app.current_mode == "fault"
        await keys(pilot, "escape")
        assert app.current_mode == "fault" and not view_of(app).wanted
        await keys(pilot, "escape")
        assert app.current_mode != "fault"

    drive(app, steps)


def test_what_comes_after_help_was_closed_is_nothing(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await keys(pilot, "?", "/", *"namespace", "enter")
        screen = app.screen
        assert isinstance(screen, HelpScreen)
        view = view_of(app)
        await keys(pilot, "escape", "escape")
        assert app.screen is not screen and not screen.query("#textbody")
        # As where the app ends between a key and the paint after it.
        screen._show()
        screen.action_page(1)
        screen.action_scroll(1)
        view._bring_in()

    drive(app, steps)
