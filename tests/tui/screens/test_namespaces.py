"""The namespaces' screen, and the mounts of one of them: driven as a user drives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.model import Reference, Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.namespaces import MountsScreen, NamespacesScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.session.state import View
from explorer.tui.views.details import describe
from tests.conftest import HELD, capture_file
from tests.tui.conftest import Pilots, drive, press, screen_text
from tests.unit.audit_states import task_of


@pytest.fixture(scope="module")
def captured() -> Snapshot:
    return capture_file(HELD)


@pytest.fixture
def held(captured: Snapshot) -> ExplorerApp:
    return ExplorerApp(snapshot=captured)


def namespaces_screen(app: ExplorerApp) -> NamespacesScreen:
    assert isinstance(app.screen, NamespacesScreen)
    return app.screen


def mounts_screen(app: ExplorerApp) -> MountsScreen:
    assert isinstance(app.screen, MountsScreen)
    return app.screen


def shown_mounts(app: ExplorerApp) -> set[int]:
    records = mounts_screen(app).source().records
    return {row.mount.address for row in records if row.mount is not None}


def said(app: ExplorerApp) -> list[str]:
    return [notice.message for notice in app._notifications]


def row_of(app: ExplorerApp, text: str) -> int:
    """The row of the namespace that is kept by this."""
    records = namespaces_screen(app).source().records
    [row] = [number for number, facts in enumerate(records) if text in facts.kept_by]
    return row


async def go_to_row(pilot: Pilots, app: ExplorerApp, text: str) -> int:
    screen = namespaces_screen(app)
    screen.table.put_cursor(row_of(app, text))
    await press(pilot)
    facts = screen.facts()
    assert facts is not None
    return facts.namespace.address


def test_enter_on_a_namespace_goes_to_its_mounts_and_v_shows_all_again(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M")
        assert len(namespaces_screen(held).source()) == len(captured.mount_namespaces)
        address = await go_to_row(pilot, held, "an open file of h-ns-opened")
        await press(pilot, "enter")
        own = {mount.address for mount in captured.mounts if mount.mnt_ns == address}
        assert shown_mounts(held) == own
        inum = captured.namespace_by_address[address].inum
        assert f"only mnt:[{inum}]: v shows all mounts" in screen_text(held)
        await press(pilot, "v")
        assert shown_mounts(held) == {mount.address for mount in captured.mounts}
        assert "v shows all mounts" not in screen_text(held)
        assert mounts_screen(held).selected() is not None

    drive(held, steps)


def test_v_on_a_mount_shows_those_of_its_namespace_and_the_cursor_stays_on_it(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "m")
        screen = mounts_screen(held)
        second = task_of(captured, "p-second").mnt_ns
        mount = next(m for m in captured.mounts if m.mnt_ns == second and m.mountpoint == "/proc")
        assert screen.select(Reference(kind="mount", address=mount.address, label=""))
        await press(pilot, "v")
        assert shown_mounts(held) == {m.address for m in captured.mounts if m.mnt_ns == second}
        selected = screen.selected()
        assert selected is not None and selected.address == mount.address
        await press(pilot, "v")
        selected = screen.selected()
        assert selected is not None and selected.address == mount.address

    drive(held, steps)


def test_v_on_a_mount_that_is_in_no_namespace_says_so_and_hides_nothing(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "m", "G", "v")
        assert shown_mounts(held) == {mount.address for mount in captured.mounts}
        assert said(held) == ["It is in no namespace."]

    drive(held, steps)


def test_a_mount_that_the_filter_hides_is_shown_when_it_is_gone_to(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M", "j", "enter")
        hidden = next(mount for mount in captured.mounts if mount.source == "h-table")
        assert hidden.address not in shown_mounts(held)
        held.go_to(Reference(kind="mount", address=hidden.address, label="tmpfs"))
        await press(pilot)
        selected = mounts_screen(held).selected()
        assert selected is not None and selected.address == hidden.address

    drive(held, steps)


def test_a_namespace_that_is_gone_in_the_next_reading_takes_the_filter_with_it(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M")
        address = await go_to_row(pilot, held, "an open file of h-ns-opened")
        await press(pilot, "enter")
        later = Snapshot.model_validate(captured.model_dump())
        later.mount_namespaces = [ns for ns in later.mount_namespaces if ns.address != address]
        later.mounts = [mount for mount in later.mounts if mount.mnt_ns != address]
        held.source.view = View(later)
        held.catch_up()
        await press(pilot)
        assert shown_mounts(held) == {mount.address for mount in later.mounts}
        inum = captured.namespace_by_address[address].inum
        assert said(held) == [f"mnt:[{inum}] is gone: all mounts are shown."]

    drive(held, steps)


def test_from_a_task_to_its_namespace_to_a_mount_and_back(held: ExplorerApp, captured: Snapshot) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M")
        await go_to_row(pilot, held, "h-connected")
        await press(pilot, "a")
        assert isinstance(held.screen, TasksScreen)
        tasks = held.screen
        assert tasks.tasks is not None and tasks.tasks.matching == 1
        await press(pilot, "tab")
        pane = tasks.pane
        pane.focus()
        kinds = []
        for name in ("mnt_ns", "visible root"):
            while (fact := pane.fact()) is None or not fact.name.startswith(name):
                await press(pilot, "j")
            await press(pilot, "enter")
            assert pane.detail is not None
            kinds.append(pane.detail.reference.kind)
        await press(pilot, "backspace")
        assert pane.detail is not None
        kinds.append(pane.detail.reference.kind)
        assert kinds == ["mount_namespace", "mount", "mount_namespace"]
        await press(pilot, "w")
        facts = namespaces_screen(held).facts()
        assert facts is not None and facts.namespace.address == task_of(captured, "h-connected").mnt_ns

    drive(held, steps, width=120)


def test_a_on_a_namespace_without_tasks_says_that_there_is_none(held: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M")
        await go_to_row(pilot, held, "an open file of h-ns-opened")
        await press(pilot, "a")
        assert isinstance(held.screen, NamespacesScreen)
        assert said(held) == ["No task is in it."]

    drive(held, steps)


def test_the_detail_of_a_namespace_leads_to_who_keeps_it_what_pins_it_and_its_mounts(
    captured: Snapshot,
) -> None:
    def facts_of(address: int) -> list[tuple[str, str, str]]:
        detail = describe(Reference(kind="mount_namespace", address=address, label=""), captured)
        return [
            (fact.name, fact.value, "" if fact.target is None else fact.target.kind) for fact in detail.facts
        ]

    [bound] = [ns for ns in captured.mount_namespaces if ns.holders and not ns.holders[0].uses]
    found = facts_of(bound.address)
    assert found[0] == ("tasks", "none: it lives on for 1 holder", "")
    assert [kind for name, _, kind in found if name == "pinned by"] == ["mount"]
    assert not any(name == "held by" for name, _, _ in found)
    assert ("/", "2 mounts deep", "") in found
    assert sum(name == "mount" for name, _, _ in found) == bound.nr_mounts
    [anonymous] = [ns for ns in captured.mount_namespaces if ns.anonymous]
    held = [(value, kind) for name, value, kind in facts_of(anonymous.address) if name == "held by"]
    assert len(held) == 1
    assert held[0][0].startswith("h-tree (") and held[0][1] == "task"


def test_a_mount_that_pins_a_namespace_and_is_not_in_the_snapshot_is_not_left_out(captured: Snapshot) -> None:
    partly = Snapshot.model_validate(captured.model_dump())
    [bound] = [ns for ns in partly.mount_namespaces if ns.holders and not ns.holders[0].uses]
    assert bound.holders is not None
    bound.holders[0].address = 1
    detail = describe(Reference(kind="mount_namespace", address=bound.address, label=""), partly)
    assert [fact.value for fact in detail.facts if fact.name == "held by"] == [
        "a mount mounted on it  /h-ns/bound"
    ]


def test_the_rows_of_namespaces_are_exported(held: ExplorerApp, captured: Snapshot, tmp_path: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M")
        view = held.view
        assert view is not None
        rows = namespaces_screen(held).row_set(view)
        assert rows is not None
        assert len(rows.rows) == len(captured.mount_namespaces)
        addresses = [record.model_dump()["address"] for record in rows.records or ()]
        assert sorted(addresses) == sorted(captured.namespace_by_address)
        assert json.dumps(rows.header) == '["inum", "tasks", "mounts", "depth", "root", "kept"]'

    drive(held, steps)


def test_only_the_namespaces_that_are_marked_or_shown_are_exported_in_every_format(
    held: ExplorerApp, captured: Snapshot
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "M", "down", "space")
        view = held.view
        assert isinstance(view, View)
        source = namespaces_screen(held).source()
        [marked] = source.picked_records()
        rows = namespaces_screen(held).row_set(view)
        assert rows is not None and rows.records == [marked.namespace]
        assert len(rows.rows) == 1 < len(captured.mount_namespaces)
        await press(pilot, "escape", *"/h-ns", "enter")
        shown = [facts.namespace for facts in source.records]
        rows = namespaces_screen(held).row_set(view)
        assert rows is not None and rows.records == shown and len(rows.rows) == len(shown)
        assert 0 < len(shown) < len(captured.mount_namespaces)

    drive(held, steps)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)], ids=str)
def test_who_keeps_a_namespace_is_on_the_screen_at_every_size(
    held: ExplorerApp, size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilots) -> None:
        await pilot.resize_terminal(*size)
        await press(pilot, "M")
        text = screen_text(held)
        assert "KEPT BY" in text
        assert "an open file of h-ns-op" in text
        assert all(len(line) <= size[0] for line in text.splitlines())

    drive(held, steps)
