"""The audit on real kernels: each rule in a guest in which its state was really made, and in one where it is silent.

Faults of kernel code, which no call from userspace can make (``NX-FOREIGN-FS``, ``NX-KTHREAD-IN-USERSPACE``,
``NX-INIT-FS-OFF-NULLFS``, ``NX-KTHREAD-OFF-NULLFS``, ``NX-FS-USERS-EXTRA`` and ``-MISSING``, ``NX-FS-SEQ-ODD``,
``NX-FS-ACROSS-NAMESPACES`` and ``-USER-NAMESPACES``), are made in a guest's memory by
test_audit_poked.py. What is left is tested in tests/unit alone, on changed snapshots:

- ``NX-WALK-NOWHERE`` of a kernel thread: such a lookup fails at once, and 7.3.4 has none left; user tasks do it here.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from explorer.analysis.audit import run_audit
from explorer.analysis.rules import RULES
from explorer.analysis.verdicts import VerdictKind, verdict
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.codec.snapshots import load_snapshot, write_json
from explorer.model import STUCK_S, Finding, Placement, Severity, Snapshot
from explorer.plugin import Plugin, load_plugins
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.lab import LINES, Guest
from tests.kernels.lab.liveimage import boot_live

pytestmark = pytest.mark.kernel

_TRIES = 120


@pytest.fixture(scope="module")
def plugins() -> list[Plugin]:
    return load_plugins().plugins


def capture(target: str, plugins: list[Plugin]) -> Snapshot:
    with open_kernel(detect_target(target)) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))


def core(snapshot: Snapshot, plugins: Sequence[Plugin] = ()) -> list[Finding]:
    """Findings of our own rules: what the plugins find, also in the place of ours, is tested with them."""
    return run_audit(snapshot, plugins, [rule.id for rule in RULES]).findings


@dataclass
class Audited:
    """A guest in some state, stopped and audited."""

    guest: Guest
    snapshot: Snapshot
    findings: list[Finding]
    directory: Path = field(default_factory=Path)

    def titles(self, rule: str) -> list[str]:
        return [finding.title for finding in self.findings if finding.rule == rule]

    def name(self, state: str) -> str:
        task = next(task for task in self.snapshot.tasks if task.pid == self.guest.states[state])
        return f"{task.comm} ({task.pid})"

    def rules(self) -> set[str]:
        return {finding.rule for finding in self.findings}


Boot = Callable[[str, str], Audited]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, plugins: list[Plugin]) -> Iterator[Boot]:
    """Boots a guest once for all tests, stops it and audits it."""
    guests: dict[tuple[str, str], Audited] = {}

    def boot(line: str, scenario: str) -> Audited:
        if (line, scenario) not in guests:
            guest = Guest.boot(kernel_or_skip(line), scenario)
            guest.stop()
            snapshot = capture(f"qemu:{guest.qmp_socket}", plugins)
            directory = tmp_path_factory.mktemp(scenario)
            findings = core(snapshot, plugins)
            guests[line, scenario] = Audited(guest, snapshot, findings, directory)
        return guests[line, scenario]

    yield boot
    for made in guests.values():
        made.guest.close()


@pytest.mark.parametrize("line", LINES)
def test_a_healthy_boot_gives_no_finding_above_info(line: str, audited: Boot, plugins: list[Plugin]) -> None:
    healthy = audited(line, "healthy")
    assert healthy.snapshot.errors == []
    report = run_audit(healthy.snapshot, plugins)
    assert report.errors == []
    assert [f for f in report.findings if f.severity is not Severity.INFO] == []
    kind = VerdictKind.ISOLATED if line == "7.3" else VerdictKind.SHARED
    assert verdict(healthy.snapshot).kind is kind


def test_kdevtmpfs_is_off_nullfs_for_who_does_not_know_it(audited: Boot) -> None:
    found = core(audited("7.3", "healthy").snapshot)
    assert [(finding.rule, finding.title.partition(" (")[0]) for finding in found] == [
        ("NX-KTHREAD-OFF-NULLFS", "kdevtmpfs")
    ]


def test_abandonment_is_critical_and_names_who_was_moved(audited: Boot) -> None:
    abandoned = audited("7.3", "abandoned")
    [title] = abandoned.titles("NX-PID1-ABANDONED")
    assert title.startswith("nx-init (1) abandoned userspace_init_fs, which now points into nullfs")
    assert f"{abandoned.name('init-share')} was moved with it" in title
    assert len(abandoned.titles("NX-LOG-PID1-UNSHARED")) == 1
    assert abandoned.rules() == {"NX-PID1-ABANDONED", "NX-LOG-PID1-UNSHARED"}
    assert len(abandoned.findings) == 2, "who stayed where PID 1 is has not gone anywhere"
    judged = verdict(abandoned.snapshot)
    assert judged.kind is VerdictKind.ABANDONED
    assert "1 bystander was moved with it: init-share" in judged.sentence


def test_a_sharer_of_userspace_init_fs_is_named(audited: Boot) -> None:
    shared = audited("7.3", "shared-init")
    assert shared.titles("NX-USERSPACE-FS-SHARED") == [
        f"{shared.name('init-share')} shares userspace_init_fs with PID 1"
    ]
    assert shared.rules() == {"NX-USERSPACE-FS-SHARED"}


@pytest.mark.parametrize("line", ["7.2", "6.12"])
def test_unsharing_init_is_nobodys_fault_before_isolation(line: str, audited: Boot) -> None:
    assert audited(line, "abandoned").rules() == set()


#: Of the audit scenario: what is found, what is said of whom. On all kernels unless said.
AUDIT_STATES: dict[str, list[tuple[str, ...]]] = {
    "NX-PWD-OUTSIDE-ROOT": [
        ("{beside} is in rootfs#", "/jail-too, outside the root rootfs#"),
        ("{visitor} is in tmpfs#", "the tree of another mount namespace"),
    ],
    "NX-ROOT-DETACHED": [("{gone-a} and {gone-b} have their root on tmpfs#",)],
    "NX-ROOT-OVERMOUNTED": [
        ("{covered-dir} has its root in rootfs#", ":/jail, below tmpfs#"),
        ("{covered-mount} has its root on tmpfs#", ", below tmpfs#"),
        ("{overmounted} has its root on rootfs#", "below tmpfs#"),
    ],
    "NX-FS-IN-EXEC": [("of {in-exec} is in the middle of an execve(), in which {in-exec} waits",)],
}


@pytest.mark.parametrize("line", LINES)
def test_each_state_of_the_audit_scenario_is_found_and_nothing_else(line: str, audited: Boot) -> None:
    made = audited(line, "audit")
    expected = dict(AUDIT_STATES)
    if "ns-bottom" in made.guest.states:
        expected["NX-NS-BOTTOM"] = [("{ns-bottom} has its root on nullfs#",)]
    assert made.rules() == set(expected)
    for rule, cases in expected.items():
        titles = sorted(made.titles(rule))
        assert len(titles) == len(cases)
        for title, words in zip(titles, cases, strict=True):
            for word in words:
                for state in made.guest.states:
                    word = word.replace(f"{{{state}}}", made.name(state))
                assert word in title
    assert ("ns-bottom" in made.guest.states) is (line in ("7.2", "7.3"))


@pytest.mark.parametrize("line", LINES)
def test_a_host_root_in_a_container_is_worse_than_its_directory_and_a_visit_is_no_escape(
    line: str, audited: Boot
) -> None:
    """Of three that cross the border between two mount namespaces, in the order in which they are to be feared."""
    lively, audit = audited(line, "lively"), audited(line, "audit")

    def severity(made: Audited, state: str) -> Severity:
        [found] = [finding for finding in made.findings if made.name(state) in finding.title]
        return found.severity

    assert severity(lively, "cross-root") is Severity.HIGH
    assert severity(lively, "cross-cwd") is Severity.MEDIUM
    assert severity(audit, "visitor") is Severity.INFO


@pytest.mark.parametrize("line", LINES)
def test_a_pid_1_that_only_did_chroot_is_said_to_have_another_root_than_its_namespace(
    line: str, audited: Boot
) -> None:
    made = audited(line, "chrooted-init")
    [title] = made.titles("NX-PID1-CHROOT")
    assert title.startswith("nx-init (1) has its root in rootfs#")
    assert ":/jail, and not on rootfs#" in title
    assert {finding.severity for finding in made.findings} == {Severity.LOW, Severity.INFO}
    states = {state: task_root(made, state) for state in ("plain-a", "follower")}
    assert states == {"plain-a": Placement.NS_ROOT, "follower": Placement.INIT_ROOT}


def task_root(made: Audited, state: str) -> Placement | None:
    task = next(task for task in made.snapshot.tasks if task.pid == made.guest.states[state])
    fs = made.snapshot.fs_of(task)
    return None if fs is None or fs.root is None else fs.root.placement


@pytest.mark.parametrize("line", ENDS)
def test_a_system_beside_the_kernels_root_is_told_where_the_kernel_looks_and_how_many_do_not(
    line: str, audited: Boot
) -> None:
    made = audited(line, "distribution")
    [title] = made.titles("NX-KERNEL-ROOT-APART")
    assert title.startswith("the kernel looks paths up from rootfs#")
    assert "; 4 of 6 processes see another root, 4 of them tmpfs#" in title
    assert made.rules() == {"NX-KERNEL-ROOT-APART"}


@pytest.mark.parametrize("line", LINES)
def test_the_kernel_refuses_an_fs_struct_across_namespaces(line: str, audited: Boot) -> None:
    made = audited(line, "audit")
    refused = {name: code for name, code in made.guest.skipped.items() if name.startswith("fs-")}
    assert refused == dict.fromkeys(("fs-clone-mnt", "fs-clone-user", "fs-setns-mnt"), errno.EINVAL)
    tasks = {task.name: task for task in made.snapshot.tasks if task.name.startswith("split-")}
    assert tasks["split-a"].mnt_ns != tasks["split-b"].mnt_ns
    assert tasks["split-a"].owned_fs != tasks["split-b"].owned_fs


@pytest.mark.parametrize("line", LINES)
def test_the_lively_scenarios_oddities_are_found_by_name(line: str, audited: Boot) -> None:
    lively = audited(line, "lively")
    states = lively.guest.states
    for rule, names in {
        "NX-PWD-OUTSIDE-ROOT": ["chroot-cwd-out", "cross-cwd"],
        "NX-ROOT-DETACHED": ["detached-root"],
        "NX-PWD-DETACHED": ["detached-below", "detached-cwd"],
        "NX-ROOT-OTHER-NAMESPACE": ["cross-root"],
        "NX-NS-EMPTY": ["empty-ns"],
        "NX-ROOT-FAILFS": ["failfs"],
    }.items():
        found = " ".join(lively.titles(rule))
        assert len(lively.titles(rule)) == len([name for name in names if name in states])
        for name in names:
            assert (lively.name(name) in found) if name in states else (name not in found)
    for normal in (
        "chroot",
        "container",
        "ct-chroot",
        "ns-own-mount",
        "cwd-bind",
        "root-deleted",
        "cwd-over-2",
    ):
        assert all(f" {normal} (" not in f" {finding.title}" for finding in lively.findings)
    isolated = line == "7.3"
    assert ("NX-BORROWER" in lively.rules()) is isolated


def test_every_road_to_the_same_memory_gives_the_same_findings(audited: Boot, plugins: list[Plugin]) -> None:
    lively = audited("7.3", "lively")
    directory = lively.directory
    lively.guest.dump(directory / "elf")
    with (
        open_kernel(detect_target(str(directory / "elf"))) as kernel,
        (directory / "slice").open("wb") as out,
    ):
        record_slice(kernel, lambda what, done, total: None).write(out)
    with (directory / "saved.json").open("wb") as saved:
        write_json(lively.snapshot, saved)
    assert core(load_snapshot(directory / "saved.json"), plugins) == lively.findings
    assert core(capture(str(directory / "elf"), plugins), plugins) == lively.findings
    sliced = core(capture(str(directory / "slice"), []), plugins)
    assert sliced == lively.findings
    (directory / "elf").unlink()


def test_a_borrower_that_stays_becomes_high_with_its_path_and_time(plugins: list[Plugin]) -> None:
    with Guest.boot(kernel_or_skip("7.3"), "lively") as guest:
        time.sleep(STUCK_S + 2)  # the guest's clock runs with ours
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}", plugins)
        [finding] = [f for f in run_audit(snapshot, plugins).findings if f.rule.endswith("BORROWER")]
        assert finding.rule == "NX-COREDUMP-BORROWER"
        assert finding.severity is Severity.HIGH
        name = f"borrower ({guest.states['borrower']})"
        assert finding.title.startswith(f"{name} borrows init's filesystem for /f/core in ")
        assert ", in D state for " in finding.title


def test_walks_in_nullfs_and_failfs_are_seen_to_fail(plugins: list[Plugin]) -> None:
    """Both tasks ask all the time; a stopped guest shows one of them in the middle of it every few times."""
    seen: dict[str, str] = {}
    with (
        Guest.boot(kernel_or_skip("7.3"), "lost") as guest,
        open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel,
    ):
        for _ in range(_TRIES):
            guest.stop()
            snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
            for finding in run_audit(snapshot, (), ["NX-WALK-NOWHERE"]).findings:
                seen[finding.title.partition(" ")[0]] = finding.title
            if len(seen) == 2:
                break
            guest.cont()
        states = guest.states
    path = "/nowhere/to/be/found"
    assert seen == {
        "lost-nullfs": f"lost-nullfs ({states['lost-nullfs']}) looks up {path} in nullfs and will get ENOENT",
        "lost-failfs": f"lost-failfs ({states['lost-failfs']}) looks up {path} in failfs and will get EOPNOTSUPP",
    }


def test_the_live_guest_finds_in_itself_what_qmp_finds_in_it(plugins: list[Plugin]) -> None:
    """No finding may come from the kernel's running while it was read."""
    with boot_live(kernel_or_skip("7.3")) as guest:
        code, printed = guest.run_tool("audit", "live", "--no-cache", "--format", "json")
        document = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}", plugins)
    inside = [Finding.model_validate(finding) for finding in document["findings"]]
    assert code == 1  # the scenario leaves a chroot open
    assert not document["capture"]["consistent"]
    expected = run_audit(snapshot, plugins).findings
    assert {finding.rule for finding in expected} >= {"NX-PWD-OUTSIDE-ROOT", "NX-ROOT-DETACHED"}
    above_info = [finding for finding in inside if finding.severity is not Severity.INFO]
    assert above_info == [finding for finding in expected if finding.severity is not Severity.INFO]
