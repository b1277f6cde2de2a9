"""Rules for states that no call from userspace can make: made in the memory of a real, stopped kernel.

The guest's memory is a file; a few bytes of it are changed while the guest is stopped, the kernel is captured over QMP
like any other, and the bytes are put back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from drgn.helpers.linux.list import list_for_each_entry

from explorer.analysis.audit import run_audit
from explorer.model import Severity, Task, TaskKind
from tests.kernels.poked_guest import Poked, above_info, boot_poked

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def poked() -> Iterator[Poked]:
    with boot_poked("7.3", "healthy") as guest:
        yield guest


def test_the_guest_is_healthy_before_and_after(poked: Poked) -> None:
    assert above_info(poked.healthy) == []
    assert above_info(poked.capture()) == []


def test_a_task_with_somebody_elses_fs_is_a_foreign_override(poked: Poked) -> None:
    victim, other = poked.task("plain-a"), poked.task("plain-b")
    fs = victim.address + poked.offset("task_struct", "fs")
    with poked.changed((fs, struct.pack("<Q", other.owned_fs))) as findings:
        assert {finding.rule for finding in findings} == {"NX-FOREIGN-FS"}
        assert "plain-a" in findings[0].title


def test_a_kernel_thread_that_shares_with_a_user_task_is_found(poked: Poked) -> None:
    thread, user = poked.task("kcompactd0"), poked.task("plain-a")
    data = struct.pack("<Q", user.owned_fs)
    at = (poked.offset("task_struct", "fs"), poked.offset("task_struct", "real_fs"))
    with poked.changed(*((thread.address + offset, data) for offset in at)) as findings:
        rules = {finding.rule for finding in findings}
        assert "NX-KTHREAD-IN-USERSPACE" in rules
        assert "NX-FS-USERS-EXTRA" in rules  # init_fs has lost a holder
        assert "NX-FS-USERS-MISSING" in rules  # the user task's has one too many


def test_a_umask_changed_for_all_kernel_threads_is_found_though_nfsd_is_not_loaded(poked: Poked) -> None:
    umask = (poked.healthy.kernel.init_fs or 0) + poked.offset("fs_struct", "umask")
    with poked.changed((umask, struct.pack("<i", 0o077))) as findings:
        assert [finding.title for finding in findings] == [
            "init_fs has umask 0077, not 0022: it was changed for all kernel threads"
        ]


def test_init_fs_off_the_private_nullfs_is_critical(poked: Poked) -> None:
    snapshot = poked.healthy
    init_root = snapshot.fs_by_address[snapshot.kernel.userspace_init_fs or 0].root
    assert init_root is not None
    vfsmount = init_root.mount + poked.offset("mount", "mnt")
    root = (snapshot.kernel.init_fs or 0) + poked.offset("fs_struct", "root")
    with poked.changed((root, struct.pack("<QQ", vfsmount, init_root.dentry))) as findings:
        worst = findings[0]
        assert (worst.rule, worst.severity) == ("NX-INIT-FS-OFF-NULLFS", Severity.CRITICAL)


@pytest.mark.parametrize(("change", "rule"), [(2, "NX-FS-USERS-EXTRA"), (-2, "NX-FS-USERS-MISSING")])
def test_a_wrong_reference_count_is_found_in_both_directions(poked: Poked, change: int, rule: str) -> None:
    snapshot = poked.healthy
    fs = snapshot.fs_by_address[snapshot.kernel.init_fs or 0]
    users = fs.address + poked.offset("fs_struct", "users")
    with poked.changed((users, struct.pack("<i", (fs.users or 0) + change))) as findings:
        assert [finding.rule for finding in findings] == [rule]


def test_an_odd_sequence_count_in_a_stopped_kernel_is_found(poked: Poked) -> None:
    task = poked.task("plain-a")
    fs = poked.healthy.fs_by_address[task.owned_fs or 0]
    seq = fs.address + poked.offset("fs_struct", "seq.seqcount.seqcount.sequence", "seq.seqcount.sequence")
    with poked.changed((seq, struct.pack("<I", (fs.seq or 0) | 1))) as findings:
        assert [finding.rule for finding in findings] == ["NX-FS-SEQ-ODD"]


def test_an_fs_struct_across_mount_and_user_namespaces_is_found(poked: Poked) -> None:
    """The kernel refuses to make either: here one task is given another's fs_struct, then another namespace."""
    one, other, elsewhere = (poked.task(name) for name in ("plain-a", "plain-b", "kdevtmpfs"))
    prog = poked.kernel.prog
    data = struct.pack("<Q", other.owned_fs)
    shared = [(one.address + poked.offset("task_struct", name), data) for name in ("fs", "real_fs")]
    nsproxy = poked.offset("task_struct", "nsproxy")
    foreign = prog.read(elsewhere.address + nsproxy, 8)
    with poked.changed(*shared, (one.address + nsproxy, foreign)) as findings:
        assert "NX-FS-ACROSS-NAMESPACES" in {finding.rule for finding in findings}
        assert "NX-FS-ACROSS-USER-NAMESPACES" not in {finding.rule for finding in findings}
    cred = prog.read_u64(one.address + poked.offset("task_struct", "real_cred"))
    user_ns = (cred + poked.offset("cred", "user_ns"), struct.pack("<Q", cred))
    with poked.changed(*shared, user_ns) as findings:
        assert "NX-FS-ACROSS-USER-NAMESPACES" in {finding.rule for finding in findings}
        assert "NX-FS-ACROSS-NAMESPACES" not in {finding.rule for finding in findings}


def test_a_kernel_thread_with_an_unclaimed_fs_of_its_own_is_found(poked: Poked) -> None:
    """kdevtmpfs has one by design, and its plugin claims it; without plugins the rule must say so."""
    rules = {
        finding.rule
        for finding in run_audit(poked.healthy).findings
        if any("kdevtmpfs" in reference.label for reference in finding.evidence)
    }
    assert rules & {"NX-KTHREAD-OFF-NULLFS", "NX-KTHREAD-OWN-FS"}


def fs_words(poked: Poked, task: Task) -> tuple[int, bytes]:
    """What makes a task borrow."""
    address = task.address + poked.offset("task_struct", "fs")
    return address, struct.pack("<Q", poked.healthy.kernel.userspace_init_fs)


def test_an_idle_worker_that_still_borrows_has_leaked_it_and_the_last_work_is_named(poked: Poked) -> None:
    worker = next(
        task
        for task in poked.healthy.tasks
        if task.kind is TaskKind.KWORKER and task.kthread and task.kthread.last_func and task.state == "I"
    )
    assert worker.kthread is not None and worker.kthread.current_func is None and worker.kthread.last_func
    with poked.changed(fs_words(poked, worker)) as findings:
        [leak] = findings
        assert (leak.rule, leak.severity) == ("NX-BORROWER", Severity.MEDIUM)
        assert worker.kthread.last_func in leak.title
        assert "next" in leak.explanation


def test_an_idle_thread_of_a_kthread_worker_that_still_borrows_has_leaked_it(poked: Poked) -> None:
    with poked.changed(fs_words(poked, poked.task("rcu_exp_gp_kthr"))) as findings:
        assert [(found.rule, found.severity) for found in findings] == [("NX-BORROWER", Severity.MEDIUM)]


def test_a_sleeping_kernel_thread_that_borrows_is_named_with_its_function(poked: Poked) -> None:
    thread = poked.task("kcompactd0")
    with poked.changed(fs_words(poked, thread)) as findings:
        assert findings == []
        [found] = run_audit(poked.capture(), only=["NX-BORROWER"]).findings
    assert found.severity is Severity.INFO
    assert found.title.endswith("borrows userspace_init_fs in kcompactd")


def test_what_a_kthread_worker_runs_and_what_waits_for_it_are_those_of_its_lists(poked: Poked) -> None:
    """Two works that are there anyway, those that release a pool_workqueue, are handed to the thread that does."""
    thread = poked.task("pool_workqueue_")
    assert thread.kthread is not None
    idle = (thread.kthread.current_func, thread.kthread.waiting_works, thread.kthread.delayed_works)
    assert idle == (None, 0, 0)
    [kthread] = poked.words(thread.address + poked.offset("task_struct", "worker_private"))
    [worker] = poked.words(kthread + poked.offset("kthread", "data"))
    running, waiting = works_to_release(poked)[:2]
    node = waiting + poked.offset("kthread_work", "node")
    head = worker + poked.offset("kthread_worker", "work_list")
    delayed = worker + poked.offset("kthread_worker", "delayed_work_list")
    current = worker + poked.offset("kthread_worker", "current_work")
    with poked.changed(
        (head, struct.pack("<QQ", node, node)),
        (node, struct.pack("<QQ", head, head)),
        (current, struct.pack("<Q", running)),
    ):
        found = next(task for task in poked.capture().tasks if task.pid == thread.pid).kthread
        assert found is not None
        assert (found.current_func, found.waiting_works, found.delayed_works) == ("pwq_release_workfn", 1, 0)
    with poked.changed((delayed, struct.pack("<QQ", node, node))):  # leads to what does not lead back
        broken = poked.capture()
    found = next(task for task in broken.tasks if task.pid == thread.pid).kthread
    assert found is not None and found.delayed_works is None
    assert "kthread_worker.delayed_work_list" in {error.what for error in broken.errors}


def works_to_release(poked: Poked) -> list[int]:
    """``pool_workqueue.release_work`` of the unbound workqueues."""
    prog = poked.kernel.prog
    found = []
    for workqueue in list_for_each_entry("struct workqueue_struct", prog["workqueues"].address_of_(), "list"):
        for pwq in list_for_each_entry("struct pool_workqueue", workqueue.pwqs.address_of_(), "pwqs_node"):
            if pwq.release_work.func.value_():
                found.append(int(pwq.release_work.address_of_().value_()))
    return found


def test_the_numa_node_of_a_kernel_thread_is_the_one_it_was_made_for(poked: Poked) -> None:
    thread = poked.task("kcompactd0")
    assert thread.kthread is not None and thread.kthread.numa_node == 0
    anywhere = poked.task("kthreadd")
    assert anywhere.kthread is not None and anywhere.kthread.numa_node is None
