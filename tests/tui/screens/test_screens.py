"""Every screen and every key, driven as a user drives them."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.events import Paste
from textual.widgets import Input, Static

from explorer.analysis.query.parse import QueryError, parse_query
from explorer.analysis.worlds import WorldKey, find_worlds
from explorer.model import Snapshot, task_reference
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import FindingsScreen
from explorer.tui.screens.dialogs.info import TextScreen
from explorer.tui.screens.dialogs.problem import ProblemScreen
from explorer.tui.screens.namespaces import MountsScreen, NamespacesScreen
from explorer.tui.screens.overview import OverviewScreen
from explorer.tui.screens.subsystems import SubsystemsScreen
from explorer.tui.screens.tables import FsStructsScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.session.state import Session
from explorer.tui.widgets.door_box import DoorBox
from tests.tui.conftest import Pilots, drive, press, screen_text
from tests.tui.test_goldens import app_with_findings


def tasks_screen(app: ExplorerApp) -> TasksScreen:
    assert isinstance(app.screen, TasksScreen)
    return app.screen


def test_plain_letters_go_to_every_screen_and_back(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        for key, kind in (
            ("t", TasksScreen),
            ("f", FsStructsScreen),
            ("m", MountsScreen),
            ("M", NamespacesScreen),
            ("s", SubsystemsScreen),
            ("n", FindingsScreen),
            ("o", OverviewScreen),
        ):
            await press(pilot, key)
            assert isinstance(app.screen, kind)

    drive(app, steps)


def test_every_door_leads_to_exactly_the_tasks_inside(app: ExplorerApp, saved: Snapshot) -> None:
    worlds = find_worlds(saved)

    async def steps(pilot: Pilots) -> None:
        doors = [box for box in app.screen.query(DoorBox) if box.display]
        assert len(doors) == len(worlds.worlds) + 1  # and the bridge
        for number in range(len(doors)):
            await press(pilot, "o")
            doors[number].focus()
            await press(pilot, "enter")
            table = tasks_screen(app).tasks
            assert table is not None
            door = doors[number]._door
            assert door is not None and table.matching == door.count

    drive(app, steps)


def test_a_click_on_a_box_goes_inside(app: ExplorerApp, saved: Snapshot) -> None:
    async def steps(pilot: Pilots) -> None:
        await pilot.click("#right")
        await press(pilot)
        assert tasks_screen(app).query_one("#filter", Input).value == "owner:userspace_init_fs"

    drive(app, steps)


def test_the_filter_follows_every_keystroke_and_a_wrong_query_keeps_the_rows(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"kind:kthread")
        table = tasks_screen(app).tasks
        assert table is not None
        found = table.matching
        assert 0 < found < len(table.rows)
        await press(pilot, *" wrong")
        found = table.matching
        await press(pilot, ":", "1")
        counts = tasks_screen(app).query_one("#counts", Static)
        assert "wrong" in counts.classes and str(counts.content).strip() == "not valid"
        assert table.matching == found
        await press(pilot, "escape", "escape")
        assert table.matching == len(table.rows)
        assert "wrong" not in counts.classes

    drive(app, steps)


@pytest.mark.parametrize("typed", ["nosuch:3", "zzz root: "])
def test_a_filter_that_is_not_valid_is_said_in_full_and_not_taken_for_one_that_matches_nothing(
    app: ExplorerApp, typed: str
) -> None:
    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await press(pilot, "t", "slash", *typed)
            said = screen_text(app)
            with pytest.raises(QueryError) as raised:
                parse_query(typed)
            assert f"the filter is not valid: {raised.value}" in " ".join(said.split())
            assert "no task matches" not in said
            await press(pilot, "escape", "escape")
            assert "not valid" not in screen_text(app)
            await press(pilot, "slash", *"zzz")
            assert "no task matches the filter" in screen_text(app)

    asyncio.run(run())


def test_rows_that_are_of_an_older_filter_are_said_to_be(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"kind:kthread )")
        assert "rows below: of the filter kind:kthread" in " ".join(screen_text(app).split())

    drive(app, steps)


def test_control_characters_that_are_pasted_stay_out_of_the_filter(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash")
        box = tasks_screen(app).query_one("#filter", Input)
        for text in ("\x1b[31mred", "\x9b1m", "plain"):
            box.post_message(Paste(text))
            await press(pilot)
        assert box.value == "plain"

    drive(app, steps)


def test_the_slash_on_the_overview_opens_the_filter(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "slash", *"pid:2")
        table = tasks_screen(app).tasks
        assert table is not None and table.matching == 1

    drive(app, steps)


def test_vim_keys_and_arrows_move_alike(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        table = tasks_screen(app).table
        for down, up in (
            ("j", "k"),
            ("down", "up"),
            ("pagedown", "pageup"),
            ("ctrl+d", "ctrl+u"),
            ("G", "g"),
            ("end", "home"),
        ):
            assert table.row == 0
            await press(pilot, down)
            assert table.row > 0
            await press(pilot, up)
        assert table.row == 0

    drive(app, steps)


def test_a_group_opens_and_closes_and_the_selection_stays_when_sorted(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        screen = tasks_screen(app)
        table = screen.tasks
        assert table is not None
        closed = len(table)
        await press(pilot, "enter")
        assert len(table) > closed
        await press(pilot, "j", "j", "j")
        selected = screen.selected()
        for key in (">", ">", "i", "v", "<", "v"):
            await press(pilot, {">": "greater_than_sign", "<": "less_than_sign"}.get(key, key))
            assert screen.selected() == selected, key
        await press(pilot, "E")
        assert len(table) == closed

    drive(app, steps)


def test_a_click_on_a_header_sorts_by_that_column_and_again_the_other_way(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        screen = tasks_screen(app)
        for descending in (False, True):
            await pilot.click("#rows", offset=(2, 0))
            await press(pilot)
            assert screen.table.sort_mark == ("comm", descending)

    drive(app, steps)


def test_links_are_followed_and_history_leads_back_and_forward(app: ExplorerApp, saved: Snapshot) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"pid:1", "enter", "enter")
        pane = tasks_screen(app).pane
        assert pane.has_focus and pane.detail is not None
        assert pane.detail.reference.address == next(task.address for task in saved.tasks if task.pid == 1)
        kinds = [pane.detail.reference.kind]
        await press(pilot, "enter")
        kinds.append(pane.detail.reference.kind)
        while (fact := pane.fact()) is None or fact.name != "root":
            await press(pilot, "j")
        await press(pilot, "enter")
        kinds.append(pane.detail.reference.kind)
        await press(pilot, "b", "backspace")
        kinds.append(pane.detail.reference.kind)
        await press(pilot, "B", "B")
        kinds.append(pane.detail.reference.kind)
        assert kinds == ["task", "fs_struct", "mount", "task", "mount"]
        await press(pilot, "w")
        assert isinstance(app.screen, MountsScreen)
        selected = app.screen.selected()
        assert selected is not None and selected.address == pane.detail.reference.address

    drive(app, steps)


def test_copying_reaches_the_clipboard_and_a_private_file(
    app: ExplorerApp, saved: Snapshot, own_settings: Path
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"pid:2", "enter", "j", "C")
        task = next(task for task in saved.tasks if task.pid == 2)
        expression = f'Object(prog, "struct task_struct *", 0x{task.address:x})'
        assert app.clipboard == expression
        copied = own_settings / "copied.txt"
        assert copied.read_text() == expression + "\n"
        assert stat.S_IMODE(copied.stat().st_mode) == 0o600
        assert stat.S_IMODE(own_settings.stat().st_mode) == 0o700
        await press(pilot, "y")
        assert app.clipboard == "kthreadd"
        await press(pilot, "l", "y")
        assert app.clipboard == "2"
        await press(pilot, "c")
        assert app.clipboard.split()[:3] == ["kthreadd", "2", "kthread"]
        await press(pilot, "Y")
        assert app.clipboard.startswith("task 2  kthreadd\n") and expression in app.clipboard
        assert copied.read_text() == app.clipboard + "\n"

    drive(app, steps)


def declared(kind: type) -> list[Binding]:
    """The bindings that our own classes declare, not those they inherit from Textual's."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("explorer.")]
    return [binding for each in ours for binding in each.__dict__.get("BINDINGS", ())]


@pytest.mark.parametrize("screen", ["o", "t", "f", "m", "M", "s", "n"])
def test_every_binding_has_an_id_and_a_sentence_and_help_shows_it(app: ExplorerApp, screen: str) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, screen)
        active = list(app.screen.active_bindings.values())
        ours = {binding.id: binding for each in active for binding in declared(type(each.node))}
        await press(pilot, "question_mark")
        assert isinstance(app.screen, TextScreen)
        assert len(ours) > 10
        for binding in ours.values():
            assert binding.id and binding.tooltip, binding
            applies = binding.id in {each.binding.id for each in active}
            assert (binding.tooltip in " ".join(app.screen._text.split())) is applies
            assert applies or binding.id.startswith(("app.stop", "app.interval", "frame.", "go.back"))
        await press(pilot, "escape")
        assert not isinstance(app.screen, TextScreen)

    drive(app, steps)


def test_the_palette_offers_what_applies_here(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        here = [command.title for command in app.get_system_commands(app.screen)]
        assert not any("Sort by" in title for title in here)
        await press(pilot, "t")
        there = [command.title for command in app.get_system_commands(app.screen)]
        assert "Sort by PID" in there
        await press(pilot, "ctrl+p", *"mounts", "enter")
        await press(pilot)
        assert isinstance(app.screen, MountsScreen)

    drive(app, steps)


def test_a_finding_on_the_overview_opens_and_its_evidence_jumps_to_the_task(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        app.screen.query_one("#findings").focus()
        await press(pilot, "j", "enter")
        assert isinstance(app.screen, FindingsScreen)
        assert app.screen.table.row == 1
        await press(pilot, "enter", "w")
        selected = tasks_screen(app).selected()
        borrower = next(task for task in saved.tasks if task.comm == "borrower")
        assert selected is not None and selected.address == borrower.address

    drive(app, steps)


def test_a_target_that_cannot_be_read_is_a_screen_from_which_the_sample_opens(tmp_path: Path) -> None:
    app = ExplorerApp(Session((str(tmp_path / "x\x1b[31m.elf"),)))

    async def steps(pilot: Pilots) -> None:
        while not isinstance(app.screen, ProblemScreen):
            await pilot.pause(0.05)
        await pilot.pause()
        text = screen_text(app)
        assert "x\\e[31m.elf" in text and "open the sample" in text
        await press(pilot, "s")
        assert isinstance(app.screen, OverviewScreen)
        assert "ISOLATED" in screen_text(app)

    drive(app, steps)


def test_hostile_names_stand_escaped_in_their_column_on_every_screen(saved: Snapshot) -> None:
    app = app_with_findings(saved)

    async def steps(pilot: Pilots) -> None:
        for key in ("o", "t", "f", "m", "M", "n"):
            await press(pilot, key)
            assert all(character.isprintable() for character in screen_text(app).replace("\n", ""))
        await press(pilot, "t", "v", "slash", *"owner:private", "enter")
        lines = screen_text(app).splitlines()
        header = next(line for line in lines if line.startswith("NAME"))
        column = header.index("FS_STRUCT")
        evil = next(line for line in lines if "[bold]evil" in line)
        assert evil.startswith("\\e[31m[bold]evil")
        assert evil[column] == "…" and evil[column - 1] == " "

    drive(app, steps)


def test_the_window_title_is_escaped(saved: Snapshot) -> None:
    hostile = saved.model_copy(deep=True)
    hostile.capture.source.target = "\x1b]0;gotcha\x07.elf"
    app = ExplorerApp(snapshot=hostile)

    async def steps(pilot: Pilots) -> None:
        assert app.title.isprintable() and "\\e]0;gotcha" in app.title
        assert "\\e]0;gotcha" in screen_text(app)

    drive(app, steps)


def test_the_debug_info_and_the_kernel_are_a_key_away(app: ExplorerApp, saved: Snapshot) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "exclamation_mark")
        assert isinstance(app.screen, TextScreen)
        assert "textual" in app.screen._text and saved.kernel.release in app.screen._text
        await press(pilot, "c", "escape", "K")
        assert "textual" in app.clipboard
        assert isinstance(app.screen, TextScreen) and "init_fs" in app.screen._text

    drive(app, steps)


def test_selecting_a_task_from_afar_opens_its_group(app: ExplorerApp, saved: Snapshot) -> None:
    async def steps(pilot: Pilots) -> None:
        kthreadd = next(task for task in saved.tasks if task.pid == 2)
        await press(pilot, "t", "slash", *"pid:1", "enter")
        app.go_to(task_reference(kthreadd))
        await press(pilot)
        selected = tasks_screen(app).selected()
        assert selected is not None and selected.address == kthreadd.address

    drive(app, steps)


def test_worlds_of_the_saved_snapshot_are_the_ones_the_tests_speak_of(saved: Snapshot) -> None:
    worlds = find_worlds(saved).worlds
    assert {WorldKey.NULLFS, WorldKey.USERSPACE_INIT_FS, WorldKey.FAILFS, WorldKey.EXITED} <= set(worlds)
