"""Every rule, on small changes of real snapshots: it fires for what it is about, and for nothing else.

The states themselves are made on real kernels in tests/kernels/test_audit.py; here are also those that no real kernel
can be brought to (see there).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from explorer.analysis.audit import run_audit
from explorer.analysis.rules import RULES, find_rule
from explorer.analysis.verdicts import VerdictKind, verdict
from explorer.model import (
    Owner,
    Severity,
    Snapshot,
    StackFrame,
    TaskKind,
    Walk,
)
from explorer.plugin import Plugin, load_plugins
from tests.unit.audit_states import (
    DEVTMPFS,
    abandon,
    find,
    fs_of,
    give_fs,
    init_fs_of,
    named,
    nullfs_of,
    task_of,
)

ISOLATING = ("isolated", "rfc-v1")
#: What the states that the fixtures were captured in are: chroots left open, detached mounts, crossed namespaces.
LIVELY = {
    "NX-BORROWER",
    "NX-KTHREAD-OFF-NULLFS",  # kdevtmpfs, without its plugin
    "NX-NS-EMPTY",
    "NX-PWD-DETACHED",
    "NX-PWD-OUTSIDE-ROOT",
    "NX-ROOT-DETACHED",
    "NX-ROOT-FAILFS",
    "NX-ROOT-OTHER-NAMESPACE",
}


# What must hold for all rules


def test_rule_ids_are_unique_and_say_what_they_are() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.id.startswith("NX-")
        assert rule.title
        assert rule.explanation.endswith(".")
        assert rule.advice
        assert find_rule(rule.id.lower()) is rule


@pytest.mark.parametrize("layout", ["isolated", "nullfs-rootfs", "legacy-6.12", "legacy-6.1"])
def test_only_what_the_scenario_made_is_found_on_real_kernels(
    fixture_snapshots: dict[str, Snapshot], layout: str
) -> None:
    found = {finding.rule for finding in run_audit(fixture_snapshots[layout]).findings}
    expected = LIVELY | (
        {"NX-FS-IN-EXEC"} if layout == "legacy-6.1" else set()
    )  # a helper before exec, on 6.1
    assert found <= expected
    assert {"NX-PWD-OUTSIDE-ROOT", "NX-ROOT-DETACHED", "NX-ROOT-OTHER-NAMESPACE"} <= found


def test_on_rfc_v1_idle_tasks_and_the_bottom_nullfs_are_where_they_belong(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    found = {finding.rule: finding for finding in run_audit(fixture_snapshots["rfc-v1"]).findings}
    assert set(found) <= {"NX-KTHREAD-OFF-NULLFS", "NX-USERSPACE-FS-SHARED"}
    assert "swapper" not in " ".join(finding.title for finding in found.values())


def test_findings_are_about_objects_of_the_snapshot(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        addresses = {
            "task": {task.address for task in snapshot.tasks},
            "fs_struct": set(snapshot.fs_by_address),
            "mount": set(snapshot.mount_by_address),
            "mount_namespace": set(snapshot.namespace_by_address),
        }
        for finding in run_audit(snapshot).findings:
            for reference in finding.evidence:
                assert reference.address in addresses[reference.kind]


# PID 1


@pytest.mark.parametrize("layout", ISOLATING)
def test_an_abandoned_kernel_is_critical_and_names_the_collateral(
    fresh: Callable[[str], Snapshot], layout: str
) -> None:
    snapshot = fresh(layout)
    abandon(snapshot)
    [finding] = find(snapshot, "NX-PID1-ABANDONED")
    assert finding.severity is Severity.CRITICAL
    assert "(1) abandoned userspace_init_fs" in finding.title
    assert ("sharesfs (" in finding.title and "was moved with it" in finding.title) is (layout == "rfc-v1")
    assert ("LOOKUP_IN_INIT" in finding.explanation) is (layout == "rfc-v1")
    assert verdict(snapshot).kind is VerdictKind.ABANDONED
    assert find(snapshot, "NX-USERSPACE-FS-SHARED") == []


def test_init_in_nullfs_is_as_bad_as_init_that_left(isolated: Snapshot) -> None:
    fs = fs_of(isolated, task_of(isolated, "nx-init"))
    fs.root = nullfs_of(isolated)
    assert find(isolated, "NX-PID1-ABANDONED")
    assert verdict(isolated).kind is VerdictKind.ABANDONED


def test_sharers_of_userspace_init_fs_are_named_and_threads_of_pid1_are_not(isolated: Snapshot) -> None:
    address = isolated.kernel.userspace_init_fs
    names = ["plain-a", "plain-b", "chdir", "chroot", "chroot-slash"]
    for name in names:
        give_fs(task_of(isolated, name), address, Owner.USERSPACE_INIT_FS)
    thread = task_of(isolated, "chroot-slash")
    thread.tgid, thread.kind = 1, TaskKind.INIT
    [finding] = find(isolated, "NX-USERSPACE-FS-SHARED")
    assert f"{', '.join(named(isolated, *names[:3]))} and 1 more share userspace_init_fs" in finding.title


def test_the_logs_line_counts_most_where_nothing_else_shows_it(isolated: Snapshot) -> None:
    isolated.log = ["[    0.3] VFS: Finished mounting rootfs on nullfs"]
    assert find(isolated, "NX-LOG-PID1-UNSHARED") == []
    isolated.log.append("[    1.7] VFS: Pid 1 stopped sharing filesystem state")
    [finding] = find(isolated, "NX-LOG-PID1-UNSHARED")
    assert finding.severity is Severity.HIGH
    abandoned = Snapshot.model_validate(isolated.model_dump())
    abandon(abandoned)
    [finding] = find(abandoned, "NX-LOG-PID1-UNSHARED")
    assert finding.severity is Severity.INFO


# Kernel threads


def test_a_kernel_thread_with_inits_fs_is_found_where_threads_are_isolated(isolated: Snapshot) -> None:
    give_fs(task_of(isolated, "kthreadd"), isolated.kernel.userspace_init_fs, Owner.USERSPACE_INIT_FS)
    [finding] = find(isolated, "NX-KTHREAD-IN-USERSPACE")
    assert finding.title == "kthreadd (2) shares userspace_init_fs"
    assert verdict(isolated).kind is VerdictKind.BREACHED
    assert find(isolated, "NX-KTHREAD-OFF-NULLFS", DEVTMPFS) == []  # one cause, one finding


def test_a_user_task_in_init_fs_is_the_intruder_not_the_kernel_threads(isolated: Snapshot) -> None:
    give_fs(task_of(isolated, "plain-a"), isolated.kernel.init_fs, Owner.INIT_FS)
    [finding] = find(isolated, "NX-KTHREAD-IN-USERSPACE")
    assert finding.title == f"{named(isolated, 'plain-a')[0]} shares init_fs with the kernel threads"
    assert find(isolated, "NX-ROOT-NULLFS") == []


def test_a_kernel_thread_in_a_user_tasks_fs_is_named(isolated: Snapshot) -> None:
    give_fs(task_of(isolated, "kthreadd"), task_of(isolated, "fspair-a").owned_fs, Owner.SHARED)
    [finding] = find(isolated, "NX-KTHREAD-IN-USERSPACE")
    assert finding.title == "kthreadd (2) shares a user task's fs_struct"


def test_a_kernel_thread_off_nullfs_is_found_unless_a_plugin_claims_it(isolated: Snapshot) -> None:
    [finding] = find(isolated, "NX-KTHREAD-OFF-NULLFS")
    assert finding.title.startswith(
        f"{named(isolated, 'kdevtmpfs')[0]}, in devtmpfsd, is rooted on devtmpfs#"
    )
    assert find(isolated, "NX-KTHREAD-OFF-NULLFS", DEVTMPFS) == []


def test_threads_of_one_module_in_one_place_are_one_finding(isolated: Snapshot) -> None:
    threads = [task for task in isolated.tasks if task.kind is TaskKind.KTHREAD and task.kthread][2:7]
    home = task_of(isolated, "plain-a")
    for number, task in enumerate(threads):
        assert task.kthread is not None
        task.kthread.module = "zfs"
        address = 0xFFFF888000001000 + number
        isolated.fs_structs.append(
            fs_of(isolated, home).model_copy(update={"address": address, "sharers": 1})
        )
        give_fs(task, address, Owner.PRIVATE)
    found = find(isolated, "NX-KTHREAD-OFF-NULLFS", DEVTMPFS)
    assert [finding.title.count("and 2 more") for finding in found] == [1]
    assert len(found[0].evidence) == 5


def test_a_private_fs_in_nullfs_is_low_and_nothing_else(isolated: Snapshot) -> None:
    task = task_of(isolated, "kthreadd")
    copy = init_fs_of(isolated).model_copy(update={"address": 0xFFFF888000001000, "users": 1, "sharers": 1})
    isolated.fs_structs.append(copy)
    give_fs(task, copy.address, Owner.PRIVATE)
    [finding] = find(isolated, "NX-KTHREAD-OWN-FS")
    assert finding.severity is Severity.LOW
    assert find(isolated, "NX-KTHREAD-OFF-NULLFS", DEVTMPFS) == []


def test_init_fs_off_nullfs_is_one_critical_finding_not_one_per_thread(isolated: Snapshot) -> None:
    fs, plain = init_fs_of(isolated), fs_of(isolated, task_of(isolated, "plain-a"))
    fs.pwd = plain.pwd
    [finding] = find(isolated, "NX-INIT-FS-OFF-NULLFS")
    assert "working directory" in finding.title
    fs.root = plain.root
    [finding] = find(isolated, "NX-INIT-FS-OFF-NULLFS")
    assert finding.severity is Severity.CRITICAL
    assert find(isolated, "NX-KTHREAD-OFF-NULLFS", DEVTMPFS) == []
    assert verdict(isolated).kind is VerdictKind.BREACHED


# Borrowing and walks


@pytest.mark.parametrize(
    ("state", "waiting_s", "severity"),
    [
        ("D", 3600.0, Severity.HIGH),
        ("D", None, Severity.HIGH),
        ("D", 0.3, Severity.INFO),
        ("S", 3600.0, Severity.INFO),
        ("R", None, Severity.INFO),
    ],
)
def test_a_borrower_is_normal_until_it_is_stuck(
    isolated: Snapshot, state: str, waiting_s: float | None, severity: Severity
) -> None:
    task = task_of(isolated, "borrower")
    task.state, task.waiting_s = state, waiting_s
    [finding] = find(isolated, "NX-BORROWER")
    assert finding.severity is severity
    assert f"{named(isolated, 'borrower')[0]} borrows userspace_init_fs to look up /f/core" in finding.title
    assert ("in D state for 60 min" in finding.title) is (state == "D" and waiting_s == 3600.0)


def test_a_borrowers_source_line_is_named_where_the_stack_is_known(isolated: Snapshot) -> None:
    task = task_of(isolated, "borrower")
    task.stack = [
        StackFrame(function="filp_open", source="fs/open.c:1", inlined=False, opens_scope=False),
        StackFrame(function="coredump_file", source="fs/coredump.c:841", inlined=True, opens_scope=True),
    ]
    [finding] = find(isolated, "NX-BORROWER")
    assert "opened by coredump_file (fs/coredump.c:841)" in finding.title


def test_a_foreign_override_names_the_owner_and_exiting_tasks_are_left_alone(isolated: Snapshot) -> None:
    task, owner = task_of(isolated, "kthreadd"), task_of(isolated, "plain-a")
    task.fs = owner.real_fs
    [finding] = find(isolated, "NX-FOREIGN-FS")
    assert finding.title.startswith("kthreadd (2) looks paths up in a foreign fs_struct 0x")
    assert finding.title.endswith(f"which {named(isolated, 'plain-a')[0]} owns")
    task.flags = (task.flags or 0) | 0x4
    assert find(isolated, "NX-FOREIGN-FS") == []


@pytest.mark.parametrize("early", [False, True])
def test_a_kernel_threads_walk_in_nullfs_is_doomed(isolated: Snapshot, early: bool) -> None:
    """``early``: before its first step a walk has no root yet."""
    task = task_of(isolated, "kthreadd")
    root = None if early else nullfs_of(isolated)
    task.walk = Walk(path="/etc/zfs/zpool.cache", root=root, start=root, in_init=False)
    [finding] = find(isolated, "NX-WALK-NOWHERE")
    assert finding.title == "kthreadd (2) looks up /etc/zfs/zpool.cache in nullfs and will get ENOENT"
    assert finding.severity is Severity.HIGH


def test_a_walk_in_failfs_says_what_it_will_get(isolated: Snapshot) -> None:
    task = task_of(isolated, "failfs")
    root = fs_of(isolated, task).root
    task.walk = Walk(path="/x", root=root, start=root, in_init=False)
    [finding] = find(isolated, "NX-WALK-NOWHERE")
    assert "EOPNOTSUPP" in finding.title
    assert finding.severity is Severity.LOW


def test_a_borrow_does_not_help_where_init_has_abandoned_the_kernel(isolated: Snapshot) -> None:
    task = task_of(isolated, "borrower")
    task.walk = Walk(path="/f/core", root=nullfs_of(isolated), start=None, in_init=False)
    [finding] = find(isolated, "NX-WALK-NOWHERE")
    assert "PID 1 has abandoned" in finding.explanation


def test_a_relative_walk_that_has_not_begun_is_not_guessed_at(isolated: Snapshot) -> None:
    task_of(isolated, "kthreadd").walk = Walk(path="etc", root=None, start=None, in_init=False)
    assert find(isolated, "NX-WALK-NOWHERE") == []


@pytest.mark.parametrize(("waiting_s", "severity"), [(3600.0, Severity.HIGH), (0.3, Severity.INFO)])
def test_a_borrower_that_a_plugin_knows_is_named_once_and_nothing_is_lost(
    isolated: Snapshot, waiting_s: float, severity: Severity
) -> None:
    task = task_of(isolated, "borrower")
    task.state, task.waiting_s = "D", waiting_s
    plugins = load_plugins().plugins
    isolated.plugins["coredump"] = coredump_facts(plugins)
    everything = run_audit(isolated, plugins).findings
    about = [found for found in everything if found.rule.endswith("-BORROWER")]
    [general] = run_audit(isolated, plugins, ["NX-BORROWER"]).findings
    [specific] = [found for found in about if task.address in {each.address for each in found.evidence}]
    assert (specific.rule, specific.severity) == ("NX-COREDUMP-BORROWER", severity)
    assert general.severity is severity and general.evidence[0] in specific.evidence
    assert specific.title.startswith(f"{task.comm} ({task.pid}) borrows init's filesystem for /f/core in ")
    assert specific.title.endswith(
        "in D state for 60 min" if severity is Severity.HIGH else "in D state for 0.3 s"
    )
    stuck = severity is Severity.HIGH
    assert (general.explanation in specific.explanation) is stuck
    assert (general.advice == specific.advice) is stuck


def test_a_borrower_that_no_plugin_knows_is_still_found(isolated: Snapshot) -> None:
    plugins = load_plugins().plugins
    isolated.plugins["coredump"] = coredump_facts(plugins)
    other = task_of(isolated, "plain-a")
    other.borrowing = True
    found = [each for each in run_audit(isolated, plugins).findings if each.rule.endswith("BORROWER")]
    assert [each.rule for each in found] == ["NX-BORROWER", "NX-COREDUMP-BORROWER"]
    assert found[0].evidence[0].address == other.address


def coredump_facts(plugins: list[Plugin]) -> dict[str, Any]:
    """What the plugin collects where nothing is out of the ordinary."""
    [plugin] = [each for each in plugins if each.name == "coredump"]
    return plugin.facts(
        state="loaded", missing=[], core_pattern="/f/core", pipe_limit=0, suid_dumpable=2
    ).model_dump()


@pytest.mark.parametrize(
    ("state", "waiting_s", "at", "hangs"),
    [
        ("D", 10.0, "/srv", True),
        ("D", 9.9, "/srv", False),
        ("D", None, "/srv", False),
        ("S", 3600.0, "/srv", True),  # a FUSE is waited for in S
        ("S", 3600.0, "/srv/pipe", False),  # as is the other end of a FIFO on it
        ("R", 3600.0, "/srv", False),
    ],
)
def test_a_walk_hangs_where_nothing_but_a_server_that_is_silent_explains_it(
    isolated: Snapshot, state: str, waiting_s: float | None, at: str, hangs: bool
) -> None:
    task = task_of(isolated, "plain-a")
    fs = isolated.fs_of(task)
    assert fs is not None and fs.root is not None
    start = fs.root.model_copy(update={"path": at, "fstype": "fuse.sshfs"})
    task.walk = Walk(path="/srv/pipe", root=fs.root, start=start, in_init=False)
    task.state, task.waiting_s = state, waiting_s
    assert bool(find(isolated, "NX-WALK-HANGS")) is hangs
    silent = [entry.why for entry in run_audit(isolated, only=["NX-WALK-HANGS"]).not_judged]
    assert bool(silent) is (state == "D" and waiting_s is None)


def test_a_walk_elsewhere_that_waits_in_s_is_an_open_that_waits(isolated: Snapshot) -> None:
    task = task_of(isolated, "plain-a")
    fs = isolated.fs_of(task)
    assert fs is not None
    task.walk = Walk(path="/run/pipe", root=fs.root, start=fs.root, in_init=False)
    task.state, task.waiting_s = "S", 3600.0
    assert find(isolated, "NX-WALK-HANGS") == []


def test_tasks_that_queue_up_for_one_filesystem_are_one_finding_that_names_the_first(
    isolated: Snapshot,
) -> None:
    waits = {"plain-a": 5.0, "plain-b": 30.0, "borrower": 20.0}
    for name, waiting_s in waits.items():
        task = task_of(isolated, name)
        fs = isolated.fs_of(task_of(isolated, "plain-a"))
        assert fs is not None
        task.walk = Walk(path=f"/srv/{name}", root=fs.root, start=fs.root, in_init=False)
        task.state, task.waiting_s = "D", waiting_s
    [finding] = find(isolated, "NX-WALK-HANGS")
    assert " has looked up /srv/plain-b for 30 s, in D state" in finding.title
    assert "; 1 other task waits for the same filesystem: plain-a (" in finding.title
    assert len(finding.evidence) == 2, "a borrower that dumps core is what NX-BORROWER tells of"
    task_of(isolated, "borrower").borrowing = False
    grave, other = sorted(find(isolated, "NX-WALK-HANGS"), key=lambda case: case.title)
    assert grave.title.startswith("borrower (") and "wait" not in grave.title
    assert (grave.severity, other.severity) == (Severity.HIGH, Severity.MEDIUM)
