"""A real dump in which tasks are missing: 6.12's kdump (-d 31) by a makedumpfile of two years before (1.7.2).

The lab made it (``tests/kernels/lab/kdump.py``); the guest listed 108 tasks before it died, and of five of them
nothing is in the file. The list of tasks ends at each of them, and the table of pids is not all there: the 16 that are
in neither's reach are found as neighbours of those that the table has.
"""

from __future__ import annotations

from explorer.analysis.audit import run_audit
from explorer.analysis.completeness import task_count
from explorer.analysis.verdicts import VerdictKind, verdict
from explorer.model import TaskKind
from tests.conftest import DATA, Run, capture_file
from tests.kernels.lab import parse_oracle
from tests.truth import differences, truth_of

DUMP = DATA / "linux-6.12-kdump-old.elf.zst"
TRUTH = truth_of(parse_oracle((DATA / "linux-6.12-kdump-old.oracle").read_text("ascii")))
#: kworker/R-ipv6_, chroot-slash, fspair-b, one whose name is no text, kworker/u4:1
LOST = {59, 131, 135, 150, 181}


def test_the_tasks_that_are_there_are_as_the_guest_said_and_only_five_are_not_there() -> None:
    snapshot = capture_file(DUMP)
    assert {task.tid for task in TRUTH} - {task.pid for task in snapshot.tasks} == LOST
    assert differences(snapshot, [task for task in TRUTH if task.tid not in LOST]) == []
    partial = [task for task in snapshot.tasks if None in (task.kind, task.ppid)]
    places = "\n".join(error.where for error in snapshot.errors)
    assert "kswapd0" in {task.comm for task in partial}
    assert [task.pid for task in partial if f"0x{task.address:x}" not in places] == []


def test_the_verdict_on_a_kernel_of_which_tasks_are_missing_is_careful() -> None:
    snapshot = capture_file(DUMP)
    found = verdict(snapshot)
    assert task_count(snapshot) == f"at least {len(snapshot.tasks)} tasks"
    assert found.kind is VerdictKind.SHARED
    assert "as far as was read" in found.headline
    assert f"At least {len(snapshot.tasks)} tasks" in found.sentence


def test_references_that_missing_tasks_hold_are_not_called_leaked() -> None:
    snapshot = capture_file(DUMP)
    short = [fs for fs in snapshot.fs_structs if fs.users is not None and fs.users > (fs.sharers or 0)]
    assert short, "the missing tasks' references are counted and held by nobody who was found"
    rules = {finding.rule for finding in run_audit(snapshot).findings}
    assert "NX-TASKS-MISSING" in rules
    assert rules & {"NX-FS-USERS-EXTRA", "NX-FS-USERS-MISSING"} == set()


def test_tasks_says_at_least_and_exits_with_4(run: Run) -> None:
    done = run("tasks", DUMP)
    assert done.returncode == 4
    idle = sum(task.kind is TaskKind.IDLE for task in capture_file(DUMP).tasks)
    assert f"at least {len(TRUTH) - len(LOST) + idle} tasks" in done.stdout
