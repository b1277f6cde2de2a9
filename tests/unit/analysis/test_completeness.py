"""A snapshot from which tasks are missing: it says so everywhere, and accuses nobody of what the missing ones did."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.analysis.completeness import incompleteness, lost_tasks, task_count
from explorer.analysis.redact.snapshots import redact_snapshot
from explorer.analysis.verdicts import VerdictKind, verdict
from explorer.analysis.worlds import WorldKey, find_worlds
from explorer.codec.snapshots import write_json
from explorer.model import CaptureError, Owner, Snapshot, TaskKind
from explorer.tui.views.overview import header_line
from tests.conftest import Run
from tests.unit.audit_states import find

FILTERED = "makedumpfile left pages out (dump level 31); dump with -d 23 next time"
BROKEN = CaptureError(where="tasks", what="list", why="tasks.next of task 9 (0x10) is not there")


@pytest.fixture
def isolated(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return Snapshot.model_validate(fixture_snapshots["isolated"].model_dump())


@pytest.fixture
def cut(isolated: Snapshot) -> Snapshot:
    """Most tasks that hold init_fs are missing, as in a dump that has lost the list behind the first few."""
    holders = [task.address for task in isolated.tasks if task.owned_fs == isolated.kernel.init_fs]
    gone = set(holders[2:])
    isolated.tasks = [task for task in isolated.tasks if task.address not in gone]
    for fs in isolated.fs_structs:
        if fs.address == isolated.kernel.init_fs:
            fs.sharers = 2
    return isolated


def save(snapshot: Snapshot, path: Path) -> Path:
    with path.open("wb") as out:
        write_json(snapshot, out)
    return path


def test_a_whole_snapshot_says_nothing_of_missing_tasks(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        assert lost_tasks(snapshot) is None
        assert incompleteness(snapshot) is None
        assert task_count(snapshot) == f"{len(snapshot.tasks)} tasks"
        assert "as far as was read" not in verdict(snapshot).headline


def test_a_count_of_users_with_a_broken_list_tells_that_tasks_are_missing(cut: Snapshot) -> None:
    """As in a snapshot that an older version saved: nothing but the count and the errors tell."""
    users = next(fs.users for fs in cut.fs_structs if fs.address == cut.kernel.init_fs)
    assert users is not None
    assert users > 10
    cut.errors = [BROKEN]
    why = lost_tasks(cut)
    assert why == (
        f"init_fs counts {users} users, and 2 of them were found; "
        "tasks: list: tasks.next of task 9 (0x10) is not there"
    )
    judged = verdict(cut)
    assert judged.headline == "ISOLATED, as far as was read"
    assert f"At least {len(cut.tasks)} tasks: {why}." in judged.sentence
    assert f"at least {len(cut.tasks)} tasks in" in header_line(cut)


def test_a_list_that_is_broken_costs_nothing_where_every_user_is_found(isolated: Snapshot) -> None:
    """The table of pids had them all."""
    isolated.errors = [BROKEN]
    assert lost_tasks(isolated) is None
    assert verdict(isolated).headline == "ISOLATED"


@pytest.mark.parametrize("excess", [1, 2, 40])
def test_a_surplus_of_references_is_no_leak_where_tasks_are_missing(isolated: Snapshot, excess: int) -> None:
    fs = next(fs for fs in isolated.fs_structs if fs.address == isolated.kernel.init_fs)
    assert fs.users is not None
    fs.users += excess
    assert len(find(isolated, "NX-FS-USERS-EXTRA")) == 1
    assert find(isolated, "NX-TASKS-MISSING") == []
    isolated.capture.lost_tasks = "the table of pids is not all there"
    assert find(isolated, "NX-FS-USERS-EXTRA") == []
    [finding] = find(isolated, "NX-TASKS-MISSING")
    assert f"at least {len(isolated.tasks)} tasks" in finding.title


def test_a_surplus_that_tasks_of_unknown_owner_account_for_is_neither_leak_nor_loss(
    isolated: Snapshot,
) -> None:
    init_fs = isolated.kernel.init_fs
    holders = [task for task in isolated.tasks if task.owned_fs == init_fs][:5]
    for task in holders:
        task.__dict__.update(owner=None, real_fs=None)
        isolated.errors.append(CaptureError(where=f"task {task.pid}", what="real_fs", why="not in the dump"))
    for fs in isolated.fs_structs:
        if fs.address == init_fs:
            fs.sharers -= len(holders)
    isolated.capture.missing_memory = FILTERED
    assert lost_tasks(isolated) is None
    assert all(finding.severity == "info" for finding in find(isolated, "NX-FS-USERS-EXTRA"))
    assert "Of 5 tasks only a part is there." in verdict(isolated).sentence


def test_more_holders_than_users_stay_a_finding_where_tasks_are_missing(isolated: Snapshot) -> None:
    """Tasks that are missing can only make it worse."""
    fs = next(fs for fs in isolated.fs_structs if fs.address == isolated.kernel.init_fs)
    fs.users = 3
    isolated.capture.lost_tasks = "the table of pids is not all there"
    [finding] = find(isolated, "NX-FS-USERS-MISSING")
    assert finding.severity == "high"


def test_a_task_that_the_table_of_pids_names_and_nothing_is_there_of_is_missing(isolated: Snapshot) -> None:
    isolated.errors = [CaptureError(where="task 7 (0x10)", what="task_struct", why="not in the dump")]
    assert task_count(isolated).startswith("at least ")


def test_a_breach_stays_a_breach_where_tasks_are_missing(isolated: Snapshot) -> None:
    kthread = next(task for task in isolated.tasks if task.pid == 2)
    kthread.real_fs = kthread.fs = isolated.kernel.userspace_init_fs
    assert kthread.kind is TaskKind.KTHREAD
    isolated.capture.lost_tasks = "a list ends early"
    judged = verdict(isolated)
    assert judged.kind is VerdictKind.BREACHED
    assert judged.headline == "NOT ISOLATED"
    assert "a list ends early" in judged.sentence


def test_the_verdict_names_the_filter_and_what_it_cost(isolated: Snapshot) -> None:
    isolated.capture.missing_memory = FILTERED
    assert "dump level" not in verdict(isolated).sentence, "nothing that matters is missing"
    isolated.errors = [CaptureError(where="task 7 (0x10)", what="comm", why="not in the dump")]
    isolated.tasks[5].__dict__["comm"] = None
    isolated.mounts[0].__dict__["id"] = None
    sentence = verdict(isolated).sentence
    assert "Makedumpfile left pages out (dump level 31); dump with -d 23 next time." in sentence
    assert "Of 1 task and 1 mount only a part is there." in sentence


def test_tasks_audit_and_snapshot_say_at_least_and_end_with_4(
    run: Run, cut: Snapshot, tmp_path: Path
) -> None:
    cut.errors = [BROKEN]
    cut.capture.missing_memory = FILTERED
    path = save(cut, tmp_path / "cut.json")
    for command in (["tasks"], ["audit", "--fail-on", "critical"], ["snapshot", "-o", "again.json"]):
        result = run(*command, path)
        assert result.returncode == 4, result.stderr
        assert (
            f"tasks are missing, there are at least {len(cut.tasks)} tasks: init_fs counts " in result.stderr
        )
        if command[0] != "snapshot":
            text = " ".join(result.stdout.split())
            assert f"at least {len(cut.tasks)} tasks" in text
            assert "-d 23" in text
            assert "ISOLATED, as far as was read" in text
    assert "NX-TASKS-MISSING" in run("audit", path).stdout


def test_tasks_that_are_missing_are_code_4_without_any_error(
    run: Run, isolated: Snapshot, tmp_path: Path
) -> None:
    isolated.errors = []
    isolated.capture.lost_tasks = "a list ends early"
    path = save(isolated, tmp_path / "lost.json")
    for command in (["tasks"], ["audit", "--only", "NX-TASKS-MISSING"], ["snapshot", "-o", "again.json"]):
        assert run(*command, path).returncode == 4


def test_redaction_keeps_lost_tasks_and_no_name_in_it(isolated: Snapshot) -> None:
    isolated.capture.lost_tasks = "a list of tasks ends early at secretcomm"
    isolated.capture.missing_memory = FILTERED
    redacted = redact_snapshot(isolated)
    assert redacted.capture.lost_tasks is not None
    assert "secretcomm" not in redacted.capture.lost_tasks
    assert redacted.capture.missing_memory is not None
    assert task_count(redacted).startswith("at least ")


def test_a_leak_is_not_taken_for_missing_tasks_because_of_something_else_unread(isolated: Snapshot) -> None:
    fs = next(fs for fs in isolated.fs_structs if fs.address == isolated.kernel.init_fs)
    assert fs.users is not None
    fs.users += 40
    isolated.errors = [CaptureError(where="log", what="text", why="not in the dump")]
    assert lost_tasks(isolated) is None
    assert len(find(isolated, "NX-FS-USERS-EXTRA")) == 1


def test_who_has_exited_and_of_whom_nobody_knows_live_in_different_worlds(isolated: Snapshot) -> None:
    """None of both owns anything, as far as the snapshot says."""
    gone, unknown = (task for task in isolated.tasks if task.kthread is not None and task.pid in (2, 3))
    gone.__dict__.update(owner=Owner.NONE, fs=None, real_fs=None)
    unknown.__dict__.update(owner=None, real_fs=None)
    for order in (isolated.tasks, isolated.tasks[::-1]):
        worlds = find_worlds(isolated.model_copy(update={"tasks": order})).worlds
        assert gone in worlds[WorldKey.EXITED].tasks
        assert worlds[WorldKey.UNKNOWN].tasks == [unknown]


def test_what_a_task_borrows_is_not_taken_for_what_it_owns(isolated: Snapshot) -> None:
    """Of a kernel thread that borrows, fs is init's: where real_fs is not in the dump, nobody knows what it owns."""
    task = next(task for task in isolated.tasks if task.kthread is not None)
    task.__dict__.update(owner=None, real_fs=None, fs=isolated.kernel.userspace_init_fs)
    assert task.owned_fs is None
    assert verdict(isolated).headline == "ISOLATED"
