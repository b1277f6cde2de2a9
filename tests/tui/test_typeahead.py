"""Fast typists: no key is lost, and each does what it does after the one before."""

from __future__ import annotations

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.tasks import TasksScreen

from .conftest import SAVED, Pilots, drive, settle, type_ahead
from .test_terminal import COMMAND, ROOT, Tmux, tmux

__all__ = ("tmux",)  # the fixture


def tasks_screen(app: ExplorerApp) -> TasksScreen:
    assert isinstance(app.screen, TasksScreen)
    return app.screen


@pytest.mark.parametrize("lead", ["/", "t/", "ott/", "fmt/"])
def test_a_filter_typed_in_one_burst_arrives_whole_and_the_keys_after_it_move(
    app: ExplorerApp, saved: Snapshot, lead: str
) -> None:
    async def steps(pilot: Pilots) -> None:
        type_ahead(pilot, *lead, *"kind:kthread", "enter", "j", "j")
        await settle(pilot)
        screen = tasks_screen(app)
        assert screen.query_text == "kind:kthread"
        assert screen.tasks is not None
        assert screen.tasks.matching == sum(task.kind_word == "kthread" for task in saved.tasks)
        assert screen.table.has_focus and screen.table.row == 2

    drive(app, steps)


def test_keys_right_behind_a_switch_of_screens_reach_the_new_one(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        type_ahead(pilot, *"tGk")
        await settle(pilot)
        table = tasks_screen(app).table
        assert table.row == len(table.source or ()) - 2
        type_ahead(pilot, *"ftvGkk")
        await settle(pilot)
        assert table.row == len(table.source or ()) - 3
        tasks = tasks_screen(app).tasks
        assert tasks is not None and not tasks.grouped

    drive(app, steps)


def test_a_group_opened_in_a_burst_is_open_before_the_next_key_moves(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        type_ahead(pilot, "t", "enter", "j", "j", "y")
        await settle(pilot)
        screen = tasks_screen(app)
        assert screen.table.row == 2 and app.clipboard == "kthreadd"

    drive(app, steps)


def test_keys_behind_a_door_of_the_overview_reach_the_tasks_inside(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        app.screen.query_one("#right").focus()
        type_ahead(pilot, "enter", "G", "v")
        await settle(pilot)
        screen = tasks_screen(app)
        assert screen.query_text == "owner:userspace_init_fs"
        assert screen.tasks is not None and not screen.tasks.grouped

    drive(app, steps)


def test_letters_in_the_filter_are_letters_whatever_they_are_bound_to(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        type_ahead(pilot, *"/q?xKTF/ ", "enter", "G")
        await settle(pilot)
        assert tasks_screen(app).query_text == "q?xKTF/ "

    drive(app, steps)


def test_bursts_in_a_real_terminal_arrive_whole(tmux: Tmux) -> None:
    tmux.keys(f"cd {ROOT} && {' '.join(COMMAND)} {SAVED.relative_to(ROOT)}", "Enter")
    tmux.until(lambda screen: "ISOLATED" in screen and "q Quit" in screen)
    tmux.keys("-l", "/kind:kthread")
    tmux.until(lambda screen: "kind:kthread" in screen and "22 of 112 tasks" in screen)
    tmux.keys("Enter", "o")
    tmux.until(lambda screen: "ISOLATED" in screen)
    tmux.keys("-l", "tGk")
    tmux.until(lambda screen: "22 of 112 tasks" in screen and "FS_STRUCT" in screen)
    tmux.keys("q")


def test_a_key_that_comes_before_its_screen_is_made_is_no_fault(app: ExplorerApp) -> None:
    """As of who types while the app starts: there is nothing yet to copy, to export, to filter."""
    actions = sorted({binding.action for _, binding in TasksScreen()._bindings})
    assert "copy('row')" in actions

    async def steps(pilot: Pilots) -> None:
        for action in actions:
            await app.run_action(action, TasksScreen())
        assert list(app.faults) == []

    drive(app, steps)
