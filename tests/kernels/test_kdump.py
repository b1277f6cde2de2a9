"""Real kdumps: a kernel dies, makedumpfile in its crash kernel writes the dump, and the guest said what was there.

Four dumps of each death. Level 23 leaves the pages of users in, and so whatever makedumpfile takes for one: it is
whole, and the measure of the others. Level 31 is Debian's default; which pages of the kernel it costs depends on how
well makedumpfile knows the kernel: bookworm's (1.7.2) knows neither of these two.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.pid import find_task

from explorer.analysis.audit import run_audit
from explorer.analysis.completeness import incompleteness
from explorer.model import Finding, Snapshot, Task, TaskKind
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import Run
from tests.holes import differences
from tests.kernels.compare import disagreements, facts
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab.kdump import Crash, DumpOrder, crash
from tests.kernels.test_capture import capture
from tests.truth import differences as untrue
from tests.truth import truth_of

pytestmark = pytest.mark.kernel

LINES = ("7.3", "6.12")
ORDERS = (
    DumpOrder("default", "sid", ("-F", "-c", "-d", "31")),
    DumpOrder("level-23", "sid", ("-F", "-c", "-d", "23")),
    DumpOrder("elf", "sid", ("-F", "-E", "-d", "31")),
    DumpOrder("old", "bookworm", ("-F", "-c", "-d", "31")),
)
FILTERED = ("default", "elf", "old")
#: Those that lack nothing: level 23 always, level 31 where makedumpfile knows the kernel.
WHOLE = {"7.3": ("level-23",), "6.12": ("level-23", "default", "elf")}
REMEDY = "-d 23"
ABOUT_THE_READING = ("NX-TASKS-MISSING", "NX-UNREADABLE")


@dataclass(frozen=True)
class Death:
    """One kernel's death, and what its dumps show."""

    line: str
    crash: Crash
    captured: dict[str, Snapshot]

    @property
    def whole(self) -> Snapshot:
        return self.captured["level-23"]


@pytest.fixture(scope="module", params=LINES)
def death(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Death]:
    directory = tmp_path_factory.mktemp(f"kdump-{request.param}-")
    made = crash(kernel_or_skip(request.param), "lively", ORDERS, directory)
    yield Death(request.param, made, {name: capture(str(path)) for name, path in made.dumps.items()})
    for path in made.dumps.values():
        path.unlink()


def test_every_task_of_a_dump_that_is_whole_is_as_the_guest_said_before_it_died(death: Death) -> None:
    assert len(death.crash.oracle.tasks) > 100
    for name in WHOLE[death.line]:
        assert disagreements(death.captured[name], death.crash.oracle, death.crash.oracle) == [], name


def test_a_dump_that_is_whole_is_not_said_to_lack_anything(death: Death) -> None:
    assert death.whole.capture.missing_memory is None
    for name in WHOLE[death.line]:
        assert death.captured[name].capture.lost_tasks is None, name
        assert incompleteness(death.captured[name]) is None, name


def test_a_dump_is_of_the_moment_that_the_kernel_wrote_down_when_it_crashed(death: Death) -> None:
    """``CRASHTIME``, in whole seconds; between that and the dump's own memory nothing runs any more."""
    for name, path in death.crash.dumps.items():
        with open_kernel(detect_target(str(path))) as kernel:
            crash_time = kernel.program.vmcoreinfo.crash_time
        stopped = death.captured[name].capture.kernel_time
        assert crash_time is not None, name
        assert stopped is not None, name
        assert 0 <= datetime.fromisoformat(stopped).timestamp() - crash_time < 1, name


@pytest.mark.parametrize("name", FILTERED)
def test_what_level_31_leaves_is_as_the_guest_said(death: Death, name: str) -> None:
    snapshot = death.captured[name]
    there = {task.pid for task in snapshot.tasks}
    truth = [task for task in truth_of(death.crash.oracle) if task.tid in there]
    told = {task.tid for task in truth}
    newborn = [task for task in snapshot.tasks if task.pid not in told and task.kind is not TaskKind.IDLE]
    assert [task.comm for task in newborn if not _is_worker(task)] == []
    known = snapshot.model_copy(update={"tasks": [task for task in snapshot.tasks if task not in newborn]})
    assert len(truth) > 50
    assert untrue(known, truth) == []


def _is_worker(task: Task) -> bool:
    """One may have been born since the guest listed its tasks."""
    return task.kind is TaskKind.KWORKER or (task.comm or "").startswith("kworker/")


@pytest.mark.parametrize("name", FILTERED)
def test_level_31_makes_values_missing_never_different(death: Death, name: str) -> None:
    assert differences(death.whole, death.captured[name]) == []


@pytest.mark.parametrize("name", FILTERED)
def test_no_task_is_missing_that_the_table_of_pids_or_a_task_that_is_there_leads_to(
    death: Death, name: str
) -> None:
    found = {task.address for task in death.captured[name].tasks}
    missing = [task for task in death.whole.tasks if task.address not in found]
    with open_kernel(detect_target(str(death.crash.dumps[name]))) as kernel:
        assert [task.pid for task in missing if _is_in_table(kernel.prog, task)] == []
        led_to = {at for address in found for at in _neighbours(kernel.prog, address)}
        assert [task.pid for task in missing if task.address in led_to and _has_pid(kernel.prog, task)] == []
    if missing:
        assert death.captured[name].capture.lost_tasks is not None


def test_the_ways_to_a_task_lead_to_every_task_of_a_whole_dump(death: Death) -> None:
    """The check above can fail."""
    tasks = {task.address: task for task in death.whole.tasks if task.kind is not TaskKind.IDLE}
    leaders = {address for address, task in tasks.items() if task.pid == task.tgid}
    with open_kernel(detect_target(str(death.crash.dumps["level-23"]))) as kernel:
        assert all(_is_in_table(kernel.prog, task) and _has_pid(kernel.prog, task) for task in tasks.values())
        assert leaders <= {at for address in leaders for at in _neighbours(kernel.prog, address)}


def _is_in_table(prog: drgn.Program, task: Task) -> bool:
    """By drgn's own walk of the table of pids: whether it leads to the task, and its pid is there."""
    try:
        return find_task(prog, task.pid).value_() == task.address and _has_pid(prog, task)
    except drgn.FaultError:
        return False


def _has_pid(prog: drgn.Program, task: Task) -> bool:
    try:
        pid = drgn.Object(prog, "struct task_struct", address=task.address).pid.value_()
    except drgn.FaultError:
        return False
    assert pid == task.pid
    return True


def _neighbours(prog: drgn.Program, address: int) -> Iterator[int]:
    """Those next to a process in the list of tasks; a thread that leads none is in no such list."""
    task = drgn.Object(prog, "struct task_struct", address=address)
    try:
        leads = task.pid.value_() == task.tgid.value_()
        nodes = [task.tasks.next.value_(), task.tasks.prev.value_()] if leads else []
    except drgn.FaultError:
        return
    offset = drgn.offsetof(prog.type("struct task_struct"), "tasks")
    yield from (node - offset for node in nodes)


@pytest.mark.parametrize("name", FILTERED)
def test_what_is_missing_of_a_task_or_a_mount_has_an_error_of_its_own(death: Death, name: str) -> None:
    snapshot = death.captured[name]
    places = "\n".join(error.where for error in snapshot.errors)
    for task in snapshot.tasks:
        if None in (task.comm, task.tgid, task.ppid, task.flags, task.state, task.start_time, task.borrowing):
            assert f"0x{task.address:x}" in places, task
    for mount in snapshot.mounts:
        if None in (mount.id, mount.fstype, mount.magic):
            holders = [address for address in (mount.address, mount.superblock) if address is not None]
            assert any(f"0x{address:x}" in places for address in holders), mount


def test_a_makedumpfile_older_than_the_kernel_is_found_out(death: Death) -> None:
    """bookworm's makedumpfile knows neither kernel: there are holes for certain, and the filter is named."""
    snapshot = death.captured["old"]
    said = incompleteness(snapshot)
    assert snapshot.errors
    assert said is not None
    assert "level 31" in said
    assert REMEDY in said
    if len(snapshot.tasks) < len(death.whole.tasks):
        assert snapshot.capture.lost_tasks is not None
        assert f"At least {len(snapshot.tasks)} tasks" in said


@pytest.mark.parametrize("name", FILTERED)
def test_the_audit_finds_nothing_in_a_filtered_dump_that_is_not_in_the_whole_one(
    death: Death, name: str
) -> None:
    """What is missing may hide a finding; taken for a value it would make one."""
    true = run_audit(death.whole).findings
    assert true
    invented = [
        finding.title
        for finding in run_audit(death.captured[name]).findings
        if finding.rule not in ABOUT_THE_READING
        and not any(finding.rule == other.rule and _objects(finding) <= _objects(other) for other in true)
    ]
    assert invented == []


def _objects(finding: Finding) -> set[tuple[str, int | None]]:
    return {(reference.kind, reference.address) for reference in finding.evidence}


@pytest.mark.parametrize("command", ["tasks", "audit"])
def test_verdict_tasks_and_audit_name_the_filter_and_what_to_do(death: Death, run: Run, command: str) -> None:
    holed = run(command, death.crash.dumps["old"])
    assert REMEDY in " ".join(holed.stdout.split()), holed.stdout
    assert "values could not be read" in holed.stderr
    whole = run(command, death.crash.dumps["level-23"])
    assert REMEDY not in whole.stdout
    assert whole.stderr == ""
    if command == "tasks":
        assert (holed.returncode, whole.returncode) == (4, 0)


def test_the_note_of_an_elf_dump_says_how_much_was_left_out(death: Death) -> None:
    assert any("left" in note and "out of this dump" in note for note in death.captured["elf"].capture.notes)


def test_a_flattened_kdump_is_read_as_the_one_that_makedumpfile_puts_together(
    death: Death, tmp_path: Path
) -> None:
    for name in ("default", "elf"):
        with death.crash.dumps[name].open("rb") as flattened:
            subprocess.run(
                ["makedumpfile", "-R", tmp_path / name], stdin=flattened, check=True, capture_output=True
            )
        assert facts(capture(str(tmp_path / name))) == facts(death.captured[name])
        (tmp_path / name).unlink()
