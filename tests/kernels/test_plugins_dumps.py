"""Plugins on core dumps and core sockets, in guests where something dumps core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.model import Owner, Severity, StackFrame
from tests.kernels.lab import Guest
from tests.kernels.subsystems import Seen, above_info, capture_guest, capture_stuck, run_steps

pytestmark = pytest.mark.kernel

PLUGINS = ("audit", "coredump", "erofs", "overlay", "unix_socket")
PATTERN = "/proc/sys/kernel/core_pattern"
SETTINGS = (PATTERN, "/proc/sys/kernel/core_pipe_limit", "/proc/sys/fs/suid_dumpable")


@dataclass(frozen=True)
class Cores:
    healthy: Seen
    said: list[str]
    """Core settings, as /proc/sys has them."""
    unsafe: Seen
    lost: dict[str, Seen]
    """core_pattern -> what was seen with it."""
    bound: Seen
    stuck: Seen


@pytest.fixture(scope="module")
def cores() -> Iterator[Cores]:
    with Guest.boot("7.3", "shell") as guest:
        said = run_steps(guest, *(f"cat {file}" for file in SETTINGS)).split()
        healthy = capture_guest(guest, *PLUGINS)
        run_steps(guest, f"echo 2 >{SETTINGS[2]}")
        unsafe = capture_guest(guest, *PLUGINS)
        run_steps(guest, f"echo 0 >{SETTINGS[2]}; ls /no /no/such || true")
        lost = {}
        for pattern in ("|/no %p", "/no/core.%p", "@/no", "@@/no"):
            run_steps(guest, f"echo '{pattern}' >{PATTERN}")
            lost[pattern] = capture_guest(guest, *PLUGINS)
        run_steps(guest, f"echo '@/bin/busybox' >{PATTERN}")  # whoever is there: it exists
        bound = capture_guest(guest, *PLUGINS)
        run_steps(guest, "mkdir /f; /init lab-fuse /f", f"echo '@/f/core.sock' >{PATTERN}")
        run_steps(guest, "/init lab-crash >/dev/null 2>&1 &")
        stuck = capture_stuck(guest, "unix_find_other", *PLUGINS)
        yield Cores(healthy, said, unsafe, lost, bound, stuck)


def test_core_settings_are_those_of_proc(cores: Cores) -> None:
    facts = cores.healthy.facts("coredump")
    assert [facts.core_pattern, str(facts.pipe_limit), str(facts.suid_dumpable)] == cores.said
    socket = cores.healthy.facts("unix_socket")
    assert (socket.supported, socket.protocol, socket.path, socket.now) == (True, None, None, None)


def test_a_relative_pattern_is_normal_and_told_only_where_the_kernel_refuses_it(cores: Cores) -> None:
    assert cores.healthy.facts("coredump").core_pattern == "core"
    assert cores.healthy.findings("coredump") == []
    assert cores.unsafe.rules("coredump") == ["NX-COREDUMP-UNSAFE-PATTERN"]
    assert above_info(cores.unsafe.findings("coredump")) == []


def test_core_dumps_that_have_nowhere_to_go_are_found_by_the_plugin_whose_they_are(cores: Cores) -> None:
    rules = {
        pattern: (seen.rules("coredump"), seen.rules("unix_socket")) for pattern, seen in cores.lost.items()
    }
    assert rules == {
        "|/no %p": (["NX-COREDUMP-NO-PROGRAM"], []),
        "/no/core.%p": (["NX-COREDUMP-NO-DIRECTORY"], []),
        "@/no": ([], ["NX-UNIX-SOCKET-NO-SOCKET"]),
        "@@/no": ([], ["NX-UNIX-SOCKET-NO-SOCKET"]),
    }
    protocols = {pattern: seen.facts("unix_socket").protocol for pattern, seen in cores.lost.items()}
    assert protocols == {"|/no %p": None, "/no/core.%p": None, "@/no": "plain", "@@/no": "request"}
    assert cores.bound.rules("unix_socket") == []
    assert cores.bound.facts("unix_socket").now.found == "yes"


def test_a_task_stuck_on_its_way_to_the_core_socket_is_named_with_its_path_by_one_plugin(
    cores: Cores,
) -> None:
    (borrower,) = cores.stuck.borrowers()
    assert [borrower.pid] == cores.stuck.in_stack
    assert (borrower.state, borrower.kthread) == ("D", None)
    assert borrower.owner is not Owner.USERSPACE_INIT_FS
    (finding,) = [f for f in cores.stuck.findings("unix_socket") if f.rule == "NX-UNIX-SOCKET-BORROWER"]
    assert "unix_find_bsd" in finding.title
    assert "/f/core.sock" in finding.title
    assert finding.evidence[0].address == borrower.address
    assert cores.stuck.findings("coredump") == []


def test_a_task_is_stuck_only_when_it_has_waited_for_long(cores: Cores) -> None:
    """How long a task has waited is told by the clock: the snapshot is made to say it."""
    snapshot = cores.stuck.snapshot.model_copy(deep=True)
    task = next(task for task in snapshot.tasks if task.borrowing)
    plugin, facts = cores.stuck.plugin("unix_socket"), cores.stuck.facts("unix_socket")
    for waited, rules in ((1.0, []), (None, []), (120.0, ["NX-UNIX-SOCKET-STUCK"])):
        task.waiting_s = waited
        found = [f for f in plugin.audit(snapshot, facts) if f.rule != "NX-UNIX-SOCKET-BORROWER"]
        assert [finding.rule for finding in found] == rules
    assert (found[0].severity, "for 120 s" in found[0].title) == (Severity.MEDIUM, True)


def test_a_stack_tells_where_a_dump_goes_whatever_core_pattern_says_by_now(cores: Cores) -> None:
    snapshot = cores.stuck.snapshot.model_copy(deep=True)
    task = next(task for task in snapshot.tasks if task.borrowing)
    for function, name in (("coredump_file", "coredump"), ("unix_find_bsd", "unix_socket")):
        task.stack = [StackFrame(function=function, source=None, inlined=False, opens_scope=False)]
        for plugin in ("coredump", "unix_socket"):
            found = cores.stuck.plugin(plugin).audit(snapshot, cores.stuck.facts(plugin))
            assert any(finding.rule.endswith("-BORROWER") for finding in found) == (plugin == name)


def test_before_isolation_a_task_on_its_way_to_the_core_socket_borrows_nothing_and_is_told_when_stuck() -> (
    None
):
    with Guest.boot("7.2", "shell") as guest:
        run_steps(guest, "mkdir /f; /init lab-fuse /f", f"echo '@/f/core.sock' >{PATTERN}")
        run_steps(guest, "/init lab-crash >/dev/null 2>&1 &")
        seen = capture_stuck(guest, "unix_find_other", *PLUGINS)
    assert (seen.borrowers(), seen.findings("coredump"), seen.findings("unix_socket")) == ([], [], [])
    (task,) = [task for task in seen.snapshot.tasks if task.has_flag(0x200)]
    assert [task.pid] == seen.in_stack
    task.waiting_s = 120.0
    (finding,) = seen.findings("unix_socket")
    assert (finding.rule, "/f/core.sock" in finding.title) == ("NX-UNIX-SOCKET-STUCK", True)


def test_a_process_that_changed_its_user_borrows_for_its_dump_and_both_are_stuck_after_a_while() -> None:
    with Guest.boot("7.3", "lively") as guest:
        pids = guest.states
        seen = capture_guest(guest, "coredump", "unix_socket")
    (finding,) = [f for f in seen.findings("coredump") if f.rule == "NX-COREDUMP-BORROWER"]
    assert (
        finding.title
        == f"borrower ({pids['borrower']}) borrows init's filesystem for /f/core in coredump_file"
    )
    assert seen.facts("coredump").suid_dumpable == 2
    dumping = {task.name: task for task in seen.snapshot.tasks if task.has_flag(0x200)}
    assert {"borrower", "crasher"} <= set(dumping)
    assert dumping["crasher"].borrowing is False
    later = seen.snapshot.model_copy(deep=True)
    for task in later.tasks:
        task.waiting_s = 120.0
    found = seen.plugin("coredump").audit(later, seen.facts("coredump"))
    assert {f.title for f in found if f.rule == "NX-COREDUMP-STUCK"} == {
        f"borrower ({pids['borrower']}) dumps core at /f/core and has waited for 120 s",
        f"crasher ({pids['crasher']}) dumps core to what cannot be told without its stack "
        "(core_pattern is /f/core now), and has waited for 120 s",
    }
    assert seen.findings("unix_socket") == []
