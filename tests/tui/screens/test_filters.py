"""Filter, order and marks are the same keys on every table, and none of them does another thing while one types."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.export import ExportScreen
from explorer.tui.screens.tables import TableScreen
from explorer.tui.session.state import View
from tests.tui.conftest import Pilots, drive, press, screen_text, settle, type_ahead
from tests.tui.later import make_later
from tests.tui.test_goldens import app_with_findings

#: Each table: the keys that lead there, a word that some of its rows have, and a query of its own.
TABLES = {
    "tasks": (("t", "v"), "kthreadd", "kind:kthread"),
    "fs_structs": (("f",), "init_fs", "users>1"),
    "mounts": (("m",), "tmpfs", "mount:tmpfs*"),
    "mount_namespaces": (("M",), "rootfs", "mounts>2"),
    "subsystems": (("s",), "core", "subsystem:*core*"),
    "findings": (("n",), "detached", "severity:high"),
    "differences": (("equals_sign",), "plain-a", "name:plain-a*"),
    "events": (("L",), "plain-a", "text~^plain"),
}


async def reach(app: ExplorerApp, pilot: Pilots, name: str, saved: Snapshot) -> TableScreen:
    """The table's screen, with rows."""
    if name == "differences":
        await app.show_other(View(make_later(saved)))
        while not isinstance(app.screen, TableScreen) or app.screen.source() is None:
            await pilot.pause(0.05)
    elif name == "events":
        for text in ("plain-a went", "plain-b went", "tmpfs#3 came"):
            app.source.log.note("not readable", text, datetime.now(), "warn")
        await press(pilot, "L")
    else:
        await press(pilot, *TABLES[name][0])
    await press(pilot)
    assert isinstance(app.screen, TableScreen) and name == app.screen.ROWS
    return app.screen


def as_typed(text: str) -> list[str]:
    return ["space" if char == " " else char for char in text]


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_every_key_of_rows_works_on_every_table(table: str, saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        await rows_obey(app, pilot, await reach(app, pilot, table, saved), TABLES[table][1:])

    drive(app, steps, width=120)


async def rows_obey(app: ExplorerApp, pilot: Pilots, screen: TableScreen, queries: tuple[str, ...]) -> None:
    """Filter, history, order and marks do here what they do on every table. :param queries: a word, and a query"""
    mode, everything = app.current_mode, len(screen.source())
    assert everything > 1
    # What is typed at once is text, whatever it would do as a key: q ends nothing, tab leads nowhere.
    type_ahead(pilot, "/", *"qnmtx", "tab", "q")
    await settle(pilot)
    await press(pilot)
    assert screen.bar.box.has_focus and app.current_mode == mode and screen.query_text == "qnmtxq"
    assert len(screen.source()) == 0 and "no " in screen.table.empty and "matches" in screen.table.empty
    await press(pilot, "escape")
    assert screen.table.has_focus and len(screen.source()) == everything and screen.query_text == ""
    assert screen.bar.display is screen.FILTER_ALWAYS
    for query in queries:
        await press(pilot, "slash", *as_typed(query), "enter")
        assert screen.table.has_focus and screen.matched == query
        shown = len(screen.source())
        assert 0 < shown <= everything and screen.bar.display
        assert f"{screen.source().matching} of " in screen_text(app)
        await press(pilot, "escape")
        assert len(screen.source()) == everything
    await press(pilot, "u")
    assert screen.query_text == queries[1] and len(screen.source()) == shown
    await press(pilot, "u")
    assert screen.query_text == queries[0]
    await press(pilot, "slash", "up")
    assert screen.query_text == queries[1]
    await press(pilot, "up", "up", "down")
    assert screen.query_text in queries or screen.query_text == "qnmtxq"
    await press(pilot, "escape", "escape")

    # A query that is wrong leaves the rows, and says what there is.
    screen.filter_by("nothing.such:1")
    await press(pilot)
    assert len(screen.source()) == everything
    assert "there is no field nothing.such" in screen_text(app).replace("\n", " ")
    await press(pilot, "escape")

    await orders(app, pilot, screen)
    await marks(app, pilot, screen)


async def orders(app: ExplorerApp, pilot: Pilots, screen: TableScreen) -> None:
    source = screen.source()
    before = [[cell.text for cell in source.cells(row)] for row in range(len(source))]
    for column in source.columns:
        await press(pilot, "greater_than_sign")
        assert source.sort_column == column.name and screen.table.sort_mark == (column.name, False)
        after = [[cell.text for cell in source.cells(row)] for row in range(len(source))]
        assert sorted(before) == sorted(after), column.name
        await press(pilot, "i")
        assert source.descending and screen.table.sort_mark == (column.name, True)
        await press(pilot, "i")
    await press(pilot, "greater_than_sign")
    assert source.sort_column is None
    assert [[cell.text for cell in source.cells(row)] for row in range(len(source))] == before
    places = screen.table._layout()
    await pilot.click("#rows", offset=(screen.table._gutter + places[0][1] + 3, 0))
    await press(pilot)
    assert source.sort_column == source.columns[places[1][0]].name
    assert "▲" in screen_text(app)
    screen.sort_by(None)


async def marks(app: ExplorerApp, pilot: Pilots, screen: TableScreen) -> None:
    await press(pilot, "g", "space", "space")
    source = screen.source()  # that of the findings is made anew for another height
    assert [source.is_picked(row) for row in range(2)] == [True, True]
    text = screen_text(app)
    assert "2 marked" in text and text.count("●") == 2
    assert screen.table.row == min(2, len(source) - 1)
    await press(pilot, "c")
    rows = [[cell.text for cell in source.cells(row)] for row in range(2)]
    assert app.clipboard.splitlines() == ["  ".join(t.strip() for t in row if t.strip()) for row in rows]
    await press(pilot, "x")
    assert isinstance(app.screen, ExportScreen) and len(app.screen._rows.rows) <= 2
    await press(pilot, "escape")
    # What is marked stays so when the order changes.
    screen.sort_by(source.columns[0].name, True)
    assert sum(map(source.is_picked, range(len(source)))) == 2
    await press(pilot, "asterisk")
    source = screen.source()
    assert all(map(source.is_picked, range(len(source))))
    await press(pilot, "asterisk")
    assert not screen.picked and "marked" not in screen_text(app)
    screen.sort_by(None)


def test_marks_and_the_order_stay_with_their_rows_when_the_target_is_read_again(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        await press(
            pilot, "j", "space", "slash", *"users>0", "enter", "greater_than_sign", "greater_than_sign"
        )
        picked = set(screen.picked)
        before = screen.source()
        app.source.show(View(make_later(saved), number=1))
        await press(pilot)
        now = screen.source()
        assert now is not before and now.picked == picked and len(picked) == 1
        assert now.sort_column == before.sort_column is not None and screen.matched == "users>0"
        assert now.matching < len(make_later(saved).fs_structs) or now.matching

    drive(app, steps)


def test_tab_completes_fields_flags_and_values_and_goes_through_the_choices(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "tasks", saved)
        box = screen.bar.box
        await press(pilot, "slash", *"borrowi", "tab")
        assert box.value == "borrowing" and box.has_focus
        await press(pilot, *as_typed(" not kind:kt"), "tab")
        assert box.value == "borrowing not kind:kthread"
        await press(pilot, "escape", "slash", *"root:", "tab")
        assert box.value == "root:" and "nullfs  " in screen_text(app)
        await press(pilot, "tab")
        first = box.value
        await press(pilot, "tab")
        assert (
            first != box.value and box.value.startswith("root:") and f"[{box.value[5:]}]" in screen_text(app)
        )
        await press(pilot, "shift+tab")
        assert box.value == first and box.has_focus
        await press(pilot, "escape", "slash", *"comm:nx-i", "tab")
        assert box.value == "comm:nx-init" and screen.source().matching
        await press(pilot, "escape", "slash", *"comm:no-such-name", "tab")
        assert box.value == "comm:no-such-name" and "nothing is known that begins so" in screen_text(app)

    drive(app, steps)


def test_a_tree_shows_what_a_match_hangs_on_and_counts_only_matches(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "mounts", saved)
        await press(pilot, "slash", *"mount:proc*", "enter")
        source = screen.source()
        names = [source.cells(row)[0].text for row in range(len(source))]
        assert any(name.startswith("mount namespace") for name in names)
        assert 0 < source.matching < len(source)
        assert sum("proc" in name for name in names) == source.matching

    drive(app, steps)


def test_the_export_has_the_marked_rows_or_all_and_says_by_which_filter(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        await press(pilot, "slash", *"users>1", "enter", "g", "space")
        view = app.view
        assert view is not None
        rows = screen.row_set(view)
        assert rows is not None and rows.records is not None and rows.query == ""
        assert [record.model_dump()["address"] for record in rows.records] == [
            screen.source().records[0][1].address
        ]
        # What is marked stays so, and is written, whatever is filtered then.
        await press(pilot, "slash", *"users:1", "enter", "g", "space", "c")
        both = screen.row_set(view)
        assert both is not None and len(both.rows) == 2 and len(app.clipboard.splitlines()) == 2
        await press(pilot, "escape", "escape", "slash", *"users>1", "enter")
        assert not screen.picked
        everything = screen.row_set(view)
        assert everything is not None and len(everything.rows) == screen.source().matching
        assert everything.query == "users>1"

    drive(app, steps)


def test_arrows_on_the_overview_go_where_they_point(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        def at() -> str:
            return (app.focused.id or "") if app.focused is not None else ""

        await press(pilot)
        assert at() == "left"
        await press(pilot, "down")
        assert at().startswith("other")
        await press(pilot, "right")
        assert at().startswith("other")
        await press(pilot, "down")
        assert at() == "findings"
        await press(pilot, "down")
        assert at() == "findings" and app.screen.query_one("#findings").row == 1  # type: ignore[attr-defined]
        await press(pilot, "up", "up")
        assert at().startswith("other")
        await press(pilot, "k", "right")
        assert at() in ("bridge", "right")
        await press(pilot, "j", "j", "enter")
        assert app.current_mode == "findings"

    drive(app, steps)


def test_help_and_footer_name_the_keys_of_the_filter_while_it_is_typed(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await reach(app, pilot, "mounts", saved)
        assert "/ Filter" in screen_text(app).splitlines()[-1]
        await press(pilot, "slash")
        foot = screen_text(app).splitlines()[-1]
        assert "Complete" in foot and "Clear" in foot and "Filter" not in foot

    drive(app, steps, width=80)


def test_a_search_in_the_detail_goes_from_match_to_match_and_n_means_findings_again_after_it(
    saved: Snapshot,
) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        await press(pilot, "enter")
        pane = screen.pane
        assert pane.has_focus
        await press(pilot, "slash", *"KTHREAD", "enter")
        found = pane.matches()
        assert len(found) > 2 and pane.has_focus and pane.row == found[0] and screen.query_text == ""
        assert f"{len(found)} lines" in screen_text(app)
        await press(pilot, "n", "n")
        assert pane.row == found[2]
        await press(pilot, "N")
        assert pane.row == found[1] and app.current_mode == "fs_structs"
        await press(pilot, "N", "N")
        assert pane.row == found[-1]
        await press(pilot, "escape")
        assert pane.has_focus and not pane.wanted and "search" not in screen_text(app)
        await press(pilot, "n")
        assert app.current_mode == "findings"

    drive(app, steps)


@pytest.mark.parametrize("table", ["fs_structs", "mount_namespaces"])
def test_columns_are_hidden_and_come_back_and_one_is_always_left(table: str, saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        screen = await reach(app, pilot, table, saved)
        columns = screen.source().columns
        assert columns[0].title in screen_text(app)
        await press(pilot, "H")
        assert columns[0].title not in screen_text(app).split("\n")[1] and screen.table.column == 1
        await press(pilot, "h")
        assert screen.table.column == 1
        await press(pilot, *["H"] * (len(columns) + 2))
        assert len(screen.table.choice.left_out) == len(columns) - 1
        await press(pilot, "U")
        assert columns[0].title in screen_text(app) and not screen.table.choice.left_out

    drive(app, steps)


def test_a_view_is_saved_and_the_palette_of_another_run_leads_to_it(
    saved: Snapshot, own_settings: Path
) -> None:
    async def save(pilot: Pilots) -> None:
        screen = await reach(app, pilot, "fs_structs", saved)
        await press(pilot, "H", "slash", *"users>1", "enter")
        screen.sort_by("users", True)
        await press(pilot, "V", *as_typed("my view"), "enter")
        assert not app.screen.is_modal and any("palette" in note.message for note in app._notifications)
        await press(pilot, "T")  # what else is remembered does not lose it

    app = ExplorerApp(snapshot=saved)
    drive(app, save)
    written = json.loads((own_settings / "settings.json").read_text())
    assert [view["name"] for view in written["views"]] == ["my view"] and written["theme"] != "nullfs-dark"

    async def show(pilot: Pilots) -> None:
        commands = {command.title: command for command in again.get_system_commands(again.screen)}
        commands["View my view"].callback()
        await press(pilot)
        screen = again.screen
        assert isinstance(screen, TableScreen) and screen.ROWS == "fs_structs" and screen.matched == "users>1"
        source = screen.source()
        assert (source.sort_column, source.descending) == (
            "users",
            True,
        ) and screen.table.choice.left_out == {"placement"}
        numbers = [fs.users for _, fs in source.records]
        assert numbers == sorted(numbers, reverse=True) and min(numbers) > 1
        commands["Forget the view my view"].callback()
        assert not again.look.views

    again = ExplorerApp(snapshot=saved)
    drive(again, show)
    assert json.loads((own_settings / "settings.json").read_text())["views"] == []


@pytest.mark.parametrize("views", [["x"], [{"name": 1, "table": "tasks"}], [{"name": "a", "such": 2}], 5])
def test_views_that_are_none_cost_the_settings_and_never_the_app(
    views: object, saved: Snapshot, own_settings: Path
) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text(json.dumps({"views": views}))
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        assert any("settings.json is not used" in note.message for note in app._notifications)

    drive(app, steps)
