"""Lookups by the kernel itself, caught in the act inside a guest: each once, with path, start, result and who asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.analysis.lookups import LookupMeaning
from explorer.codec import encode_trace_line
from explorer.model import Placement, TaskKind, TraceHeader, kernel_text
from tests.conftest import Run
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.lio_guest import make_disk
from tests.kernels.subsystems import run_steps
from tests.kernels.trace_guest import HOSTILE, LOOKERS, Order, Walk, load_walker
from tests.kernels.traced import TRACEFS, Traced, ours_in, trace_walks, tracing_state

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

_NOT_SUPPORTED = -95
#: Of the kernel's functions that call the one that looks up: what is not a helper's own execve.
_SECURITY = ("tomoyo_", "apparmor_", "security_")
#: An event of these kernels' buffers has no room for a path that is longer: of that the beginning is seen.
_LONGEST_WHOLE = {"6.1": 3900, "6.12": 3900, "7.3": 4095}
_LEAST_SEEN = 255
_KINDS = {
    "kworker": TaskKind.KWORKER,
    "workqueue": TaskKind.KWORKER,
    "kthread": TaskKind.KTHREAD,
    "kthread_worker": TaskKind.KTHREAD,
}
#: Somebody else's tracing: a tracer, an event, an instance that records it.
_OTHERS = (
    f"cd {TRACEFS}; echo do_exit >set_ftrace_filter; echo function >current_tracer",
    f"cd {TRACEFS}; echo 'p:other/opened do_sys_openat2' >>kprobe_events; mkdir instances/other",
    f"cd {TRACEFS}/instances/other; echo mono >trace_clock; echo 1 >events/other/opened/enable",
)
#: An initiator reserves LIO's disk; the reservation is written to a file by a kworker.
_RESERVE = ("/init lab-prout /dev/sda", "stat /db/pr/aptpl_mysn")
_BORROWS = "__core_scsi3_write_aptpl_to_file"
#: Kernels that tell where a relative path starts: the fprobe does, the kprobe of 6.1 only of absolute ones.
_STARTS_SEEN = ("7.3", "6.12")
#: A task that opens two files by relative paths on a filesystem that is mounted meanwhile; its pid is in a file.
_MOUNTER = (
    "mkdir /later; (while ! cd /later/in 2>/dev/null; do sleep 1; done; read a <one; sleep 2; read a <two; "
    "touch /tmp/mounted) & echo $! >/tmp/mounter"
)
_MOUNT = (
    "mount -t tmpfs came-later /later && mkdir /later/.in && echo 1 >/later/.in/one && echo 2 >/later/.in/two && "
    "mv /later/.in /later/in",
    "while ! test -e /tmp/mounted; do sleep 1; done",
)
_FILES = "mkdir -p /tmp/real && echo x >/tmp/real/file && ln -s /tmp/real /tmp/link"


def _orders(line: str) -> list[Order]:
    long = b"/" + b"/".join([b"z" * 200] * 20)
    hostile = (*HOSTILE, long[: _LONGEST_WHOLE[line]])
    return [
        *(
            Order(path, who)
            for who in LOOKERS
            for path in (b"/etc/passwd", b"etc/relative", b"/tmp/link/file")
        ),
        *(Order(b"/tmp/real/file", who, "filp_open") for who in LOOKERS),
        *(Order(path, who, borrow=True) for who in LOOKERS for path in (b"/tmp/link/file", b"/tmp/none")),
        Order(b"tmp/link/../real/file", "kthread"),
        Order(b"/tmp/real/file", "workqueue", "filp_open", borrow=True),
        *(Order(path, who) for path in hostile for who in ("kworker", "kthread")),
    ]


#: What a user task has the module look up, and what a helper is.
_USERS = [Order(b"/etc/passwd", "user"), Order(b"/tmp/real/file", "user", "filp_open")]
_HELPER = Order(b"/bin/busybox", call="helper")


class Scene:
    """A guest that was traced by root and through sudo, and somebody else's tracing around it."""

    def __init__(self, guest: Guest, line: str) -> None:
        load_walker(guest)
        run_steps(guest, "mount -t configfs configfs /sys/kernel/config", _FILES, *_OTHERS)
        make_disk(guest, 8, "mysn", "/store")
        orders = [*_orders(line), *_USERS, _HELPER]
        self.line = line
        self.before = tracing_state(guest)
        self.roads: dict[str, Traced] = {"root": trace_walks(guest, *orders, steps=_RESERVE)}
        self.left = ours_in(guest)
        self.between = tracing_state(guest)
        self.user, self.later = 0, ""
        watched: tuple[str, ...] = ()
        if line in _STARTS_SEEN:
            run_steps(guest, _MOUNTER)
            self.user = int(run_steps(guest, "cat /tmp/mounter"))
            watched = ("--user", str(self.user))
        self.roads["sudo"] = trace_walks(
            guest, *orders, how=("@sudo",), signal="TERM", options=watched, steps=_MOUNT if watched else ()
        )
        if watched:
            self.later = run_steps(guest, "grep ' /later ' /proc/self/mountinfo").split()[0]
        self.left += ours_in(guest)
        self.after = tracing_state(guest)
        self.others = run_steps(
            guest, f"cat {TRACEFS}/instances/other/trace | grep -v '^#' | tail -500"
        ).splitlines()


@pytest.fixture(scope="module", params=["7.3", "6.12", "6.1"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A guest that QEMU's emulation lets die is booted again, and it is said."""
    kernel, line = kernel_or_skip(request.param), request.param
    guest, made = boot_until(
        lambda: boot_live(kernel, "walked"), lambda guest: Scene(guest, line), f"{line} walked"
    )
    with guest:
        yield made


@pytest.fixture(params=["root", "sudo"])
def traced(scene: Scene, request: pytest.FixtureRequest) -> Traced:
    return scene.roads[request.param]


def _by_kernel(traced: Traced) -> list[Walk]:
    """What kernel threads looked up: who was to borrow where nobody can, did not."""
    made = [each for each in traced.made if each.who in LOOKERS and each.call != "helper"]
    return [each for each in made if each.result != _NOT_SUPPORTED]


def test_each_lookup_of_a_kernel_thread_is_caught_exactly_once(scene: Scene, traced: Traced) -> None:
    made = _by_kernel(traced)
    assert len(made) == len(_orders(scene.line)) - (0 if scene.line == "7.3" else 9)
    wrong = [(each, found) for each in made if len(found := traced.of(each)) != 1]
    assert wrong == []
    asked = [judged for judged in traced.judged() if judged.module == "walker"]
    assert len(asked) == len(made)


def test_what_is_caught_has_the_path_result_and_kind_that_the_kernel_says(
    scene: Scene, traced: Traced
) -> None:
    for made in _by_kernel(traced):
        [judged] = traced.of(made)
        found = judged.lookup
        is_cut, path = len(made.path) > _LONGEST_WHOLE[scene.line], kernel_text(made.path)
        assert found.path is not None and found.path_cut is is_cut
        assert (
            path.startswith(found.path) and len(found.path) >= _LEAST_SEEN if is_cut else found.path == path
        )
        assert (found.result, found.comm, found.cpu) == (made.result, made.comm, made.cpu)
        assert (found.kind, found.in_kernel) == (_KINDS[made.who], True)


def test_the_workqueue_is_the_one_that_the_module_has_queued_its_work_on(traced: Traced) -> None:
    queues = {"kworker": "events", "workqueue": "walker_queue"}
    told = {(made.who, judged.lookup.workqueue) for made in _by_kernel(traced) for judged in traced.of(made)}
    assert told == {(who, queues.get(who)) for who in LOOKERS}


def test_who_asked_is_the_function_of_the_module_with_its_taint(traced: Traced) -> None:
    for made in _by_kernel(traced):
        [judged] = traced.of(made)
        assert judged.asker is not None
        assert (judged.asker.function, judged.asker.module) == (LOOKERS[made.who][0], "walker")
        assert LOOKERS[made.who][0] == made.function
    [walker] = [module for module in traced.trace.header.modules if module.name == "walker"]
    assert "O" in walker.taints and "E" in walker.taints


def test_a_lookup_starts_in_nullfs_on_7_3_unless_it_borrows_and_before_that_where_init_is(
    traced: Traced,
) -> None:
    header = traced.trace.header
    for made in _by_kernel(traced):
        [judged] = traced.of(made)
        start = judged.lookup.start
        assert start is not None
        assert start.mount == _expected_start(header, made)
        assert (start.placement is Placement.NULLFS) == (start.mount == header.isolation_mount)


def _expected_start(header: TraceHeader, made: Walk) -> int | None:
    return (
        header.init_root_mount if made.borrowed or header.isolation_mount is None else header.isolation_mount
    )


def test_a_lookup_means_what_it_does_there(scene: Scene, traced: Traced) -> None:
    plain = LookupMeaning.FAILS if scene.line == "7.3" else LookupMeaning.WOULD_FAIL
    for made in _by_kernel(traced):
        [judged] = traced.of(made)
        assert judged.meaning.kind is (LookupMeaning.BORROWED if made.borrowed else plain)
    assert traced.code == 1, traced.printed


def test_the_same_lookups_by_user_tasks_do_not_appear(scene: Scene, traced: Traced) -> None:
    users = [made for made in traced.made if made.who == "user"]
    assert len(users) == len(_USERS)
    assert [judged for made in users for judged in traced.of(made)] == []
    assert [found for found in traced.trace.lookups if not found.in_kernel and found.pid != scene.user] == []


def test_a_subsystem_at_work_borrows_on_7_3_and_is_converted_upstream_before(scene: Scene) -> None:
    """LIO: a kworker of ``target_submission`` writes persistent reservations to a file."""
    found = [each for each in scene.roads["root"].judged() if each.lookup.path == "/db/pr/aptpl_mysn"]
    assert found and {each.lookup.result for each in found} == {0}
    expected = LookupMeaning.BORROWED if scene.line == "7.3" else LookupMeaning.CONVERTED
    for each in found:
        assert (each.meaning.kind, each.meaning.function, each.meaning.subsystem) == (
            expected,
            _BORROWS,
            "lio",
        )
        assert each.asker is not None and each.asker.label == f"{_BORROWS} [target_core_mod]"
        assert (each.lookup.kind, each.lookup.in_kernel) == (TaskKind.KWORKER, True)
        assert each.runs is not None and each.runs.work == "target_queued_submit_work"
        assert each.lookup.start is not None
        assert each.lookup.start.mount == scene.roads["root"].trace.header.init_root_mount


def test_the_readiness_of_a_machine_says_of_that_subsystem_what_its_own_modules_and_the_trace_tell(
    scene: Scene, run: Run, tmp_path: Path
) -> None:
    trace = scene.roads["root"].trace
    path = tmp_path / "t.jsonl"
    lines = [encode_trace_line(trace.header), *map(encode_trace_line, trace.lookups)]
    path.write_bytes(b"".join(lines))
    folder = kernel_or_skip(scene.line).directory / "modules"
    told = run("trace", path, "--readiness", "--modules", folder, "--where", "module:target_core_mod")
    [row] = [line for line in told.stdout.splitlines() if line.startswith("target_core_mod ")]
    assert re.search(r" converted +", row), row
    assert ("borrows init's fs" if scene.line == "7.3" else f"converted upstream: {_BORROWS}") in row, row


@pytest.mark.parametrize("scene", _STARTS_SEEN, indirect=True)
def test_a_mount_that_came_while_one_traces_has_its_name(scene: Scene) -> None:
    found = {
        each.path: each.start
        for each in scene.roads["sudo"].trace.lookups
        if each.pid == scene.user and each.path in ("one", "two")
    }
    assert set(found) == {"one", "two"}
    for start in found.values():
        assert start is not None
        assert (start.fstype, start.id, start.placement) == ("tmpfs", int(scene.later), None)


def test_a_usermodehelper_is_caught_as_one_and_not_what_it_does_as_a_program(traced: Traced) -> None:
    helpers = [judged for judged in traced.judged() if judged.lookup.kind is TaskKind.USERMODEHELPER]
    assert {judged.lookup.path for judged in helpers} == {"/bin/busybox"}
    assert {judged.meaning.kind for judged in helpers} == {LookupMeaning.USERMODEHELPER}
    own = [
        judged
        for judged in helpers
        if not any((frame.function or "").startswith(_SECURITY) for frame in judged.lookup.stack or ())
    ]
    assert [judged.lookup.result for judged in own] == [0]


def test_nothing_is_lost_and_nothing_made_no_sense(traced: Traced) -> None:
    end = traced.trace.end
    assert end is not None
    assert (end.reason, end.events_lost, end.lookups_lost, end.problems) == ("interrupted", 0, 0, [])
    assert end.lookups == len(traced.trace.lookups)


def test_a_trace_that_ends_by_a_signal_leaves_nothing(scene: Scene) -> None:
    assert scene.left == []


def test_somebody_elses_tracing_is_what_it_was_before_during_and_after(scene: Scene) -> None:
    assert "current_tracer\nfunction" in scene.before and "other/opened" in scene.before
    for later in (scene.roads["root"].during, scene.between, scene.roads["sudo"].during, scene.after):
        assert later == scene.before
    assert scene.others and all("opened:" in row for row in scene.others)
