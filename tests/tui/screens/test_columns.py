"""The column chooser, on every table and at the three sizes: what it takes over, and what it leaves as it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.columns import ColumnsScreen
from explorer.tui.screens.tables import TableScreen
from explorer.tui.views.columns import ColumnChoice, column_title
from explorer.tui.widgets import VirtualTable
from tests.tui.conftest import Pilots, drive, press, screen_text, settle, type_ahead
from tests.tui.screens.test_filters import TABLES, as_typed, reach
from tests.tui.test_goldens import SIZES, app_with_findings


def header_of(screen: TableScreen) -> str:
    return screen.table.render_line(0).text


def lines_of(screen: TableScreen) -> list[str]:
    return [screen.table.render_line(y).text for y in range(screen.table.size.height)]


def in_order(texts: list[str], line: str) -> bool:
    """Whether a line has these texts, one after the other."""
    at = 0
    for text in texts:
        found = line.find(text, at)
        if found < 0:
            return False
        at = found + len(text)
    return True


def shown(screen: TableScreen) -> list[str]:
    """The titles that stand in the header, from left to right; each row has its cells so, too."""
    columns, layout = screen.source().columns, screen.table._layout()
    titles = [column_title(columns[place]) for place, _ in layout]
    # Of the last there may be no more than its beginning.
    assert in_order([columns[place].title for place, _ in layout[:-1]], header_of(screen))
    for row in range(min(len(screen.source()), 5)):
        cells = screen.source().cells(row)
        assert in_order(
            [cells[place].text.strip()[:4] for place, _ in layout], screen.table.render_line(row + 1).text
        )
    return titles


async def keys(pilot: Pilots, *names: str) -> None:
    """Quicker than :func:`press`: nothing of it waits for paints."""
    type_ahead(pilot, *names)
    await settle(pilot)


async def dialog(pilot: Pilots) -> ColumnsScreen:
    await press(pilot, "A")
    found = pilot.app.screen
    assert isinstance(found, ColumnsScreen)
    return found


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", TABLES)
def test_columns_are_chosen_on_every_table_at_every_size(
    name: str, size: tuple[int, int], saved: Snapshot
) -> None:
    app = app_with_findings(saved)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            screen = await reach(app, pilot, name, saved)
            before, all_of_them = (
                screen.table.choice,
                [column_title(each) for each in screen.source().columns],
            )
            lines_before = lines_of(screen)
            await dialog(pilot)
            text = screen_text(app)
            for title in all_of_them:
                assert f"[x]  {title}" in text, title
            assert text.count("no: ") == len(all_of_them) - len(screen.table._layout())

            # Whatever is done in it, escape leaves all as it was.
            await keys(pilot, "g", "space", "j", "shift+up", "K", "J", "x", "escape")
            assert app.screen is screen and screen.table.choice == before
            assert lines_of(screen) == lines_before

            # Hidden is the second, and the last goes before all others.
            await dialog(pilot)
            await keys(pilot, "g", "j", "space", "G", *["shift+up"] * (len(all_of_them) - 1), "enter")
            assert app.screen is screen
            wanted = [all_of_them[-1], all_of_them[0], *all_of_them[2:-1]]
            there = shown(screen)
            assert there == [title for title in wanted if title in there]
            assert (all_of_them[1] not in there and there[0] == all_of_them[-1]) or len(all_of_them) == 2

            # The cursor goes through them as they stand, and a sort by key, too.
            places = screen.table.choice.shown(screen.source().columns)
            await keys(pilot, *["h"] * (len(all_of_them) + 1))
            for place in places:
                assert screen.table.column == place and place in dict(screen.table._layout())
                await keys(pilot, "l")
            await keys(pilot, ">")
            assert screen.source().sort_column == screen.source().columns[places[0]].name

            # All of them come back by one key, in the dialog and outside.
            await dialog(pilot)
            await keys(pilot, "U", "enter")
            assert screen.table.choice == ColumnChoice()

    asyncio.run(run())


def test_what_hides_columns_names_the_key_to_them_and_can_be_clicked(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def run() -> None:
        async with app.run_test(size=(120, 36)) as pilot:
            screen = await reach(app, pilot, "tasks", saved)
            header = header_of(screen)
            assert header.endswith(" +4› A columns") and "PWD" not in header
            await pilot.click("#rows", offset=(len(header) - 3, 0))
            await press(pilot)
            assert isinstance(app.screen, ColumnsScreen) and screen.source().sort_column is None
            assert all(word in screen_text(app) for word in ("without the counts", "(F)"))
            # The neighbour of the root is brought in by a few keys.
            while "PWD" not in app.screen._list.cells(app.screen._table.row)[1].text:
                await keys(pilot, "j")
            assert app.screen._list.why_not("pwd").startswith("no: it needs 8")
            await press(pilot, "K", "K", "enter")
            titles = shown(screen)
            assert titles.index("PWD") == titles.index("ROOT") - 2 or titles[-1] == "USERS", titles

    asyncio.run(run())


def test_a_header_with_little_room_names_the_key_alone_and_a_keymap_changes_it(
    saved: Snapshot, own_settings: Path
) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text(json.dumps({"keymap": {"rows.columns": "D"}}))
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        assert header_of(screen).endswith("› D")
        await press(pilot, "D")
        assert isinstance(app.screen, ColumnsScreen)

    drive(app, steps, width=80)


def test_help_and_palette_list_the_chooser(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await reach(app, pilot, "mounts", saved)
        commands = [command.title for command in app.get_system_commands(app.screen)]
        assert any("Choose the columns" in title and title.endswith("(A)") for title in commands)
        await press(pilot, "question_mark")
        assert "Choose the columns" in app.screen._text  # type: ignore[attr-defined]

    drive(app, steps)


def test_the_last_column_stays_and_it_is_said(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        columns = screen.source().columns
        await dialog(pilot)
        await keys(pilot, *["space", "j"] * len(columns))
        assert "one column stays" in screen_text(app)
        await press(pilot, "enter")
        assert len(screen.table._layout()) == 1
        assert screen.table.column == len(columns) - 1  # where the cursor was is hidden

    drive(app, steps)


def test_a_saved_view_keeps_the_order_of_its_columns(saved: Snapshot, own_settings: Path) -> None:
    async def save(pilot: Pilots) -> None:
        await reach(app, pilot, "fs_structs", saved)
        await dialog(pilot)
        await press(pilot, "g", "space", "G", "K", "K", "enter")
        await press(pilot, "V", *as_typed("mine"), "enter")

    app = ExplorerApp(snapshot=saved)
    drive(app, save)
    (view,) = json.loads((own_settings / "settings.json").read_text())["views"]
    again = ExplorerApp(snapshot=saved)

    async def show(pilot: Pilots) -> None:
        commands = {command.title: command for command in again.get_system_commands(again.screen)}
        commands["View mine"].callback()
        await press(pilot)
        screen = again.screen
        assert isinstance(screen, TableScreen) and screen.ROWS == "fs_structs"
        columns = screen.source().columns
        names = [columns[place].name for place in screen.table.choice.shown(columns)]
        assert names == view["columns"]
        own = [column.name for column in columns]
        assert names == [*own[1:-3], own[-1], *own[-3:-1]]
        # Another reading of the same kernel changes none of it.
        await press(pilot, "m", "f")
        assert [columns[place].name for place in screen.table.choice.shown(columns)] == names

    drive(again, show)


def test_a_kernels_names_in_the_dialog_are_text(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "tasks", saved)
        tasks = screen.source()
        names = [row for row in range(len(tasks)) if "[bold]evil" in tasks.cells(row)[0].text]
        screen.table.put_cursor(names[0])
        await dialog(pilot)
        text = screen_text(app)
        assert "\\e[31m[bold]evil" in text and "\x1b" not in text

    drive(app, steps)


def test_a_line_that_is_painted_before_the_table_hears_of_its_new_size_is_laid_out_for_that(
    saved: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VirtualTable, "on_resize", lambda *_: None)  # it comes too late
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        widths = set()
        for width in (122, 132, 142):
            await pilot.resize_terminal(width, 30)
            screen = app.screen
            assert isinstance(screen, TableScreen)
            painted = lines_of(screen)
            screen.table.redraw()
            assert lines_of(screen) == painted
            widths.add(screen.table.size.width)
        assert len(widths) == 3

    drive(app, steps)
