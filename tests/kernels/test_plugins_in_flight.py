"""What is in flight when a setting is changed: helpers, core dumps and device nodes are told by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.model import Severity, Snapshot, Task
from tests.kernels.conftest import ENDS
from tests.kernels.lab import Guest
from tests.kernels.subsystems import Seen, above_info, capture_guest, run_steps, wait_until

pytestmark = pytest.mark.kernel

PLUGINS = ("coredump", "devtmpfs", "firmware", "umh", "unix_socket")
MODPROBE = "/proc/sys/kernel/modprobe"
PATTERN = "/proc/sys/kernel/core_pattern"
DUMPABLE = "/proc/sys/fs/suid_dumpable"


@dataclass(frozen=True)
class Held:
    seen: Seen
    driver: int
    """Whose kernel stack has devtmpfs_create_node(), as the guest shows it."""
    released: Seen


@pytest.fixture(scope="module", params=ENDS)
def held(request: pytest.FixtureRequest) -> Iterator[Held]:
    with Guest.boot(request.param, "devices") as guest:
        run_steps(guest, "touch /log; /init lab-hold-dir /dev >/log 2>&1 &")
        wait_until(guest, "grep -q handle_userfault /proc/[0-9]*/stack")
        # nothing in /dev: before 7.x the shell itself waits for that lock, to open a file that it might make
        run_steps(guest, "insmod /modules/loop.ko </log >/log 2>&1 &")
        waiting = "grep -lE 'devtmpfs_(create_node|submit_req)' /proc/[0-9]*/stack"
        wait_until(guest, f"{waiting} | grep -q stack")
        time.sleep(12)
        driver = int(run_steps(guest, waiting).split("/")[2])
        seen = capture_guest(guest, *PLUGINS)
        run_steps(guest, "kill -9 $(grep -l lab-hold-dir /proc/[0-9]*/comm | cut -d/ -f3)")
        wait_until(guest, "test -e /dev/loop-control && ! pidof insmod")
        yield Held(seen, driver, capture_guest(guest, *PLUGINS))


def test_a_driver_that_waits_for_a_stuck_kdevtmpfs_is_named_with_its_device(held: Held) -> None:
    facts = held.seen.facts("devtmpfs")
    assert (facts.missing, facts.requests) == ([], [])
    (request,) = facts.taken
    assert (request.name, request.removes) == ("loop-control", False)
    driver = next(task for task in held.seen.snapshot.tasks if task.pid == held.driver)
    assert (request.waiter.address, driver.state) == (driver.address, "D")
    (finding,) = held.seen.findings("devtmpfs")
    assert (finding.rule, finding.severity) == ("NX-DEVTMPFS-REQUESTS", Severity.HIGH)
    assert f"loop-control (for insmod ({held.driver})), in D state" in finding.title
    assert [reference.address for reference in finding.evidence] == [facts.thread, driver.address]


def test_a_kdevtmpfs_that_was_let_go_is_no_longer_found(held: Held) -> None:
    facts = held.released.facts("devtmpfs")
    assert (facts.missing, facts.requests, facts.taken) == ([], [], [])
    assert held.released.findings("devtmpfs") == []


def test_a_stuck_kdevtmpfs_whose_stack_is_not_in_the_dump_is_found_by_its_state(held: Held) -> None:
    facts = held.seen.facts("devtmpfs").model_copy(update={"taken": None})
    (finding,) = held.seen.plugin("devtmpfs").audit(held.seen.snapshot, facts)
    assert finding.severity is Severity.HIGH
    assert "whom it keeps waiting is not known" in finding.title


@dataclass(frozen=True)
class Helping:
    helpers: Seen
    programs: dict[int, str]
    """pid of each helper -> /proc/PID/exe."""
    arguments: dict[int, list[str]]
    asker: int
    crasher: int


@dataclass(frozen=True)
class Flight:
    dumps: Seen
    in_stack: dict[str, int]
    """A function of the kernel -> whose stack shows it."""


def pid_of(guest: Guest, line: str) -> int:
    return int(run_steps(guest, line).split()[0])


def start_helpers(guest: Guest) -> tuple[int, int]:
    """A modprobe that sleeps and a core pipe that does not read; then all settings are changed. Who waits for them."""
    run_steps(
        guest,
        f"ln /init /umh-sleeper; ln /init /core-sleeper; echo /umh-sleeper >{MODPROBE}",
        "/init lab-socket 9 >/dev/null 2>&1 &",
    )
    wait_until(guest, "pidof umh-sleeper")
    run_steps(guest, f"echo '|/core-sleeper %p' >{PATTERN}", "/init lab-crash >/dev/null 2>&1 &")
    wait_until(guest, "pidof core-sleeper")
    wait_until(guest, "grep -qE 'pipe_write|dump_emit|anon_pipe_write' /proc/[0-9]*/stack")
    asker = pid_of(guest, "grep -l ' call_usermodehelper_exec+' /proc/[0-9]*/stack | cut -d/ -f3")
    run_steps(guest, f"ls /no /no/such || true; echo /no/such >{MODPROBE}; echo core >{PATTERN}")
    return asker, pid_of(guest, "tr '\\0' ' ' </proc/$(pidof core-sleeper)/cmdline | cut -d' ' -f2")


@pytest.fixture(scope="module", params=ENDS)
def helping(request: pytest.FixtureRequest) -> Iterator[Helping]:
    with Guest.boot(request.param, "shell") as guest:
        asker, crasher = start_helpers(guest)
        helpers = capture_guest(guest, "umh")
        pids = [pid_of(guest, f"pidof {name}") for name in ("umh-sleeper", "core-sleeper")]
        programs = {pid: run_steps(guest, f"readlink /proc/{pid}/exe").strip() for pid in pids}
        arguments = {pid: run_steps(guest, f"tr '\\0' '\\n' </proc/{pid}/cmdline").split() for pid in pids}
        yield Helping(helpers, programs, arguments, asker, crasher)


@pytest.fixture(scope="module")
def flight() -> Iterator[Flight]:
    with Guest.boot("7.3", "shell") as guest:
        run_steps(
            guest,
            "mkdir /f; /init lab-fuse /f",
            f"echo 2 >{DUMPABLE}; echo /f/a/core >{PATTERN}; /init lab-crash 1000 >/dev/null 2>&1 &",
        )
        wait_until(guest, "grep -l path_openat $(grep -l vfs_coredump /proc/[0-9]*/stack) | grep -q stack")
        run_steps(guest, f"echo '@/f/core.sock' >{PATTERN}; /init lab-crash >/dev/null 2>&1 &")
        wait_until(guest, "grep -q unix_find_other /proc/[0-9]*/stack")
        run_steps(guest, f"echo 0 >{DUMPABLE}; echo /elsewhere/core >{PATTERN}")
        functions = {
            "file": "grep -l path_openat $(grep -l vfs_coredump /proc/[0-9]*/stack) | cut -d/ -f3",
            "socket": "grep -l unix_find_other /proc/[0-9]*/stack | cut -d/ -f3",
        }
        in_stack = {name: pid_of(guest, line) for name, line in functions.items()}
        dumps = capture_guest(guest, *PLUGINS)
        yield Flight(dumps, in_stack)


def test_a_helper_is_shown_with_the_program_it_runs_whatever_modprobe_says_by_now(helping: Helping) -> None:
    seen = helping.helpers
    facts = seen.facts("umh")
    assert facts.missing == []
    tasks = seen.snapshot.task_by_address
    found = {tasks[process.process.address].pid: process for process in facts.processes}
    assert {pid: process.exe.path for pid, process in found.items()} == helping.programs
    assert {pid: process.arguments for pid, process in found.items()} == helping.arguments
    (helper,) = facts.waiting
    assert (helper.path, facts.modprobe_path) == ("/no/such", "/no/such")
    core = {row.process: row for row in seen.snapshot.usermodehelpers}
    assert {row.setting for row in core.values()} == {"modprobe_path", None}
    assert {row.exe.path for row in core.values() if row.exe is not None} == set(helping.programs.values())


def test_who_wants_a_module_and_who_dumps_core_are_those_that_wait_for_the_helpers(helping: Helping) -> None:
    facts = helping.helpers.facts("umh")
    tasks = helping.helpers.snapshot.task_by_address
    (helper,) = facts.waiting
    assert [tasks[waiter.address].pid for waiter in helper.wanted_by] == [helping.asker]
    waiting = {
        process.exe.path: [tasks[task.address].pid for task in process.dump_of] for process in facts.processes
    }
    assert waiting == {"/umh-sleeper": [], "/core-sleeper": [helping.crasher]}
    served = {process.exe.path: process.worker for process in facts.processes}
    assert served == {"/umh-sleeper": helper.worker.address, "/core-sleeper": None}


def test_a_modprobe_that_does_not_exist_for_init_is_found(helping: Helping) -> None:
    (finding,) = above_info(helping.helpers.findings("umh"))
    assert (finding.rule, finding.severity) == ("NX-UMH-NO-MODPROBE", Severity.MEDIUM)
    assert finding.title == "kernel.modprobe is /no/such, which does not exist for init"


def waited(snapshot: Snapshot, seconds: float) -> Snapshot:
    """The snapshot, with all who sleep sleeping since then: the clock would tell it a minute later."""
    changed = snapshot.model_copy(deep=True)
    for task in changed.tasks:
        task.waiting_s = seconds
    return changed


def test_a_helper_that_somebody_waits_for_is_found_after_a_minute_and_not_before(helping: Helping) -> None:
    plugin, facts = helping.helpers.plugin("umh"), helping.helpers.facts("umh")
    for seconds, number in ((59.0, 0), (61.0, 2)):
        changed = waited(helping.helpers.snapshot, seconds)
        found = [f for f in plugin.audit(changed, facts) if f.rule == "NX-UMH-STUCK"]
        assert len(found) == number
    titles = sorted(finding.title for finding in found)
    assert f"(/core-sleeper) has not ended; init ({helping.crasher}) waits for it, for 61 s" in titles[0]
    assert "(/umh-sleeper) has not ended; kworker/" in titles[1]
    assert f"init ({helping.asker}) wait for it, for 61 s" in titles[1]


def test_a_helper_that_only_sleeps_and_that_nobody_waits_for_is_not_stuck(helping: Helping) -> None:
    facts = helping.helpers.facts("umh").model_copy(deep=True)
    facts.waiting = []
    for process in facts.processes:
        process.dump_of = []
    found = helping.helpers.plugin("umh").audit(waited(helping.helpers.snapshot, 86_400.0), facts)
    assert "NX-UMH-STUCK" not in {finding.rule for finding in found}


def dumping(snapshot: Snapshot, pid: int) -> Task:
    return next(task for task in snapshot.tasks if task.pid == pid)


def test_a_dump_in_flight_is_told_by_its_walk_whatever_the_settings_say_by_now(flight: Flight) -> None:
    seen = flight.dumps
    assert (seen.facts("coredump").core_pattern, seen.facts("coredump").suid_dumpable) == (
        "/elsewhere/core",
        0,
    )
    file, socket = (dumping(seen.snapshot, flight.in_stack[name]) for name in ("file", "socket"))
    assert (file.borrowing, socket.borrowing) == (True, True)
    for plugin, task, path in (
        ("coredump", file, "/f/a/core in coredump_file"),
        ("unix_socket", socket, "/f/core.sock in unix_find_bsd"),
    ):
        (finding,) = [f for f in seen.findings(plugin) if f.rule.endswith("-BORROWER")]
        assert finding.title == f"init ({task.pid}) borrows init's filesystem for {path}"
        assert finding.evidence[0].address == task.address


def test_a_dump_of_which_nothing_tells_where_it_goes_is_said_to_be_unknown(flight: Flight) -> None:
    """A snapshot of an earlier version has neither the walk's flags nor a stack."""
    snapshot = waited(flight.dumps.snapshot, 120.0)
    task = dumping(snapshot, flight.in_stack["socket"])
    assert task.walk is not None
    task.walk.flags = None
    found = list(flight.dumps.plugin("unix_socket").audit(snapshot, flight.dumps.facts("unix_socket")))
    assert found == []
    found = list(flight.dumps.plugin("coredump").audit(snapshot, flight.dumps.facts("coredump")))
    (finding,) = [f for f in found if f.rule.endswith("-BORROWER") and f.evidence[0].address == task.address]
    assert finding.title.endswith("in coredump_file or unix_find_bsd")
    assert "cannot be told" in finding.explanation
    task.walk = None
    found = list(flight.dumps.plugin("coredump").audit(snapshot, flight.dumps.facts("coredump")))
    (finding,) = [f for f in found if f.rule.endswith("-STUCK") and f.evidence[0].address == task.address]
    assert "to what cannot be told without its stack (core_pattern is /elsewhere/core now)" in finding.title
