"""Lookups that hang in a filesystem whose server does not answer: of a user's task, and of what the kernel started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.analysis.audit import run_audit
from explorer.model import Finding, Severity, TaskKind
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.nfs_guest import start_nfsd
from tests.kernels.subsystems import Seen, capture_guest, run_steps, wait_until

pytestmark = pytest.mark.kernel

RULE = "NX-WALK-HANGS"
_LONG_S = 12.0


@dataclass
class Hung:
    early: Seen
    late: Seen
    stuck: dict[str, int]
    """By what it waits for: the pid of who waits, as the guest says."""


def start(guest: Guest, line: str) -> int:
    """A line of shell in the background; its pid."""
    return int(run_steps(guest, f"{line} >/dev/null 2>&1 & echo $!"))


@pytest.fixture(scope="module", params=ENDS)
def hung(request: pytest.FixtureRequest) -> Iterator[Hung]:
    with Guest.boot(kernel_or_skip(request.param), "shell") as guest:
        run_steps(
            guest,
            "mkdir -p /mnt/fuse /mnt/auto; /init lab-fuse /mnt/fuse; mkfifo /tmp/daemon /tmp/nobody",
            "setsid sh -c 'exec 9<>/tmp/daemon; mount -t autofs -o fd=9,pgrp=$$,minproto=5,maxproto=5,direct auto "
            "/mnt/auto && touch /tmp/mounted; exec sleep 99999' >/dev/null 2>&1 &",
        )
        wait_until(guest, "test -e /tmp/mounted")
        stuck = {
            "/mnt/fuse/file": start(guest, "cat /mnt/fuse/file"),
            "/mnt/auto/file": start(guest, "cat /mnt/auto/file"),
            "/tmp/nobody": start(guest, "cat /tmp/nobody"),
        }
        run_steps(guest, "echo /mnt/fuse/modprobe >/proc/sys/kernel/modprobe")
        start(guest, "/init lab-socket 9")
        wait_until(guest, "grep -l fuse_ /proc/[0-9]*/stack | wc -l | grep -qv '^[01]$'")
        early = capture_guest(guest)
        time.sleep(_LONG_S)
        yield Hung(early, capture_guest(guest), stuck)


def found(seen: Seen) -> list[Finding]:
    return run_audit(seen.snapshot, only=[RULE]).findings


def test_a_lookup_that_began_just_now_is_not_said_to_hang(hung: Hung) -> None:
    assert found(hung.early) == []


@pytest.mark.parametrize(("path", "fstype"), [("/mnt/fuse/file", "fuse"), ("/mnt/auto/file", "autofs")])
def test_a_users_lookup_that_hangs_is_said_with_its_path_its_filesystem_and_how_long(
    hung: Hung, path: str, fstype: str
) -> None:
    task = next(task for task in hung.late.snapshot.tasks if task.pid == hung.stuck[path])
    [finding] = [case for case in found(hung.late) if case.evidence[0].address == task.address]
    assert finding.severity is Severity.MEDIUM
    assert f"has looked up {path} for 1" in finding.title
    assert f"in {task.state} state, at " in finding.title
    assert f" {fstype}#" in finding.title
    assert task.waiting_s is not None and _LONG_S - 1 < task.waiting_s < 5 * _LONG_S


def test_a_program_that_the_kernel_started_and_that_hangs_in_its_exec_is_worse(hung: Hung) -> None:
    [helper] = [task for task in hung.late.snapshot.tasks if task.kind is TaskKind.USERMODEHELPER]
    findings = run_audit(hung.late.snapshot).findings
    [finding] = [
        case
        for case in findings
        if case.rule in (RULE, "NX-BORROWER") and case.evidence[0].address == helper.address
    ]
    assert finding.severity is Severity.HIGH
    assert "/mnt/fuse/modprobe" in finding.title


def test_who_waits_for_the_other_end_of_a_fifo_does_not_hang(hung: Hung) -> None:
    waiting = next(task for task in hung.late.snapshot.tasks if task.pid == hung.stuck["/tmp/nobody"])
    assert waiting.walk is not None and waiting.state == "S", "an open that waits is a walk, too"
    assert waiting.address not in {case.evidence[0].address for case in found(hung.late)}


@dataclass
class Silent:
    seen: Seen
    pids: list[int]
    """Who wants something of the server, as the guest says; the first to ask first."""


@pytest.fixture(scope="module")
def silent() -> Iterator[Silent]:
    """An NFS mount whose server cannot be reached any more, and eleven tasks that want something of it."""
    with Guest.boot(kernel_or_skip("7.3"), "nfsd") as guest:
        start_nfsd(guest)
        options = "addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,hard,timeo=50"
        run_steps(
            guest, f"mount -t nfs4 127.0.0.1:/ /mnt/nfs -o {options}; ls /mnt/nfs", "ip link set lo down"
        )
        pids = [start(guest, "cat /mnt/nfs/same") for _ in range(8)]
        pids += [start(guest, f"ls /mnt/nfs/other{number}") for number in range(3)]
        time.sleep(_LONG_S)
        yield Silent(capture_guest(guest), pids)


def test_all_who_wait_for_a_silent_nfs_server_are_one_finding_that_names_the_first(silent: Silent) -> None:
    [finding] = found(silent.seen)
    tasks = silent.seen.snapshot.task_by_address
    waiting = [tasks[reference.address or 0] for reference in finding.evidence]
    assert sorted(task.pid or 0 for task in waiting) == sorted(silent.pids)
    assert waiting[0].pid == silent.pids[0]
    assert finding.severity is Severity.MEDIUM
    assert finding.title.startswith(f"cat ({silent.pids[0]}) has looked up /mnt/nfs/same for 1")
    assert "in D state, at nfs4#" in finding.title
    assert "; 10 other tasks wait for the same filesystem: " in finding.title
    assert finding.title.endswith(" and 7 more")
