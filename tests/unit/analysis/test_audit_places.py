"""The audit's rules about books, roots and namespaces, the verdict, and the selection by task."""

from __future__ import annotations

import pytest

from explorer.analysis.audit import run_audit, select_findings
from explorer.analysis.verdicts import VerdictKind, verdict
from explorer.model import (
    CaptureError,
    Severity,
    Snapshot,
)
from tests.unit.audit_states import (
    find,
    fs_of,
    named,
    nullfs_of,
    task_of,
)

# Books


def test_who_may_be_a_task_that_was_not_found_has_leaked_no_reference(isolated: Snapshot) -> None:
    fs = fs_of(isolated, task_of(isolated, "fspair-a"))
    fs.users = (fs.users or 0) + 2
    isolated.errors = [CaptureError(where="task 7", what="task_struct", why="fault")]
    rules = {finding.rule: finding.severity for finding in run_audit(isolated).findings}
    assert not any(rule.startswith("NX-FS-USERS") for rule in rules)
    assert rules["NX-TASKS-MISSING"] is Severity.INFO


@pytest.mark.parametrize(
    ("delta", "consistent", "errors", "rule", "severity"),
    [
        (2, True, False, "NX-FS-USERS-EXTRA", Severity.MEDIUM),
        (1, True, False, "NX-FS-USERS-EXTRA", Severity.LOW),
        (2, False, False, "NX-FS-USERS-EXTRA", Severity.INFO),
        (2, True, True, "NX-FS-USERS-EXTRA", Severity.INFO),
        (-1, True, False, "NX-FS-USERS-MISSING", Severity.HIGH),
        (-1, False, False, "NX-FS-USERS-MISSING", Severity.INFO),
    ],
)
def test_books_that_do_not_balance_are_as_bad_as_the_reading_is_good(
    isolated: Snapshot, delta: int, consistent: bool, errors: bool, rule: str, severity: Severity
) -> None:
    fs = fs_of(isolated, task_of(isolated, "fspair-a"))
    fs.users = (fs.users or 0) + delta
    isolated.capture.consistent = consistent
    if errors:
        isolated.errors = [CaptureError(where="mount 7", what="source", why="fault")]
    found = [finding for finding in run_audit(isolated).findings if finding.rule.startswith("NX-FS-USERS")]
    assert [(finding.rule, finding.severity) for finding in found] == [(rule, severity)]
    assert " and ".join(named(isolated, "fspair-a", "fspair-b")) in found[0].title


def test_the_global_pointers_reference_is_no_leak(isolated: Snapshot) -> None:
    fs = fs_of(isolated, task_of(isolated, "nx-init"))
    assert fs.users == 2
    assert fs.sharers == 1
    assert find(isolated, "NX-FS-USERS-EXTRA") == []


def test_an_odd_sequence_count_means_something_only_where_nothing_ran(isolated: Snapshot) -> None:
    fs_of(isolated, task_of(isolated, "plain-a")).seq = 7
    [finding] = find(isolated, "NX-FS-SEQ-ODD")
    assert named(isolated, "plain-a")[0] in finding.title
    isolated.capture.consistent = False
    assert find(isolated, "NX-FS-SEQ-ODD") == []


# Roots, working directories, namespaces


def test_a_user_task_in_nullfs_is_high_and_only_its_cwd_there_is_low(isolated: Snapshot) -> None:
    nullfs = nullfs_of(isolated)
    lost, below = fs_of(isolated, task_of(isolated, "plain-a")), fs_of(isolated, task_of(isolated, "plain-b"))
    lost.root = lost.pwd = below.pwd = nullfs
    found = find(isolated, "NX-ROOT-NULLFS")
    assert [(finding.severity, finding.title.partition(" ")[0]) for finding in found] == [
        (Severity.HIGH, "plain-a"),
        (Severity.LOW, "plain-b"),
    ]
    assert all("plain" not in finding.title for finding in find(isolated, "NX-PWD-OUTSIDE-ROOT"))


def test_an_fs_shared_across_mount_namespaces_names_a_task_of_each(isolated: Snapshot) -> None:
    task_of(isolated, "fspair-b").mnt_ns = task_of(isolated, "container").mnt_ns
    [finding] = find(isolated, "NX-FS-ACROSS-NAMESPACES")
    who = " and ".join(named(isolated, "fspair-a", "fspair-b"))
    assert finding.title == f"{who} share an fs_struct from 2 mount namespaces"


def test_an_fs_shared_across_user_namespaces_names_a_task_of_each(isolated: Snapshot) -> None:
    assert find(isolated, "NX-FS-ACROSS-USER-NAMESPACES") == []
    pair = task_of(isolated, "fspair-b")
    assert pair.user_ns == task_of(isolated, "fspair-a").user_ns is not None
    pair.user_ns = pair.address
    [finding] = find(isolated, "NX-FS-ACROSS-USER-NAMESPACES")
    who = " and ".join(named(isolated, "fspair-a", "fspair-b"))
    assert finding.title == f"{who} share an fs_struct from 2 user namespaces"


def test_detached_and_open_roots_of_the_sample_are_named_once_each(isolated: Snapshot) -> None:
    titles = "\n".join(finding.title for finding in run_audit(isolated).findings)
    for name in (
        "detached-root",
        "detached-cwd",
        "detached-below",
        "chroot-cwd-out",
        "cross-cwd",
        "cross-root",
    ):
        assert titles.count(f"{name} (") == 1, titles
    for name in (
        "chroot (",
        "container (",
        "ct-chroot (",
        "cwd-bind (",
        "cwd-over",
        "root-deleted",
        "cwd-deleted",
    ):
        assert name not in titles


def test_pid1_below_a_covered_root_is_worse_than_a_straggler_from_the_initramfs(isolated: Snapshot) -> None:
    namespace = next(ns for ns in isolated.mount_namespaces if ns.address == isolated.kernel.init_mnt_ns)
    top = next(
        mount for mount in isolated.mounts if mount.mnt_ns == namespace.address and mount.mountpoint == "/dev"
    )
    rootfs = next(mount for mount in isolated.mounts if mount.address == namespace.visible_root)
    rootfs.overmount = namespace.visible_root = top.address
    finding = next(f for f in find(isolated, "NX-ROOT-OVERMOUNTED") if "nx-init (1)" in f.title)
    assert finding.severity is Severity.MEDIUM
    assert f"below devtmpfs#{top.id}" in finding.title
    init = task_of(isolated, "nx-init")
    fs_of(isolated, init).root = fs_of(isolated, task_of(isolated, "chroot")).root
    severities = {finding.severity for finding in find(isolated, "NX-ROOT-OVERMOUNTED")}
    assert severities == {Severity.LOW, Severity.MEDIUM}, "chroots below are stragglers, PID 1 is not"


def test_what_could_not_be_read_is_said_and_judged_by_nobody(isolated: Snapshot) -> None:
    isolated.errors = [CaptureError(where="task 7", what="task_struct", why="fault")]
    fs_of(isolated, task_of(isolated, "detached-root")).root = None
    [finding] = find(isolated, "NX-UNREADABLE")
    assert finding.title == "1 value could not be read; the first: task 7: task_struct: fault"
    assert find(isolated, "NX-ROOT-DETACHED") == []


# The verdict and the selection


@pytest.mark.parametrize(
    ("layout", "kind", "words"),
    [
        ("isolated", VerdictKind.ISOLATED, "nx-init (1) owns userspace_init_fs"),
        ("rfc-v1", VerdictKind.ISOLATED, "init (1) owns userspace_init_fs"),
        ("nullfs-rootfs", VerdictKind.SHARED, "kernel threads share init_fs"),
        ("legacy-6.12", VerdictKind.SHARED, "kernel threads share init_fs"),
        ("legacy-6.1", VerdictKind.SHARED, "kernel threads share init_fs"),
    ],
)
def test_the_verdict_on_every_layout(
    fixture_snapshots: dict[str, Snapshot], layout: str, kind: VerdictKind, words: str
) -> None:
    judged = verdict(fixture_snapshots[layout])
    assert judged.kind is kind
    assert words in judged.sentence


def test_a_verdict_is_not_given_on_what_was_not_read(isolated: Snapshot) -> None:
    isolated.tasks = [task for task in isolated.tasks if task.pid != 1]
    assert verdict(isolated).kind is VerdictKind.UNKNOWN


def test_findings_are_selected_by_their_tasks_and_those_tasks_fs(isolated: Snapshot) -> None:
    findings = run_audit(isolated).findings
    selected = select_findings(findings, isolated, lambda task: task.comm == "cross-root")
    assert [finding.rule for finding in selected] == ["NX-ROOT-OTHER-NAMESPACE"]
    assert select_findings(findings, isolated, lambda task: False) == []


def test_an_execve_under_way_is_said_with_who_waits_in_it(isolated: Snapshot) -> None:
    task = task_of(isolated, "plain-a")
    fs_of(isolated, task).in_exec = 1
    [finding] = find(isolated, "NX-FS-IN-EXEC")
    assert finding.title.endswith(f"of {named(isolated, 'plain-a')[0]} is in the middle of an execve()")
    task.state = "D"
    [finding] = find(isolated, "NX-FS-IN-EXEC")
    assert finding.title.endswith(f"in which {named(isolated, 'plain-a')[0]} waits")


def test_who_chose_failfs_or_an_empty_namespace_is_only_named(isolated: Snapshot) -> None:
    for rule, name in (("NX-ROOT-FAILFS", "failfs"), ("NX-NS-EMPTY", "empty-ns")):
        [finding] = find(isolated, rule)
        assert finding.severity is Severity.INFO
        assert finding.title.startswith(named(isolated, name)[0])


def test_a_bottom_nullfs_with_a_root_over_it_is_no_choice(isolated: Snapshot) -> None:
    task = task_of(isolated, "empty-ns")
    namespace = next(ns for ns in isolated.mount_namespaces if ns.address == task.mnt_ns)
    namespace.visible_root = 0xFFFF888000000000
    [finding] = find(isolated, "NX-NS-BOTTOM")
    assert finding.severity is Severity.MEDIUM
    assert named(isolated, "empty-ns")[0] in finding.title
    assert find(isolated, "NX-NS-EMPTY") == []
