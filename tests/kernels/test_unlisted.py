"""Tasks that only the list of tasks or only the table of pids has: taken out of the other in a real, stopped kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn
import pytest

from explorer.analysis.audit import run_audit
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import OnlyIn, Snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.lab import Guest, GuestOptions
from tests.kernels.poked_guest import Poked, above_info, boot_poked
from tests.kernels.subsystems import run_steps

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["7.3", "6.1"])
def poked(request: pytest.FixtureRequest) -> Iterator[Poked]:
    with boot_poked(request.param, "lively") as guest:
        yield guest


def unlinked(poked: Poked, node: int) -> list[tuple[int, bytes]]:
    """What takes a ``struct list_head`` out of its list, as code that hides something does."""
    after, before = poked.words(node, 2)
    return [(after + 8, struct.pack("<Q", before)), (before, struct.pack("<Q", after))]


def unlisted_in(poked: Poked, *changes: tuple[int, bytes]) -> dict[str, OnlyIn]:
    with poked.changed(*changes) as findings:
        snapshot = poked.capture()
        found = {task.comm or "?": task.only_in for task in snapshot.tasks if task.only_in is not None}
        named = [finding.title.split(" (")[0] for finding in findings if finding.rule == "NX-TASK-UNLISTED"]
        assert sorted(named) == sorted(found)
        assert {(task.pid, task.real_fs) for task in snapshot.tasks} == {
            (task.pid, task.real_fs) for task in poked.healthy.tasks
        }
        others = {finding.rule for finding in findings} - {"NX-TASK-UNLISTED"}
        assert others <= {finding.rule for finding in above_info(poked.healthy)}
    return found


def test_every_task_is_in_the_list_and_in_the_table_of_pids_before(poked: Poked) -> None:
    assert poked.healthy.capture.pids_checked is True
    assert [task for task in poked.healthy.tasks if task.only_in is not None] == []


def test_a_process_taken_out_of_the_list_of_tasks_is_captured_all_the_same(poked: Poked) -> None:
    hidden = poked.task("plain-a").address + poked.offset("task_struct", "tasks")
    assert unlisted_in(poked, *unlinked(poked, hidden)) == {"plain-a": OnlyIn.PID_TABLE}


def test_a_thread_taken_out_of_its_group_is_captured_all_the_same(poked: Poked) -> None:
    thread = next(task for task in poked.healthy.tasks if task.pid != task.tgid)
    node = thread.address + poked.offset("task_struct", "thread_node")
    assert unlisted_in(poked, *unlinked(poked, node)) == {thread.comm: OnlyIn.PID_TABLE}


def test_the_threads_of_a_hidden_process_are_hidden_with_it(poked: Poked) -> None:
    thread = next(task for task in poked.healthy.tasks if task.pid != task.tgid)
    members = [task for task in poked.healthy.tasks if task.tgid == thread.tgid]
    leader = next(task for task in members if task.pid == task.tgid)
    node = leader.address + poked.offset("task_struct", "tasks")
    assert unlisted_in(poked, *unlinked(poked, node)) == {task.comm: OnlyIn.PID_TABLE for task in members}


def test_a_kernel_thread_without_an_entry_in_the_table_of_pids_is_found(poked: Poked) -> None:
    thread = poked.task("kcompactd0")
    [pid] = poked.words(thread.address + poked.offset("task_struct", "thread_pid"))
    node, slot = slot_of(poked, pid)
    count = node + poked.offset("xa_node", "count")
    [entries] = poked.kernel.prog.read(count, 1)
    removed = ((slot, bytes(8)), (count, bytes([entries - 1])))
    assert unlisted_in(poked, *removed) == {"kcompactd0": OnlyIn.TASK_LIST}


def slot_of(poked: Poked, pid: int) -> tuple[int, int]:
    """The node of the table of pids that has an entry, and where it stands."""
    prog = poked.kernel.prog
    slots, count = poked.offset("xa_node", "slots"), 64
    nodes = [prog["init_pid_ns"].idr.idr_rt.xa_head.value_()]
    while nodes:
        at = nodes.pop() - 2 + slots
        for index, entry in enumerate(poked.words(at, count)):
            if entry == pid:
                return at - slots, at + 8 * index
            if entry & 3 == 2 and entry > 4096:
                nodes.append(entry)
    raise AssertionError(f"0x{pid:x} is not in the table of pids")


@pytest.mark.parametrize("lost", ["all of a node", "a few of its entries"])
def test_a_table_of_pids_that_is_not_all_there_is_said_and_accuses_nobody(poked: Poked, lost: str) -> None:
    root = poked.kernel.prog["init_pid_ns"].idr.idr_rt.xa_head.value_() - 2
    [first] = poked.words(root + poked.offset("xa_node", "slots"))
    for node in {root, first - 2 if first & 3 == 2 else root}:
        size = drgn.sizeof(poked.kernel.prog.type("struct xa_node"))
        at, zeros = (node, size) if lost == "all of a node" else (node + poked.offset("xa_node", "slots"), 32)
        with poked.changed((at, bytes(zeros))) as findings:
            snapshot = poked.capture()
        assert "NX-TASK-UNLISTED" not in {finding.rule for finding in findings}
        assert snapshot.errors == poked.healthy.errors
        assert snapshot.capture.pids_checked is False
        assert [entry.rule for entry in run_audit(snapshot).not_judged] == ["NX-TASK-UNLISTED"]


def capture(target: str) -> Snapshot:
    with open_kernel(detect_target(target)) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


def test_in_a_storm_of_forks_on_a_running_kernel_the_hidden_one_alone_is_found() -> None:
    with Guest.boot("7.3", "shell", GuestOptions(memory_file=True)) as guest:
        run_steps(guest, "sleep 99999 & echo $! >/tmp/hidden")
        hidden = int(run_steps(guest, "cat /tmp/hidden"))
        run_steps(guest, *["while :; do (/bin/true); done >/dev/null 2>&1 &"] * 2)
        guest.stop()
        with open_kernel(detect_target(f"physmem:{guest.memory_path}")) as kernel:
            poked = Poked(kernel, guest.memory_path)
            task = next(task for task in poked.healthy.tasks if task.pid == hidden)
            node = task.address + poked.offset("task_struct", "tasks")
            with poked.changed(*unlinked(poked, node)):
                guest.cont()
                seen = [capture(f"qemu:{guest.qmp_socket}") for _ in range(20)]
                guest.stop()
        assert {snapshot.capture.consistent for snapshot in seen} == {False}
        found = [
            (snapshot.capture.pids_checked, {task.pid for task in snapshot.tasks if task.only_in is not None})
            for snapshot in seen
        ]
        # A table that changed under each of several looks says that it was not seen whole: a miss then is said.
        assert [
            each for each in found if each not in ((True, {hidden}), (False, {hidden}), (False, set()))
        ] == []
        assert found.count((True, {hidden})) >= 15
        assert len({task.pid for snapshot in seen for task in snapshot.tasks}) > len(seen[0].tasks) + 5
