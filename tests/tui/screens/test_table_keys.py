"""Every key of the table screens, on the sample and on the four other layouts of kernels."""

from __future__ import annotations

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.export import ExportScreen
from explorer.tui.screens.tables import TableScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.widgets.virtual_table import VirtualTable
from tests.conftest import FIXTURES
from tests.tui.conftest import Pilots, drive, press, settle, type_ahead

SCREENS = {"t": "tasks", "f": "fs_structs", "m": "mounts", "M": "mount_namespaces", "n": "findings"}


@pytest.fixture(params=FIXTURES)
def browsed(request: pytest.FixtureRequest, fixture_snapshots: dict[str, Snapshot]) -> ExplorerApp:
    return ExplorerApp(snapshot=fixture_snapshots[request.param])


def table_screen(app: ExplorerApp) -> TableScreen:
    assert isinstance(app.screen, TableScreen)
    return app.screen


async def keys(pilot: Pilots, *names: str) -> None:
    """Quicker than :func:`press`: nothing of it waits for paints."""
    type_ahead(pilot, *names)
    await settle(pilot)


async def moves(pilot: Pilots, table: VirtualTable) -> None:
    last = len(table.source or ()) - 1
    for down, up in (
        ("j", "k"),
        ("down", "up"),
        ("pagedown", "pageup"),
        ("ctrl+f", "ctrl+b"),
        ("ctrl+d", "ctrl+u"),
        ("G", "g"),
        ("end", "home"),
    ):
        await keys(pilot, down)
        assert (table.row > 0) is (last > 0), down
        assert table.row == last or down not in ("G", "end")
        await keys(pilot, up)
        assert table.row == 0, up


async def crosses(pilot: Pilots, table: VirtualTable) -> None:
    """Every column can be gone to, is on the screen then, and is the one that is copied."""
    assert table.source is not None
    columns = len(table.source.columns)
    for right, left in (("l", "h"), ("right", "left")):
        for number in range(1, columns + 1):
            await keys(pilot, right)
            assert table.column == min(number, columns - 1)
            assert table.column in dict(table._layout())
        for number in range(columns - 2, -2, -1):
            await keys(pilot, left)
            assert table.column == max(number, 0)
            assert table.column in dict(table._layout())


async def copies(pilot: Pilots, screen: TableScreen) -> None:
    app, table = pilot.app, screen.table
    cells = [cell.strip() for cell in table.cells_at_cursor()]
    await keys(pilot, "y")
    assert app.clipboard == cells[0]
    await keys(pilot, "c")
    assert app.clipboard == "  ".join(filter(None, cells))
    await keys(pilot, "Y")
    detail = screen.pane.detail
    assert detail is not None
    lines = app.clipboard.splitlines()
    assert lines[0] == detail.title and len(lines) == len(detail.facts) + 1 + (detail.expression is not None)
    await keys(pilot, "C")
    if detail.expression is not None:
        assert app.clipboard == detail.expression


@pytest.mark.parametrize("key", SCREENS)
def test_every_key_of_every_table_works_on_every_layout(browsed: ExplorerApp, key: str) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, key)
        screen = table_screen(browsed)
        rows = len(screen.table.source or ())
        await moves(pilot, screen.table)
        await crosses(pilot, screen.table)
        if not rows:
            await press(pilot, "c", "x")
            assert browsed.screen is screen
            return
        await copies(pilot, screen)
        await press(pilot, "d")
        assert not screen.pane.display
        await press(pilot, "d", "x")
        assert isinstance(browsed.screen, ExportScreen)
        assert browsed.screen._rows.name == SCREENS[key]
        await press(pilot, "escape")
        assert table_screen(browsed) is screen
        await press(pilot, "G", "enter", "enter")
        if screen.pane.has_focus:
            await press(pilot, "b", "B", "w")
        assert isinstance(browsed.screen, TableScreen)

    drive(browsed, steps)


def test_every_key_of_the_task_table_works_on_every_layout(browsed: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        screen = browsed.screen
        assert isinstance(screen, TasksScreen) and screen.tasks is not None
        table, total = screen.tasks, len(screen.tasks.rows)
        closed = len(table)
        await press(pilot, "e")
        assert len(table) > total
        await press(pilot, "E", "v")
        assert len(table) == total and not table.grouped
        for column in table.columns:
            await keys(pilot, ">")
            assert table.sort_column == column.name
        await press(pilot, "i")
        assert table.descending
        await press(pilot, "less_than_sign")
        assert table.sort_column == table.columns[-2].name
        await press(pilot, "v", "slash", *"kind:kthread", "enter")
        assert screen.table.has_focus and 0 < table.matching < total
        await press(pilot, "escape")
        assert table.matching == total and len(table) == closed
        await press(pilot, "F")
        assert screen.facets.display and screen.facets.has_focus
        await press(pilot, "g", "j", "space")
        asked, value = table.matching, str(screen.query_text)
        assert 0 < asked < total and value.startswith("kind:")
        await press(pilot, "minus")
        assert table.matching == total - asked and screen.query_text == f"not {value}"
        await press(pilot, "minus")
        assert table.matching == total and screen.query_text == ""
        await press(pilot, "escape")
        assert screen.table.has_focus
        await press(pilot, "F", "F")
        assert not screen.facets.display and screen.table.has_focus

    drive(browsed, steps)


def test_a_click_sets_row_and_column_and_a_second_one_opens(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f")
        screen = table_screen(app)
        places = screen.table._layout()
        x = places[0][1] + 2 + 3
        await pilot.click("#rows", offset=(x, 3))
        await press(pilot)
        assert (screen.table.row, screen.table.column) == (2, places[1][0])
        assert screen.table.has_focus and not screen.pane.has_focus
        await pilot.click("#rows", offset=(x, 3))
        await press(pilot)
        assert screen.pane.has_focus

    drive(app, steps)


def test_the_column_of_the_cursor_is_marked_without_colour(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "l")
        table = table_screen(app).table
        header = [seg.text.strip() for seg in table.render_line(0) if seg.style and seg.style.reverse]
        assert header == ["PID"]
        under = [seg.text.strip() for seg in table.render_line(1) if seg.style and seg.style.underline]
        assert under == [table.cell_at_cursor()]

    drive(app, steps)
