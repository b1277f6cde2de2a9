"""Timelines: what must have happened between two frames, from a real boot and from states made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explorer.analysis.timeline.events import Event, EventKind
from explorer.analysis.timeline.follow import Timeline, build_timeline
from explorer.analysis.timeline.phases import Phase
from explorer.analysis.worlds import WorldKey
from explorer.model import (
    STUCK_S,
    Container,
    ContainerRuntime,
    Frame,
    Owner,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    UserModeHelper,
    Walk,
    task_name,
)
from explorer.recording.reader import Recording
from tests.conftest import DATA
from tests.unit.recordings import copy_of, frames_of

BOOT = DATA / "boot-7.3.nxrec"


@pytest.fixture(scope="module")
def boot() -> Timeline:
    with Recording.open(BOOT) as recording:
        assert recording.end is not None
        return build_timeline(recording.frames(), (recording.end.seconds, recording.end.reason))


def first(timeline: Timeline, kind: EventKind, text: str = "") -> Event:
    return next(event for event in timeline.events if event.kind is kind and text in event.text)


def test_a_real_boot_has_its_events_in_their_order(boot: Timeline) -> None:
    order = [
        first(boot, EventKind.READABLE),
        first(boot, EventKind.INITIAL, "PID 1 is swapper/0, which runs no program yet"),
        first(boot, EventKind.INITIAL, "userspace_init_fs is published"),
        first(boot, EventKind.UNPACK_BEGIN),
        first(boot, EventKind.BORROW_BEGIN, "do_populate_rootfs"),
        first(boot, EventKind.BORROW_END, "do_populate_rootfs"),
        first(boot, EventKind.UNPACK_END),
        first(boot, EventKind.PID1_EXEC, "its first program"),
        first(boot, EventKind.MOUNT, "/proc"),
        first(boot, EventKind.ROOT_MOUNTED, "squashfs"),
        first(boot, EventKind.SWITCH_ROOT, "rootfs#2 → squashfs#"),
        first(boot, EventKind.PID1_EXEC, "real-init"),
        first(boot, EventKind.CHROOT, "chrooted"),
        first(boot, EventKind.UNSHARE, "unsharer"),
        first(boot, EventKind.NAMESPACE, "container"),
        first(boot, EventKind.HELPER, "net-pf-37"),
        first(boot, EventKind.END),
    ]
    assert [boot.events.index(event) for event in order] == sorted(
        boot.events.index(event) for event in order
    )
    assert [event.seconds for event in boot.events] == sorted(event.seconds for event in boot.events)


def test_a_real_boot_goes_through_its_phases(boot: Timeline) -> None:
    assert [span.phase for span in boot.spans] == [
        Phase.UNREADABLE, Phase.KERNEL_INIT, Phase.UNPACKING, Phase.KERNEL_INIT, Phase.INITRAMFS, Phase.REAL_ROOT,
    ]  # fmt: skip
    assert [span.first for span in boot.spans[1:]] == [span.last + 1 for span in boot.spans[:-1]]
    assert [span.begin_s for span in boot.spans[1:]] == [span.end_s for span in boot.spans[:-1]]
    assert len(boot.phases) == boot.spans[-1].last + 1


def test_every_frame_has_its_numbers(boot: Timeline) -> None:
    length = len(boot.phases)
    assert {len(numbers) for numbers in boot.worlds.values()} == {length}
    assert len(boot.tasks) == len(boot.borrowers) == length
    for frame in range(length):
        assert sum(numbers[frame] for numbers in boot.worlds.values()) == boot.tasks[frame]
    span = next(span for span in boot.borrows if span.function == "do_populate_rootfs")
    assert all(boot.borrowers[frame] for frame in range(span.first, span.last + 1))
    assert boot.most_borrowers == max(boot.borrowers) >= 1
    assert boot.worlds[WorldKey.NULLFS][-1] > 20


def test_events_are_stepped_through_both_ways(boot: Timeline) -> None:
    event = first(boot, EventKind.SWITCH_ROOT)
    assert event in boot.events_at(event.frame)
    before, after = boot.previous_event(event.frame), boot.next_event(event.frame)
    assert before is not None and after is not None
    assert before.frame < event.frame < after.frame
    assert boot.next_event(len(boot.phases)) is None
    assert boot.previous_event(0) is None


Change = Callable[[Snapshot], None]


def events_of(before: Snapshot, *changes: Change) -> list[Event]:
    """The events of the frames that the changes make, one after another."""
    snapshots = [before]
    for change in changes:
        now = copy_of(snapshots[-1])
        change(now)
        snapshots.append(now)
    return [event for event in build_timeline(frames_of(snapshots)).events if event.frame > 0]


def kinds(events: list[Event]) -> list[EventKind]:
    return [event.kind for event in events]


def task(snapshot: Snapshot, pid: int) -> Task:
    return next(task for task in snapshot.tasks if task.pid == pid)


def a_kworker(snapshot: Snapshot) -> Task:
    return next(task for task in snapshot.tasks if task.kind == "kworker")


@pytest.fixture
def quiet(isolated: Snapshot) -> Snapshot:
    """Nobody borrows, and no helper runs."""
    for one in isolated.tasks:
        if one.borrowing:
            one.borrowing, one.fs = False, one.real_fs
    del isolated.usermodehelpers[:]
    isolated.tasks[:] = [one for one in isolated.tasks if one.pid == 1 or one.owner is not Owner.SHARED]
    return isolated


def test_nothing_happened_where_nothing_changed(quiet: Snapshot) -> None:
    assert events_of(quiet, lambda now: None, lambda now: None) == []


def test_a_borrow_is_one_span_however_many_frames_it_has(quiet: Snapshot) -> None:
    def borrow(now: Snapshot) -> None:
        worker = a_kworker(now)
        worker.borrowing, worker.fs = True, now.kernel.userspace_init_fs
        assert worker.kthread is not None
        worker.kthread.current_func = "request_firmware_work_func"
        worker.walk = Walk(path="/lib/firmware/x", root=None, start=None, in_init=False)

    def give_back(now: Snapshot) -> None:
        worker = a_kworker(now)
        worker.borrowing, worker.fs, worker.walk = False, worker.real_fs, None

    snapshots = [quiet]
    for change in (borrow, lambda now: None, lambda now: None, give_back):
        snapshots.append(copy_of(snapshots[-1]))
        change(snapshots[-1])
    timeline = build_timeline(frames_of(snapshots))
    (span,) = timeline.borrows
    assert (span.first, span.last, span.ended, span.path) == (1, 3, True, "/lib/firmware/x")
    assert span.function == "request_firmware_work_func"
    assert span.seconds == pytest.approx(0.15)
    assert timeline.borrowers == [0, 1, 1, 1, 0]
    events = [event for event in timeline.events if event.frame]
    assert kinds(events) == [EventKind.BORROW_BEGIN, EventKind.BORROW_END]
    assert "request_firmware_work_func" in events[0].text


def test_a_borrow_that_outlasts_the_recording_has_no_end(quiet: Snapshot) -> None:
    now = copy_of(quiet)
    a_kworker(now).borrowing = True
    timeline = build_timeline(frames_of([quiet, now]))
    assert [span.ended for span in timeline.borrows] == [False]
    assert EventKind.BORROW_END not in kinds(timeline.events)


def test_pid_1_abandoning_is_an_event_once(fixture_snapshots: dict[str, Snapshot], quiet: Snapshot) -> None:
    def abandon(now: Snapshot) -> None:
        shared = now.fs_by_address[now.kernel.userspace_init_fs or 0]
        own = shared.model_copy(deep=True)
        own.address += 0x1000
        now.fs_structs.append(own)
        init = task(now, 1)
        init.fs = init.real_fs = own.address
        init.owner = Owner.PRIVATE
        assert shared.root is not None
        shared.root.placement = Placement.NULLFS

    events = events_of(quiet, abandon, lambda now: None)
    assert kinds(events).count(EventKind.ABANDONED) == 1
    assert "points into nullfs" in next(event for event in events if event.kind is EventKind.ABANDONED).text


def test_kernel_threads_that_come_together_are_one_event(quiet: Snapshot) -> None:
    def load(now: Snapshot) -> None:
        template = next(one for one in now.tasks if one.kind == "kthread" and one.pid > 2)
        for number in range(4):
            thread = template.model_copy(deep=True)
            thread.address, thread.pid = thread.address + 0x10000 * (number + 1), 900 + number
            thread.comm = f"ksmbd/{number}"
            assert thread.kthread is not None
            thread.kthread.module = None
            thread.kthread.full_name = None
            now.tasks.append(thread)

    (event,) = events_of(quiet, load)
    assert event.kind is EventKind.KTHREADS
    assert event.text == "4 ksmbd threads added: ksmbd/0 (900), ksmbd/1 (901), ksmbd/2 (902) and 1 more"


def test_a_kernel_thread_that_comes_alone_is_named_and_not_counted_as_a_sort(quiet: Snapshot) -> None:
    def start(now: Snapshot, *names: str) -> None:
        template = next(one for one in now.tasks if one.kind == "rescuer")
        for number, name in enumerate(names):
            thread = template.model_copy(deep=True)
            thread.address, thread.pid = thread.address + 0x10000 * (number + 1), 900 + number
            assert thread.kthread is not None
            thread.comm = thread.kthread.full_name = name
            thread.kind = TaskKind.RESCUER if name.startswith("kworker/R") else TaskKind.KTHREAD
            now.tasks.append(thread)

    (one,) = events_of(quiet, lambda now: start(now, "kworker/R-mld"))
    assert one.text == "1 kernel thread added: rescuer kworker/R-mld (900)"
    (two,) = events_of(quiet, lambda now: start(now, "kswapd0", "kdamond.0"))
    assert two.text == "2 kernel threads added: kswapd0 (900) and kdamond.0 (901)"
    (many,) = events_of(quiet, lambda now: start(now, "kworker/R-a", "kworker/R-b", "kswapd0", "kauditd"))
    assert many.text == "4 kernel threads added: 2 rescuers, kswapd0 (902) and kauditd (903)"


def test_what_the_first_readable_frame_finds_is_state_and_nothing_that_happened(quiet: Snapshot) -> None:
    a_kworker(quiet).borrowing = True
    later = copy_of(quiet)
    a_kworker(later).borrowing = False
    timeline = build_timeline(frames_of([quiet, later]))
    at_first = [event for event in timeline.events if event.frame == 0]
    assert {event.kind for event in at_first} == {EventKind.READABLE, EventKind.INITIAL}
    borrow = next(event for event in at_first if "borrow" in event.text)
    assert "is borrowing userspace_init_fs" in borrow.text
    (span,) = timeline.borrows
    assert span.from_start
    assert "after at least 0.1 s" in first(timeline, EventKind.BORROW_END).text


def test_the_line_of_an_event_says_its_sort_once(boot: Timeline) -> None:
    assert first(boot, EventKind.SWITCH_ROOT).line.startswith(
        "PID 1 went from rootfs#2 to squashfs#30 by switch_root"
    )
    assert first(boot, EventKind.INITIAL).line.startswith("already there: PID 1 is ")
    assert first(boot, EventKind.END).line.startswith("recording ends: ")
    assert first(boot, EventKind.KTHREADS).line.startswith("3 rescuers added: kworker/R-")


def test_a_helper_is_an_event_when_it_appears_only(quiet: Snapshot) -> None:
    def run(now: Snapshot) -> None:
        helper = UserModeHelper(
            address=1, path="/sbin/modprobe", argv=["/sbin/modprobe", "-q", "x"], waiting_worker=None, process=None,
            before_exec=False,
        )  # fmt: skip
        now.usermodehelpers.append(helper)

    (event,) = events_of(quiet, run, lambda now: None)
    assert (event.kind, event.text) == (EventKind.HELPER, "the kernel runs /sbin/modprobe -q x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (None, "/sbin/modprobe (modprobe_path by now) -q x"),
        (["/old/modprobe", "-q", "x"], "/old/modprobe -q x"),
    ],
)
def test_a_helper_whose_setting_was_changed_is_told_by_what_it_runs_or_said_to_be_as_set_by_now(
    quiet: Snapshot, arguments: list[str] | None, words: str
) -> None:
    def run(now: Snapshot) -> None:
        helper = UserModeHelper(
            address=1, path="/sbin/modprobe", argv=["/sbin/modprobe", "-q", "x"], waiting_worker=None, process=None,
            before_exec=False, setting="modprobe_path", arguments=arguments,
        )  # fmt: skip
        now.usermodehelpers.append(helper)

    (event,) = events_of(quiet, run, lambda now: None)
    assert event.text == f"the kernel runs {words}"


def test_tasks_that_go_into_a_container_together_are_one_event_and_a_group_not_read_is_none(
    quiet: Snapshot,
) -> None:
    pids = [each.pid for each in quiet.tasks if each.kind is TaskKind.USER and each.pid == each.tgid][:2]
    for each in quiet.tasks:
        each.cgroup = "/"

    def enter(now: Snapshot) -> None:
        for pid in pids:
            moved = task(now, pid)
            moved.cgroup = "/docker/web"
            moved.container = Container(runtime=ContainerRuntime.DOCKER, id="web")

    def unread(now: Snapshot) -> None:
        for pid in pids:
            task(now, pid).cgroup = task(now, pid).container = None

    def elsewhere(now: Snapshot) -> None:
        task(now, 1).cgroup = "/init.scope"

    names = " and ".join(task_name(task(quiet, pid)) for pid in pids)
    assert [
        (event.frame, event.kind, event.text) for event in events_of(quiet, enter, unread, elsewhere)
    ] == [
        (1, EventKind.CGROUP, f"{names} move from no container to docker web, cgroup / → /docker/web"),
        (3, EventKind.CGROUP, "nx-init (1) moves cgroup / → /init.scope"),
    ]


def hang(now: Snapshot, waiting_s: float, *pids: int, state: str = "D") -> None:
    for pid in pids:
        one = task(now, pid)
        one.walk, one.state, one.waiting_s = (
            Walk(path="/mnt/file", root=None, start=None, in_init=False),
            state,
            waiting_s,
        )


def wake(now: Snapshot, *pids: int) -> None:
    for pid in pids:
        one = task(now, pid)
        one.walk, one.state, one.waiting_s = None, "R", None


def test_a_hang_begins_when_it_has_lasted_long_enough_and_ends_when_it_is_seen_to(quiet: Snapshot) -> None:
    pid = next(each.pid for each in quiet.tasks if each.kind is TaskKind.USER)
    name = task_name(task(quiet, pid))

    def unread(now: Snapshot) -> None:
        task(now, pid).waiting_s = None

    events = events_of(
        quiet,
        lambda now: hang(now, STUCK_S / 2, pid),
        lambda now: hang(now, STUCK_S + 1, pid),
        lambda now: hang(now, STUCK_S + 3, pid),
        unread,
        lambda now: hang(now, STUCK_S + 4, pid),
        lambda now: wake(now, pid),
    )
    assert [(event.frame, event.kind, event.text, event.pid) for event in events] == [
        (2, EventKind.HANG_BEGIN, f"{name} has looked up /mnt/file for 11 s, in D state", pid),
        (
            6,
            EventKind.HANG_END,
            f"{name} no longer hangs in the lookup of /mnt/file, after at least 14 s",
            pid,
        ),
    ]


def test_a_task_that_hung_and_is_gone_is_said_to_be_and_one_in_a_lookup_that_waits_for_a_user_never_hung(
    quiet: Snapshot,
) -> None:
    first_pid, second_pid = [each.pid for each in quiet.tasks if each.kind is TaskKind.USER][:2]
    name = task_name(task(quiet, first_pid))

    def die(now: Snapshot) -> None:
        now.tasks = [each for each in now.tasks if each.pid != first_pid]

    def begin(now: Snapshot) -> None:
        hang(now, STUCK_S, first_pid)
        hang(now, STUCK_S, second_pid, state="S")

    events = events_of(quiet, begin, die)
    assert [event.kind for event in events] == [EventKind.HANG_BEGIN, EventKind.HANG_END]
    assert events[1].text.endswith(f"; gone: {name}")


def test_what_hangs_in_the_first_frame_was_there_before_and_is_told_again_after_a_reboot(
    quiet: Snapshot,
) -> None:
    pid = next(each.pid for each in quiet.tasks if each.kind is TaskKind.USER)
    hang(quiet, STUCK_S + 1, pid)
    frames = frames_of([quiet, quiet])
    events = build_timeline([frames[0], frames[1], replace(frames[1], index=2, segment=1)]).events
    assert [(event.frame, event.kind) for event in events if "/mnt/file" in event.text] == [
        (0, EventKind.INITIAL),
        (2, EventKind.INITIAL),
    ]


def test_a_new_boot_begins_anew(quiet: Snapshot) -> None:
    a_kworker(quiet).borrowing = True
    frames = [Frame(0, 0.0, 0, quiet), Frame(1, 1.0, 1, None, "not yet"), Frame(2, 2.0, 1, copy_of(quiet))]
    timeline = build_timeline(frames)
    assert [event.frame for event in timeline.events if event.kind is EventKind.READABLE] == [0, 2]
    assert [event.frame for event in timeline.events if event.kind is EventKind.SEGMENT] == [1]
    assert [span.ended for span in timeline.borrows] == [False, False]
    assert [span.segment for span in timeline.spans] == [0, 1, 1]


def test_facts_of_a_strange_plugin_do_not_stop_a_timeline(quiet: Snapshot) -> None:
    worker = a_kworker(quiet)
    assert worker.kthread is not None
    worker.kthread.current_func = "async_run_entry_fn"
    strange: tuple[Any, ...] = (
        5,
        {},
        {"pending": 3},
        {"pending": [3, {}, {"worker": 1}, {"worker": {"address": 5}}]},
    )
    for facts in strange:
        quiet.plugins["initramfs"] = facts
        assert build_timeline(frames_of([quiet])).phases == [Phase.INITRAMFS]


def test_every_generation_gives_a_timeline(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        timeline = build_timeline(frames_of([snapshot, snapshot]))
        assert timeline.events[0].kind is EventKind.READABLE
        assert {event.frame for event in timeline.events} == {0}


def test_an_empty_recording_gives_an_empty_timeline() -> None:
    assert build_timeline([], (0.0, "x")) == Timeline()


def test_the_recording_of_the_repository_is_small(tmp_path: Path) -> None:
    with Recording.open(BOOT) as recording:
        readable = len(recording) - sum(recording.unreadable)
        assert recording.size < 100_000
        assert recording.size / readable < 5000
