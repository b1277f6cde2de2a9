"""Going to what a number names, with the real app."""

from __future__ import annotations

import pytest

from explorer.analysis import tasks_at
from explorer.analysis.query import TaskIndex, parse_query
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs import GoToPrompt
from explorer.tui.screens.tables import TableScreen
from tests.conftest import FIXTURES
from tests.tui.conftest import Pilots, drive, settle, type_ahead


@pytest.fixture(params=FIXTURES)
def snapshot(request: pytest.FixtureRequest, fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return fixture_snapshots[request.param]


async def go(pilot: Pilots, text: str) -> None:
    type_ahead(pilot, "at", *text, "enter")
    await settle(pilot)


def test_an_address_a_pid_a_mount_id_and_an_inode_number_lead_to_their_objects(snapshot: Snapshot) -> None:
    task, mount, namespace = snapshot.tasks[-1], snapshot.mounts[-1], snapshot.mount_namespaces[-1]

    async def scenario(pilot: Pilots) -> None:
        app = pilot.app
        for text, mode, address in (
            (f"{task.address:x}", "tasks", task.address),
            (f"0x{task.address:X}", "tasks", task.address),
            (str(task.pid), "tasks", task.address),
            (f"0x{mount.address:x}", "mounts", mount.address),
            (str(namespace.inum), "namespaces", namespace.address),
        ):
            await go(pilot, text)
            assert app.current_mode == mode, text
            assert isinstance(app.screen, TableScreen)
            selected = app.screen.selected()
            assert selected is not None, text
            assert selected.address == address, text

    drive(ExplorerApp(snapshot=snapshot), scenario)


def test_what_names_nothing_is_said_and_enter_stays(snapshot: Snapshot) -> None:
    async def scenario(pilot: Pilots) -> None:
        app = pilot.app
        for text in ("0xffffffffffffffff", "4294967290", "[red]no", "é"):
            await go(pilot, text)
            assert isinstance(app.screen, GoToPrompt)
            said = str(app.screen.query_one("#promptstate").render())
            assert said == "nothing in this snapshot has or holds that"
            type_ahead(pilot, "escape")
            await settle(pilot)
            assert app.current_mode == "overview"

    drive(ExplorerApp(snapshot=snapshot), scenario)


def test_an_address_in_a_query_selects_who_it_has_to_do_with(snapshot: Snapshot) -> None:
    """By both ways in which a query is decided."""
    index = TaskIndex(snapshot)
    shared = next(fs.address for fs in snapshot.fs_structs if fs.sharers > 1)
    for address in (snapshot.tasks[-1].address, shared, snapshot.mounts[0].address):
        text = f"0x{address:x}"
        wanted = tasks_at(text, snapshot)
        holds = parse_query(text).bind(snapshot)
        assert {task.address for task in snapshot.tasks if holds(task)} == wanted
        mask = index.mask(parse_query(text).root)
        assert {task.address for task, one in zip(snapshot.tasks, mask, strict=True) if one} == wanted
    assert len(tasks_at(f"0x{shared:x}", snapshot)) == sum(
        shared in (task.fs, task.real_fs) for task in snapshot.tasks
    )
