"""What is around every screen: the crumbs above it, the keys below it, and the palette over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from textual.command import CommandList, CommandPalette

from explorer.analysis.query import parse_query
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.palette import view_commands
from explorer.tui.screens.modes import BROWSED
from explorer.tui.screens.tables import TableScreen
from explorer.tui.session.state import View
from explorer.tui.settings import SavedView
from tests.tui.conftest import Pilots, press, run_at, screen_text, until
from tests.tui.test_goldens import SIZES, app_with_findings

MODES = [mode.name for mode in BROWSED if mode.name != "timeline"]  # it is of recordings


def top(app: ExplorerApp) -> str:
    """The first line, and in it where one is."""
    return screen_text(app).splitlines()[0].strip().partition("   ")[0]


#: Tenths of a second.
_PATIENCE = 300


async def last_line(app: ExplorerApp, pilot: Pilots) -> str:
    """The keys: they are made anew after what is on the screen has changed."""
    for _ in range(_PATIENCE):
        line = screen_text(app).splitlines()[-1]
        if line:
            return line
        await pilot.pause(0.1)
    return ""


def visit(app: ExplorerApp, pilot: Pilots) -> Iterator[Any]:
    """Every screen there is, the comparison too."""
    for mode in MODES:
        yield mode, app.switch_mode(mode)


# -- crumbs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_says_where_one_is(saved: Snapshot, size: tuple[int, int]) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        assert top(app) == "overview"
        await app.show_other(View(saved))
        for mode, going in visit(app, pilot):
            await going
            await press(pilot)
            # Narrow, the event log's own count is worth more than the way home.
            assert top(app).removeprefix("overview › ") == mode
            assert "Linux 7.3.4" in screen_text(app).splitlines()[0] or mode in (
                "compare",
                "lookups",
                "fleet",
            )

    run_at(app, size, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_crumbs_grow_on_the_way_in_and_escape_takes_them_back_one_by_one(
    saved: Snapshot, size: tuple[int, int]
) -> None:
    app = app_with_findings(saved)
    wide = size[0] >= 120

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", "slash", *"kind:kernel", "enter")
        assert top(app) == "overview › tasks kind:kernel"
        await press(pilot, "enter")
        screen = app.screen
        assert isinstance(screen, TableScreen) and screen.pane.has_focus
        task = " ".join(screen.pane.trail[0].split())
        assert top(app) == (f"overview › tasks kind:kernel › {task}" if wide else f"overview › … › {task}")
        await press(pilot, "enter")  # its fs_struct is the first line
        assert len(screen.pane.trail) == 2
        assert top(app).endswith(f" › {' '.join(screen.pane.trail[-1].split())}")
        assert (f"kind:kernel › {task} › fs_struct" in top(app)) or not wide
        await press(pilot, "b")
        assert top(app).endswith(f" › {task}")
        await press(pilot, "escape")
        assert top(app) == "overview › tasks kind:kernel"
        await press(pilot, "escape")
        assert top(app) == "overview › tasks"
        await press(pilot, "o")
        assert top(app) == "overview"

    run_at(app, size, steps)


def test_a_box_of_the_overview_says_in_the_crumbs_what_it_led_to(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "b")
        assert top(app) == "overview › tasks borrowing"

    run_at(app, (80, 24), steps)


def test_the_longest_filter_and_one_of_escapes_leave_the_first_line_whole(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        screen = app.screen
        assert isinstance(screen, TableScreen)
        for query in ("x" * 4096, '"\x1b[31m[bold]"'):
            assert parse_query(query)
            screen.filter_by(query)
            await press(pilot)
            line = screen_text(app).splitlines()[0]
            assert "\x1b" not in line and "tasks " in line and "Linux 7.3.4" in line and len(line) <= 80

    run_at(app, (80, 24), steps)


# -- keys below ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80])
def test_filter_help_and_quit_are_seen_on_every_screen_and_no_key_is_cut(saved: Snapshot, width: int) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(saved))
        for mode, going in visit(app, pilot):
            await going
            await press(pilot)
            line = await last_line(app, pilot)
            assert line.startswith("/ Filter ? Help q Quit"), (mode, line)
            labels = {
                f"{app.get_key_display(active.binding)} {active.binding.description}"
                for active in app.screen.active_bindings.values()
                if active.binding.show
            }
            rest = line
            for label in sorted(labels, key=len, reverse=True):
                rest = rest.replace(label, "", 1)
            assert not rest.strip(), (mode, line)

    run_at(app, (width, 24), steps)


def test_what_only_this_screen_can_is_shown_before_the_ways_to_others(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert "q Quit a Accept o Overview t Tasks" in await last_line(app, pilot)
        await pilot.resize_terminal(33, 24)
        for _ in range(_PATIENCE):
            if await last_line(app, pilot) == "/ Filter ? Help q Quit a Accept":
                break
            await pilot.pause(0.1)
        assert await last_line(app, pilot) == "/ Filter ? Help q Quit a Accept"

    run_at(app, (80, 24), steps)


# -- the palette ---------------------------------------------------------------------------------------------


def test_the_palette_says_each_action_once_in_words_of_its_own(
    saved: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with_findings(saved)
    done: list[object] = []

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(saved))
        monkeypatch.setattr(app, "run_action", lambda action, node=None: action)
        monkeypatch.setattr(app, "run_worker", lambda work, **_: done.append(work))
        monkeypatch.setattr(app, "action_change_theme", lambda: done.append("change_theme"))
        monkeypatch.setattr(TableScreen, "sort_by", lambda screen, name: done.append(("sort", name)))
        # As for a kernel that runs, which has the most.
        monkeypatch.setattr(type(app.source.session), "running", property(lambda session: True))
        for mode, going in visit(app, pilot):
            await going
            await press(pilot)
            commands = list(app.get_system_commands(app.screen))
            titles = Counter(command.title.casefold() for command in commands)
            assert max(titles.values()) == 1, (mode, titles.most_common(2))
            done.clear()
            for command in commands:
                command.callback()
            actions = Counter(map(str, done))
            assert len(done) == len(commands) and max(actions.values()) == 1, (mode, actions.most_common(2))
            assert f"browse({mode!r})" not in actions, mode
            compares = [title for title in titles if "compare with" in title]
            assert len(compares) == (1 if mode == "compare" else 2), compares
            assert any("help" in title for title in titles) and any("quit" in title for title in titles)

    run_at(app, (80, 24), steps)


def test_with_no_second_target_one_command_asks_for_it_and_intervals_are_of_kernels_that_run(
    saved: Snapshot,
) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert sum("compare with" in title.casefold() for title in titles) == 1
        assert not any("Read again every" in title for title in titles)
        assert sum("an address" in title for title in titles) == 1, "it has two keys"

    run_at(app, (80, 24), steps)


def test_a_saved_view_is_listed_once_to_show_and_once_to_forget() -> None:
    views = [SavedView(name, "tasks", "", None, False, []) for name in ("one", "two")]
    titles = [command.title for command in view_commands(views, lambda view: None, lambda name: None)]
    assert titles == ["View one", "Forget the view one", "View two", "Forget the view two"]


@pytest.mark.parametrize("themes", [False, True], ids=["commands", "themes"])
@pytest.mark.parametrize("key", ["pagedown", "pageup"])
def test_a_page_in_a_palette_that_has_no_line_to_show_is_no_fault(
    saved: Snapshot, key: str, themes: bool
) -> None:
    """Its list knows where a line is when it was laid out: not on a tiny terminal, nor before it was painted."""
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        if themes:
            app.search_themes()
        else:
            app.action_command_palette()
        await until(pilot, lambda: any(each.option_count for each in app.screen.query(CommandList)))
        commands = app.screen.query_one(CommandList)
        assert not commands.scrollable_content_region
        await press(pilot, key)
        assert not app.faults
        assert isinstance(app.screen, CommandPalette)

    run_at(app, (20, 4), steps)


def test_a_palette_that_another_screen_overtakes_is_no_fault_and_is_not_met_again(saved: Snapshot) -> None:
    """Who opens it while the first snapshot is read, or the next key: a screen of another mode may be there first."""
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        app.action_command_palette()
        await app.show_mode("tasks")
        await pilot.pause()
        assert app.current_mode == "tasks" and not app.faults
        await app.show_mode("overview")
        await until(pilot, lambda: type(app.screen).__name__, "OverviewScreen")
        await press(pilot, "ctrl+p")
        assert isinstance(app.screen, CommandPalette)
        await until(pilot, lambda: bool(app.screen.query_one(CommandList).option_count))
        assert not app.faults

    run_at(app, (80, 24), steps)
