"""What changed between two readings: events, marks, the log, and the interval. No kernel and no child in here."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from textual import events

from explorer.analysis.diff.changes import Changes, EventKind, find_changes
from explorer.model import Finding, Reference, Severity, Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.events import EventsScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.session.children.child import ReaderFailure, Reading
from explorer.tui.session.event_log import EventLog
from explorer.tui.session.schedule import INTERVALS, Schedule, age
from explorer.tui.session.state import Session
from explorer.tui.session.target import QUIET_S, Target
from tests.tui.conftest import SAVED, Golden, Pilots, drive, press, screen_text
from tests.tui.later import make_later
from tests.tui.test_goldens import SIZES, app_with_findings

NOON = datetime(2026, 11, 23, 12, 0, 0)


@pytest.fixture(scope="module")
def later(saved: Snapshot) -> Snapshot:
    return make_later(saved)


@pytest.fixture(scope="module")
def changes(saved: Snapshot, later: Snapshot) -> Changes:
    return find_changes(saved, later)


def texts(changes: Changes, kind: EventKind) -> list[str]:
    return [event.text for event in changes.events if event.kind is kind]


# -- events --------------------------------------------------------------------------------------------------


def test_each_thing_that_happened_is_one_event_of_its_kind(changes: Changes) -> None:
    assert len(texts(changes, EventKind.APPEARED)) == 1
    assert [text.split(",")[0] for text in texts(changes, EventKind.GONE)] == ["plain-b (91)"]
    (root,) = texts(changes, EventKind.ROOT)
    assert root.startswith("plain-a (90): root: init-root rootfs#2:/ → chroot rootfs#2:/jail")
    assert [text.split()[0] for text in texts(changes, EventKind.BORROW_BEGINS)] == ["kthreadd"]
    assert [text.split()[0] for text in texts(changes, EventKind.BORROW_ENDS)] == ["borrower"]
    (users,) = texts(changes, EventKind.USERS)
    assert "users: 1 → 2" in users and "holders: 1 → 2" in users
    assert len(texts(changes, EventKind.MOUNTED)) == 1
    assert not texts(changes, EventKind.REBOOT)


def test_marks_are_on_what_is_new_and_what_changed_and_on_nothing_else(
    saved: Snapshot, later: Snapshot, changes: Changes
) -> None:
    marked = {
        task.comm: changes.marks[("task", task.address)]
        for task in later.tasks
        if ("task", task.address) in changes.marks
    }
    assert set(marked) - {"plain-a", "kthreadd", "borrower"} == {later.tasks[-1].comm}
    assert marked["plain-a"] == "~" and marked[later.tasks[-1].comm] == "+"
    assert changes.marks[("mount", 0xFFFF888000002000)] == "+"


def test_two_readings_of_the_same_give_no_event(saved: Snapshot) -> None:
    found = find_changes(saved, saved.model_copy(deep=True))
    assert not found.events and not found.marks


def test_another_boot_is_one_event_and_not_a_hundred(saved: Snapshot) -> None:
    other = saved.model_copy(deep=True)
    other.kernel.boot_time = "2020-01-01T00:00:00+00:00"
    other.tasks.clear()
    found = find_changes(saved, other)
    assert [event.kind for event in found.events] == [EventKind.REBOOT]
    assert not found.marks


def finding(title: str, address: int) -> Finding:
    evidence = [Reference(kind="task", address=address, label="x (1)")]
    return Finding(
        rule="NX-T", severity=Severity.HIGH, title=title, evidence=evidence, explanation="", advice=""
    )


def test_a_finding_that_only_counts_seconds_is_neither_new_nor_gone(saved: Snapshot) -> None:
    same = find_changes(saved, saved, [finding("for 1 s", 1)], [finding("for 2 s", 1)])
    assert not same.events
    moved = find_changes(saved, saved, [finding("a", 1)], [finding("b", 2)])
    assert [event.kind for event in moved.events] == [EventKind.FINDING_NEW, EventKind.FINDING_GONE]


def test_a_verdict_that_changes_is_the_first_event(saved: Snapshot) -> None:
    moved = saved.model_copy(deep=True)
    moved.tasks[:] = [task for task in moved.tasks if task.pid != 1]
    found = find_changes(saved, moved)
    assert found.events[0].kind is EventKind.VERDICT


# -- the log -------------------------------------------------------------------------------------------------


def test_the_log_drops_the_oldest_and_counts_them() -> None:
    log = EventLog(most=3)
    for number in range(5):
        log.note("note", f"{number}", NOON)
    assert [entry.text for entry in log.newest_first()] == ["4", "3", "2"]
    assert (log.added, log.dropped, log.unseen) == (5, 2, 5)


def test_the_log_escapes_what_the_kernel_says(changes: Changes) -> None:
    log = EventLog()
    log.add_events(changes.events, NOON)
    assert len(log) == len(changes.events)
    assert all(entry.text.isprintable() for entry in log.newest_first())
    assert any("\\e[31m[bold]evil\\n\\u202e" in entry.text for entry in log.newest_first())
    first = log.newest_first()[0]
    assert (first.what, first.when) == (changes.events[0].kind.value, "12:00:00")


# -- the interval --------------------------------------------------------------------------------------------


def test_the_key_goes_through_the_intervals_and_back_to_none() -> None:
    schedule, seen = Schedule(), []
    for _ in INTERVALS:
        schedule.next_interval()
        seen.append(schedule.interval)
    assert seen == [1.0, 2.0, 5.0, 10.0, None]
    schedule.interval = 3.5  # from the command line
    schedule.next_interval()
    assert schedule.interval == 5.0


def test_failures_wait_longer_each_time_and_a_success_mends_it() -> None:
    schedule = Schedule(2.0)
    schedule.ended(100.0, ok=True)
    assert schedule.due_in(100.5) == 1.5
    waits = []
    for _ in range(7):
        schedule.ended(200.0, ok=False)
        waits.append(schedule.due_in(200.0))
    assert waits == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    schedule.ended(300.0, ok=True)
    assert schedule.due_in(303.0) == 0.0
    assert Schedule(None).due_in(1e9) is None
    long = Schedule(600.0)
    long.ended(0.0, ok=False)
    assert long.due_in(0.0) == 600.0


def test_ages_are_short_words() -> None:
    assert [age(seconds) for seconds in (0.4, 119, 600, 8000)] == [
        "0 s old",
        "119 s old",
        "10 min old",
        "2 h old",
    ]


# -- the app -------------------------------------------------------------------------------------------------


class Kernel:
    """Stands in for the reader's child: gives one snapshot after the other, or fails."""

    def __init__(self, *readings: Snapshot | ReaderFailure) -> None:
        self._readings = list(readings)
        self.asked = self.at_once = self.most_at_once = 0

    async def read(self, target: Target) -> Reading:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.05)
        self.at_once -= 1
        reading = self._readings[0] if len(self._readings) == 1 else self._readings.pop(0)
        if isinstance(reading, ReaderFailure):
            raise reading
        return Reading(reading)


def watching(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, snapshot: Snapshot, interval: float | None = None
) -> ExplorerApp:
    monkeypatch.setattr(Target, "read", lambda target: kernel.read(target))
    return ExplorerApp(Session(("live",), running=True, interval=interval), snapshot)


def test_a_reading_again_marks_rows_and_fills_the_log_and_enter_goes_to_the_task(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = watching(monkeypatch, Kernel(later), saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "v", "r")
        screen = app.screen
        assert isinstance(screen, TasksScreen) and screen.tasks is not None
        assert "new" in app.status
        lines = screen_text(app).splitlines()
        assert any(line.startswith("~  kthreadd") for line in lines), lines
        await press(pilot, "L")
        assert isinstance(app.screen, EventsScreen)
        assert "new" not in app.status
        text = screen_text(app)
        assert "root changed" in text and "\\e[31m[bold]evil\\n\\u202e" in text
        assert all(character.isprintable() for character in text.replace("\n", ""))
        at = next(i for i, e in enumerate(app.source.log.newest_first()) if e.what == "root changed")
        app.screen.table.put_cursor(at)
        await press(pilot, "enter")
        selected = screen.selected()
        here: object = app.screen
        assert here is screen and selected is not None and selected.label == "plain-a (90)"

    drive(app, steps)


def test_what_is_gone_says_so_in_the_log_and_leads_nowhere(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = watching(monkeypatch, Kernel(later), saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "r", "L")
        assert isinstance(app.screen, EventsScreen)
        while len(app.screen.table.source or ()) != len(app.source.log):
            await pilot.pause(0.02)  # it is on the screen before it shows what has happened
        at = next(i for i, e in enumerate(app.source.log.newest_first()) if e.what == "task gone")
        app.screen.table.put_cursor(at)
        await press(pilot, "enter")
        assert isinstance(app.screen, EventsScreen)
        assert "plain-b (91), gone by now" in screen_text(app)

    drive(app, steps)


def test_open_groups_and_the_line_in_the_detail_stay_where_they_were(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = watching(monkeypatch, Kernel(later, saved), saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "enter", "j", "j", "enter", "j", "j", "j")
        screen = app.screen
        assert isinstance(screen, TasksScreen) and screen.tasks is not None
        rows, line, detail = len(screen.tasks), screen.pane.row, screen.pane.detail
        assert line == 3 and detail is not None
        await press(pilot, "r")
        assert len(screen.tasks) == rows - 1  # one is gone, and the new one is in a group that is closed
        assert screen.pane.row == line
        assert screen.pane.detail is not detail
        assert screen.pane.detail is not None and screen.pane.detail.reference == detail.reference
        assert screen.pane.has_focus

    drive(app, steps)


def test_at_an_interval_it_reads_by_itself_one_at_a_time_and_the_header_says_how_old_it_is(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(later, saved)
    app = watching(monkeypatch, kernel, saved, interval=0.5)

    async def steps(pilot: Pilots) -> None:
        assert "every 0.5 s" in screen_text(app) and "s old" in screen_text(app)
        while kernel.asked < 3:
            await pilot.pause(0.05)
        await pilot.press("r", "r", "r")
        while kernel.at_once:
            await pilot.pause(0.02)
        assert kernel.most_at_once == 1

    drive(app, steps)


def test_nobody_is_asked_while_the_terminal_has_not_the_focus(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(later)
    app = watching(monkeypatch, kernel, saved, interval=0.5)

    async def steps(pilot: Pilots) -> None:
        app.post_message(events.AppBlur())
        while "paused" not in screen_text(app) or kernel.at_once:
            await pilot.pause(0.05)
        asked = kernel.asked
        await pilot.pause(1.5)
        assert kernel.asked == asked
        app.post_message(events.AppFocus())
        while kernel.asked == asked:
            await pilot.pause(0.05)

    drive(app, steps)


def test_a_failure_keeps_the_view_says_so_once_and_is_tried_again(
    saved: Snapshot, later: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(ReaderFailure("no \\e[31m kernel"), ReaderFailure("no kernel"), later)
    app = watching(monkeypatch, kernel, saved, interval=0.5)

    async def steps(pilot: Pilots) -> None:
        before = app.view
        while kernel.asked < 2 or kernel.at_once:
            await pilot.pause(0.05)
        assert app.view is before
        assert "NOT READ AGAIN" in app.status
        assert sum("Not read again" in note.message for note in app._notifications) == 1
        assert [entry.text for entry in app.source.log.newest_first()] == ["no kernel", "no \\e[31m kernel"]
        while app.view is before:
            await pilot.pause(0.05)
        assert "NOT READ AGAIN" not in app.status

    drive(app, steps)


def test_a_saved_snapshot_is_never_read_again_by_itself(saved: Snapshot) -> None:
    app = ExplorerApp(Session((str(SAVED),), interval=0.5), saved)

    async def steps(pilot: Pilots) -> None:
        before = app.view
        await press(pilot, "R")
        assert app.source.schedule.interval is None
        assert any("does not change" in note.message for note in app._notifications)
        assert "old" not in app.status and app.view is before

    drive(app, steps)


def test_a_child_that_says_nothing_is_said_to_say_nothing(
    saved: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(("sample",))

    async def quiet() -> str:
        reading = asyncio.ensure_future(target.read())
        await asyncio.sleep(0)
        target._heard -= QUIET_S + 2
        said = target.progress
        await target.cancel()
        with pytest.raises(ReaderFailure):
            await reading
        return said

    assert "no word from the reader for 12 s" in asyncio.run(quiet())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_event_log_looks_as_it_did(
    saved: Snapshot, changes: Changes, golden: Golden, size: tuple[int, int]
) -> None:
    app = app_with_findings(saved)

    async def draw() -> str:
        async with app.run_test(size=size) as pilot:
            app.source.log.note("not read again", "qemu:/tmp/x: nobody listens", NOON, "bad")
            app.source.log.add_events(changes.events, NOON)
            await press(pilot, "L", "j")
            return screen_text(app)

    text = asyncio.run(draw())
    assert all(len(line) <= size[0] for line in text.splitlines())
    golden(f"events-{size[0]}x{size[1]}", text)
