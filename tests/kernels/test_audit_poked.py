"""Rules for states that no call from userspace can make: made in the memory of a real, stopped kernel.

The guest's memory is a file; a few bytes of it are changed while the guest is stopped, the kernel is captured over QMP
like any other, and the bytes are put back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from explorer.analysis.audit import run_audit
from explorer.model import Severity
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
