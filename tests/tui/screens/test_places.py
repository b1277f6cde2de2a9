"""The way back: from wherever one jumped, to the screen and the row that one came from; and how the header tells it."""

from __future__ import annotations

import pytest

from explorer.model import Reference, Snapshot, display_width, task_reference
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.arranging import ArrangingScreen
from explorer.tui.screens.namespaces import MountsScreen
from explorer.tui.screens.places import HOME, Place, Places
from explorer.tui.screens.tables import TableScreen
from explorer.tui.session.state import View
from tests.tui.conftest import Pilots, press, run_at, screen_text
from tests.tui.test_goldens import SIZES, app_with_findings


def table_of(app: ExplorerApp) -> TableScreen:
    assert isinstance(app.screen, TableScreen)
    return app.screen


def spot(app: ExplorerApp) -> tuple[str, int, Reference | None, str, tuple[Reference, ...]]:
    """Where one is: the screen, its row, what that is about, its filter, and what was followed beside it."""
    screen = table_of(app)
    return app.current_mode, screen.table.row, screen.selected(), screen.query_text, screen.pane.followed


def notices(app: ExplorerApp) -> list[str]:
    return [notice.message for notice in app._notifications]


def crumbs_of(screen: str) -> str:
    """Where its first line says that one is."""
    return screen.splitlines()[0].strip().partition("   ")[0]


def crumbs(app: ExplorerApp) -> str:
    return crumbs_of(screen_text(app))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_backspace_goes_back_through_every_screen_to_the_row_that_was_left(
    saved: Snapshot, size: tuple[int, int]
) -> None:
    """And where one is stands whole in the first line, however long the way there was."""
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(saved))
        await press(pilot)
        left = []
        for key, row in (("t", 4), ("f", 3), ("m", 6), ("M", 1), ("s", 5), ("n", 2), ("equals_sign", 0)):
            await press(pilot, key)
            table_of(app).table.put_cursor(row)
            await press(pilot)
            left.append(spot(app))
            line = screen_text(app).splitlines()[0]
            assert display_width(line) <= size[0] and crumbs(app).endswith(app.current_mode)
        assert len({mode for mode, *_ in left}) == len(left)
        await press(pilot, "o")
        for before in reversed(left):
            await press(pilot, "backspace")
            assert spot(app) == before
        await press(pilot, "backspace")  # to the comparison that began all this
        await press(pilot, "backspace")
        assert app.current_mode == HOME and not len(app._navigator.places)

    run_at(app, size, steps)


#: How one gets to a row, what leads away from it, and the screen that this leads to.
JUMPS = {
    "what is under the cursor in the detail": (("t", "j", "j", "D"), ("w",), "mounts"),
    "what a finding is about": (("n", "enter"), ("w",), "tasks"),
    "a number that is typed": (("m", "j", "j"), ("at", *"142", "enter"), "tasks"),
    "a namespace's mounts": (("M", "j"), ("enter",), "mounts"),
    "a namespace's tasks": (("M",), ("a",), "tasks"),
    "a key of another screen": (("t", "j", "j", "j"), ("m",), "mounts"),
    "the filter of the tasks": (("s", "j"), ("o", "slash", *"kind:kernel", "enter"), "tasks"),
}


def test_every_kind_of_jump_is_taken_back_to_the_row_and_what_was_followed(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        for what, (way, jump, mode) in JUMPS.items():
            await press(pilot, "o", *way)
            before, told = spot(app), crumbs(app)
            await press(pilot, *jump)
            assert app.current_mode == mode, what
            assert spot(app) != before, what
            await press(pilot, *["backspace"] * (2 if "o" in jump[:1] else 1))
            assert spot(app) == before and crumbs(app) == told, what

    run_at(app, (120, 36), steps)


def test_a_jump_within_a_screen_is_taken_back_as_well(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", "slash", *"kind:kernel", "enter", "j", "j")
        before = spot(app)
        await press(pilot, "at", *"142", "enter")
        after = spot(app)
        assert after[0] == "tasks" and after[3] == "" and after[2] != before[2]
        await press(pilot, "backspace")
        assert spot(app) == before

    run_at(app, (80, 24), steps)


def test_what_was_followed_is_there_again_after_the_row_was_left_for_another(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", "j", "D", "D", "j", "j")
        screen = table_of(app)
        before, line = spot(app), screen.pane.row
        assert len(before[4]) == 2
        await press(pilot, "at", *"142", "enter")
        assert spot(app)[4] == ()
        await press(pilot, "backspace")
        assert spot(app) == before
        assert screen.pane.has_focus and screen.pane.row == line
        await press(pilot, "b", "b")  # along what was followed, before it leaves the screen
        assert app.current_mode == "tasks" and spot(app)[4] == ()
        await press(pilot, "b")  # it is for what was followed, and nothing else
        assert app.current_mode == "tasks"
        await press(pilot, "backspace")
        assert app.current_mode == HOME

    run_at(app, (120, 36), steps)


def test_mounts_of_a_namespace_are_so_again_and_all_of_them_where_they_were(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "m", *"jjj")
        all_of_them = spot(app)
        await press(pilot, "M", "j", "enter")
        mounts = table_of(app)
        assert isinstance(mounts, MountsScreen)
        few = len(mounts.source())
        restricted = spot(app)
        await press(pilot, "at", *"142", "enter", "backspace")
        assert spot(app) == restricted and len(mounts.source()) == few
        await press(pilot, "backspace", "backspace")
        assert spot(app) == all_of_them and len(mounts.source()) > few

    run_at(app, (80, 24), steps)


def test_what_is_gone_by_then_is_said_and_the_cursor_stays_near(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", "G")
        gone = table_of(app).selected()
        assert gone is not None
        await press(pilot, "m")
        later = saved.model_copy(deep=True)
        later.tasks = [task for task in later.tasks if task.address != gone.address]
        app.source.view = View(later)
        app.catch_up()
        await press(pilot, "backspace")
        screen = table_of(app)
        assert screen.table.row == len(screen.source()) - 1
        assert f"task {gone.label} is no longer there." in notices(app)

    run_at(app, (200, 50), steps)


def test_where_one_began_backspace_says_so_and_in_a_field_it_deletes(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "backspace")
        assert app.current_mode == HOME
        assert any("there is nothing to go back to" in notice for notice in notices(app))
        await press(pilot, "t", "slash", "a", "b", "backspace")
        screen = app.screen
        assert isinstance(screen, ArrangingScreen)
        assert app.current_mode == "tasks" and screen.query_text == "a"
        await press(pilot, "enter", "backspace")
        assert app.current_mode == HOME

    run_at(app, (120, 36), steps)


# -- how the header tells it -----------------------------------------------------------------------------------


def test_the_header_names_the_screens_and_objects_that_one_jumped_from(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n", "enter")
        finding = " ".join(table_of(app).pane.trail[0].split())
        await press(pilot, "w")
        assert crumbs(app).startswith("overview › findings › high: ")
        assert crumbs(app).endswith(" › tasks") and finding[:10] in crumbs(app)
        await press(pilot, "m")
        assert crumbs(app).endswith(" › tasks › mounts")
        await press(pilot, "backspace")
        assert crumbs(app).endswith(" › tasks")
        await press(pilot, "o")
        assert crumbs(app) == HOME
        await press(pilot, "f")
        assert crumbs(app) == "overview › fs_structs"

    run_at(app, (200, 50), steps)


def test_the_places_and_what_is_told_of_them_are_bounded(saved: Snapshot) -> None:
    places, task = Places(), task_reference(saved.tasks[0])
    for number in range(10_000):
        places.leave(Place("tasks", (f"tasks {number}",), row=number, selected=task))
    assert len(places) == 100
    assert list(places.crumbs) == ["…", *(f"tasks {number}" for number in range(9992, 10_000))]
    last = places.back()
    assert last is not None and last.row == 9999 and last.is_at(task)
    places.leave(Place(HOME, (HOME,)))
    assert list(places.crumbs) == []
    for _ in range(100):
        places.back()
    assert places.back() is None
