"""What the screen's benchmark is made of; its timings are nobody's assertion."""

from __future__ import annotations

import pytest

from bench.tui import BOUNDS, make_row
from bench.tui_app import Moment
from bench.tui_data import with_containers
from bench.tui_tables import TABLES
from explorer.codec import load_snapshot
from explorer.model import Snapshot
from explorer.tui.screens.modes import BROWSED
from tests.tui.conftest import SAVED


@pytest.fixture(scope="module")
def saved() -> Snapshot:
    return load_snapshot(SAVED)


@pytest.mark.parametrize("what", ["the same, busy", "findings: made up"])
def test_a_figure_without_a_bound_neither_holds_nor_breaks(what: str) -> None:
    row = make_row(what, 100_000, [Moment(9999.0, 1.0)])
    assert row["bound_ms"] is None and row["holds"] is None


@pytest.mark.parametrize("action", BOUNDS)
def test_a_bound_is_that_of_its_action_on_every_table_and_of_as_many_tasks_alone(action: str) -> None:
    for what in (action, f"mounts: {action}"):
        kept, broken = ([Moment(BOUNDS[action] + more, 1.0)] for more in (0.0, 0.1))
        assert make_row(what, 100_000, kept)["holds"] is True
        assert make_row(what, 100_000, broken)["holds"] is False
        assert make_row(what, 10_000, broken)["holds"] is None


def test_every_table_of_the_screen_is_measured() -> None:
    tables = {mode.name for mode in BROWSED if hasattr(mode.screen, "ROWS")}
    # These need a second target, a recording, a trace, and a fleet; events are of readings to come.
    assert tables - {"compare", "timeline", "lookups", "fleet", "events"} == {table.name for table in TABLES}


def test_containers_have_namespaces_and_mounts_of_their_own(saved: Snapshot) -> None:
    scaled = with_containers(saved, 25)
    assert len(scaled.mount_namespaces) == len(saved.mount_namespaces) + 25
    for records in (scaled.mount_namespaces, scaled.mounts):
        addresses = [record.address for record in records]
        assert len(set(addresses)) == len(addresses)
    ids = [mount.id for mount in scaled.mounts]
    assert len(set(ids)) == len(ids) and len(ids) > len(saved.mounts) + 25
    by_address = {mount.address: mount for mount in scaled.mounts}
    for namespace in scaled.mount_namespaces[-25:]:
        own = [mount for mount in scaled.mounts if mount.mnt_ns == namespace.address]
        assert own and by_address[namespace.root or 0].mnt_ns == namespace.address
        for mount in own:
            parent = mount.parent and by_address[mount.parent]
            assert not parent or parent.mnt_ns == namespace.address or parent.mnt_ns is None
    assert scaled.tasks == saved.tasks and scaled.fs_structs == saved.fs_structs
