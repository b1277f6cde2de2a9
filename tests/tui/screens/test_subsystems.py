"""The subsystems screen: what a plugin says, in rows and in words, and that absence is never called fine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from textual.widgets import Input

from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.query.parse import compile_query
from explorer.codec.snapshots import load_snapshot
from explorer.model import CaptureError, Owner, Snapshot
from explorer.plugin import load_plugins
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import FindingsScreen
from explorer.tui.screens.subsystems import SubsystemsScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.views.details.facts import MAX_LINKS
from explorer.tui.views.subsystems import Subsystem, describe_subsystem, find_subsystems, subsystems_table
from tests.conftest import FIXTURES
from tests.tui.conftest import Pilots, drive, press, screen_text
from tests.tui.test_terminal import ROOT


def audited(snapshot: Snapshot) -> AuditReport:
    return run_audit(snapshot, load_plugins().plugins)


def by_name(snapshot: Snapshot) -> dict[str, Subsystem]:
    return {found.name: found for found in find_subsystems(snapshot, audited(snapshot))}


def row(snapshot: Snapshot, name: str) -> dict[str, str]:
    table = subsystems_table(snapshot, audited(snapshot))
    number = next(at for at, found in enumerate(table.records) if found.name == name)
    return {column.name: cell.text for column, cell in zip(table.columns, table.cells(number), strict=True)}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    """The fixtures with what the plugins say of them."""
    found = {}
    for name, path in FIXTURES.items():
        out = tmp_path_factory.mktemp("reported") / f"{name}.json"
        command = [sys.executable, "-m", "explorer", "snapshot", str(path), "-o", str(out)]
        # 4: some values could not be read
        assert subprocess.run(command, cwd=ROOT, check=False).returncode in (0, 4)
        found[name] = load_snapshot(out)
    return found


@pytest.fixture
def isolated(reported: dict[str, Snapshot]) -> Snapshot:
    return reported["isolated"].model_copy(deep=True)


def test_every_plugin_has_a_row_on_every_generation(reported: dict[str, Snapshot]) -> None:
    names = {plugin.name for plugin in load_plugins().plugins}
    for snapshot in reported.values():
        assert {found.name for found in find_subsystems(snapshot, None)} == names


def test_the_query_of_a_subsystem_finds_exactly_the_tasks_it_speaks_for(
    reported: dict[str, Snapshot],
) -> None:
    some = 0
    for snapshot in reported.values():
        for subsystem in find_subsystems(snapshot, None):
            if subsystem.query:
                matches = compile_query(subsystem.query, snapshot)
                found = {task.address for task in snapshot.tasks if matches(task)}
                assert found == {task.address for task in subsystem.tasks}, subsystem.query
                some += len(found)
            else:
                assert not subsystem.tasks
    assert some > 5


def test_what_is_not_loaded_is_never_called_fine(isolated: Snapshot) -> None:
    found = row(isolated, "ksmbd")
    assert found["state"] == "not loaded"
    assert not any(found[name] for name in ("tasks", "seen", "expected", "findings"))
    text = " ".join(fact.value for fact in describe_subsystem(by_name(isolated)["ksmbd"], isolated).facts)
    assert "not the same as fine" in text and " ok" not in text


def test_a_loaded_plugin_says_what_it_expects_and_what_was_seen(isolated: Snapshot) -> None:
    found = row(isolated, "devtmpfs")
    assert (found["state"], found["tasks"], found["seen"]) == ("active", "1", "1 private")
    assert found["expected"] == "private in ns-root" and found["findings"] == "none"
    assert row(isolated, "ima")["state"] == "built in"


def test_a_borrower_makes_its_subsystem_the_first_row(isolated: Snapshot) -> None:
    first = subsystems_table(isolated, audited(isolated)).records[0]
    assert (first.name, first.state) == ("coredump", "borrowing now")


def test_a_user_task_that_borrows_for_a_subsystem_is_counted_and_can_be_gone_to(isolated: Snapshot) -> None:
    borrower = next(task for task in isolated.tasks if task.borrowing)
    found = row(isolated, "coredump")
    assert (found["tasks"], found["seen"]) == ("1", "1 borrowing")
    coredump = by_name(isolated)["coredump"]
    matches = compile_query(coredump.query, isolated)
    assert [task for task in isolated.tasks if matches(task)] == [borrower]
    links = [fact.target.address for fact in describe_subsystem(coredump, isolated).facts if fact.target]
    assert links.count(borrower.address) == 2, "by its finding, and among the tasks"


def test_where_nobody_borrows_no_subsystem_says_so(isolated: Snapshot) -> None:
    for task in isolated.tasks:
        if task.borrowing:
            task.borrowing, task.fs = False, task.real_fs
    assert by_name(isolated)["coredump"].state == "built in"
    words = "built in: part of this kernel; others do its work, it speaks for no task"
    assert _state_of("coredump", isolated) == words


def _state_of(name: str, snapshot: Snapshot) -> str:
    detail = describe_subsystem(by_name(snapshot)[name], snapshot)
    return next(fact.value for fact in detail.facts if fact.name == "state")


def test_that_nothing_runs_is_not_said_where_only_its_kernel_threads_are_known(isolated: Snapshot) -> None:
    """``init`` speaks for ``kernel_init()``, which has become PID 1: that runs."""
    assert (
        _state_of("init", isolated)
        == "built in: part of this kernel; no task that it speaks for is there now"
    )


def test_a_task_that_is_not_where_it_belongs_is_said_to_be_misplaced(isolated: Snapshot) -> None:
    task = next(task for task in isolated.tasks if task.comm == "kdevtmpfs")
    task.owner = Owner.INIT_FS
    assert row(isolated, "devtmpfs")["seen"] == "1 MISPLACED: 1 init_fs"


def test_facts_that_could_not_be_read_are_a_fault_with_its_reason(isolated: Snapshot) -> None:
    isolated.plugins["devtmpfs"] = {"state": "failed"}
    isolated.errors.append(CaptureError(where="plugin devtmpfs", what="collect", why="page \x1b[31mgone"))
    found = row(isolated, "devtmpfs")
    assert (found["state"], found["seen"], found["findings"]) == ("fault", "not known", "not known")
    facts = describe_subsystem(by_name(isolated)["devtmpfs"], isolated).facts
    assert any(fact.name == "why" and "page \\e[31mgone" in fact.value for fact in facts)


def test_an_audit_that_raises_is_a_fault_too(isolated: Snapshot) -> None:
    isolated.plugins["devtmpfs"] = {"state": "loaded", "requests": "no list"}
    assert by_name(isolated)["devtmpfs"].state == "fault"


def test_a_rule_of_our_own_is_no_finding_of_a_plugin_that_is_called_alike(isolated: Snapshot) -> None:
    report = audited(isolated)
    report.findings[0].rule = "NX-INIT-FS-OFF-NULLFS"
    init = next(found for found in find_subsystems(isolated, report) if found.name == "init")
    assert not init.findings


def test_facts_are_nested_named_and_lead_somewhere(isolated: Snapshot) -> None:
    detail = describe_subsystem(by_name(isolated)["umh"], isolated)
    workers = [fact for fact in detail.facts if fact.name.strip() == "worker"]
    assert workers and workers[0].name.startswith("    ")
    assert workers[0].target is not None and workers[0].target.kind == "task"
    mount = next(
        f for f in describe_subsystem(by_name(isolated)["devtmpfs"], isolated).facts if f.name == "mount"
    )
    assert mount.target is not None and mount.value.startswith("devtmpfs#")


def test_facts_of_any_shape_and_size_are_shown_escaped_and_bounded(isolated: Snapshot) -> None:
    deep: list[object] = []
    for _ in range(50):
        deep = [deep, "\x1b[31m"]
    path = {"mount": "x", "dentry": 7, "path": [], "fstype": None, "placement": "nowhere"}
    isolated.plugins["devtmpfs"] = {
        "state": "loaded", "deep": deep, "path": path, "many": list(range(100_000)), "\x1b[2J": {"name": "\u202e"},
    }  # fmt: skip
    facts = describe_subsystem(by_name(isolated)["devtmpfs"], isolated).facts
    assert len(facts) < 3000 + MAX_LINKS
    assert all((fact.name + fact.value).isprintable() for fact in facts)
    assert any("not of the shape" in fact.value for fact in facts)
    isolated.plugins["devtmpfs"] = ["no object"]  # type: ignore[assignment]
    assert by_name(isolated)["devtmpfs"].state == "not captured"


def test_keys_lead_to_its_tasks_and_to_its_findings(isolated: Snapshot) -> None:
    app = ExplorerApp(snapshot=isolated)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "s")
        assert isinstance(app.screen, SubsystemsScreen)
        assert app.screen.subsystem() is not None
        await press(pilot, "N")
        assert isinstance(app.screen, FindingsScreen)
        source = app.screen.source()
        assert source.records[app.screen.table.row].first.rule == "NX-COREDUMP-BORROWER"
        await press(pilot, "s", "a")
        assert isinstance(app.screen, TasksScreen) and app.screen.tasks is not None
        assert app.screen.tasks.matching == 1, "the user task that dumps core"
        await press(pilot, "s")
        assert isinstance(app.screen, SubsystemsScreen)
        rows = [each.name for each in app.screen.source().records]
        app.screen.table.changed(rows.index("firmware"))
        await press(pilot, "a")
        assert any("no task" in note.message for note in app._notifications)
        app.screen.table.changed(rows.index("umh"))
        found = app.screen.subsystem()
        await press(pilot, "a")
        assert found is not None
        assert isinstance(app.screen, TasksScreen) and app.screen.tasks is not None
        assert app.screen.tasks.matching == len(found.tasks) == 2
        assert "call_usermodehelper" in app.screen.query_one("#filter", Input).value

    drive(app, steps)


def test_evidence_that_names_a_plugin_leads_to_its_row(isolated: Snapshot) -> None:
    from explorer.model import Reference

    app = ExplorerApp(snapshot=isolated)

    async def steps(pilot: Pilots) -> None:
        app.go_to(Reference(kind="plugin", address=None, label="umh"))
        await press(pilot)
        assert isinstance(app.screen, SubsystemsScreen)
        found = app.screen.subsystem()
        assert found is not None and found.name == "umh" and "usermodehelpers" in screen_text(app)

    drive(app, steps)
