"""The screen on a guest that runs: what its tasks do between two readings is marked, and stands in the event log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from explorer.analysis.diff.changes import EventKind
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.events import EventsScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.session.state import Session
from explorer.tui.views.events import LogEntry
from tests.kernels.lab import Guest
from tests.tui.conftest import Pilots, press, screen_text

pytestmark = pytest.mark.kernel

#: A task that waits to be told to chroot, and then is the same task with another root.
CHROOTER = (
    "mkdir -p /jail2/bin && cp /bin/busybox /jail2/bin/ && mkfifo /go && "
    "(sh -c 'read word < /go; exec chroot /jail2 /bin/busybox sleep 600' >/dev/null 2>&1 &)"
)


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with Guest.boot("7.3", "shell") as guest:
        assert guest.sh(CHROOTER)[0] == 0
        yield guest


def watch(
    guest: Guest, steps: Callable[[ExplorerApp, Pilots], Awaitable[None]], interval: float | None = None
) -> ExplorerApp:
    """Open the guest in the app, and do with it what ``steps`` says."""
    app = ExplorerApp(Session((f"qemu:{guest.qmp_socket}", "--no-cache"), running=True, interval=interval))

    async def run() -> None:
        async with app.run_test(size=(120, 36)) as pilot:
            while app.view is None:
                await pilot.pause(0.05)
            await steps(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilots, met: Callable[[], bool]) -> None:
    """Wait; the test's own time limit ends it."""
    while not met():
        await pilot.pause(0.1)


def about(app: ExplorerApp, kind: EventKind, word: str = "") -> list[LogEntry]:
    return [
        entry for entry in app.source.log.newest_first() if entry.what == kind.value and word in entry.text
    ]


def chrooter(app: ExplorerApp) -> int:
    assert app.view is not None
    kernel_side = app.view.snapshot
    tasks = [task for task in kernel_side.tasks if task.comm in ("sh", "busybox", "sleep")]
    return max(tasks, key=lambda task: task.start_time or 0).address


def test_what_tasks_do_between_two_readings_is_marked_and_logged_and_the_selection_stays(
    guest: Guest,
) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        assert app.status.endswith("old")
        await press(pilot, "t", "slash", *"kind:user", "enter")
        screen = app.screen
        assert isinstance(screen, TasksScreen) and screen.tasks is not None
        await press(pilot, "G", "k")
        selected = screen.selected()
        assert selected is not None
        target = chrooter(app)
        guest.sh("echo now > /go; (sleep 601 >/dev/null 2>&1 &); sleep 0.3")
        await press(pilot, "r")
        still = screen.selected()
        assert still is not None and still.address == selected.address
        moved = about(app, EventKind.ROOT, "/jail2")
        assert [entry.reference.address for entry in moved if entry.reference] == [target]
        assert about(app, EventKind.APPEARED, "sleep"), app.source.log.newest_first()
        lines = screen_text(app).splitlines()
        assert any(line.startswith("~") and "jail2" in line for line in lines), lines
        assert any(line.startswith("+") and "sleep" in line for line in lines), lines
        await press(pilot, "L")
        assert isinstance(app.screen, EventsScreen)
        text = screen_text(app)
        assert "root changed" in text and "/jail2" in text and "task added" in text
        # Enter on the line leads to the task.
        at = [entry.what for entry in app.source.log.newest_first()].index(EventKind.ROOT.value)
        app.screen.table.put_cursor(at)
        await press(pilot, "enter")
        here: object = app.screen
        assert here is screen
        now = screen.selected()
        assert now is not None and now.address == target

    watch(guest, steps)


def test_the_interval_shows_by_itself_that_a_task_is_gone(guest: Guest) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        guest.sh("(sleep 777 >/dev/null 2>&1 & echo $! > /pid); sleep 0.3")
        await until(pilot, lambda: bool(about(app, EventKind.APPEARED, "sleep")))
        guest.sh("kill -9 $(cat /pid); sleep 0.3")
        await until(pilot, lambda: bool(about(app, EventKind.GONE, "sleep")))
        assert "every 1 s" in app.status
        await press(pilot, "R", "R", "R", "R")  # 2, 5, 10 s, off
        assert app.source.schedule.interval is None

    app = watch(guest, steps, interval=1.0)
    assert not about(app, EventKind.REBOOT)


def test_a_guest_that_is_gone_is_a_failure_that_keeps_the_last_view(guest: Guest) -> None:
    async def steps(app: ExplorerApp, pilot: Pilots) -> None:
        guest.close()
        before = app.view
        await until(pilot, lambda: app.source.schedule.failures > 1)
        assert app.view is before
        assert "NOT READ AGAIN" in app.status
        assert any(entry.what == "not read again" for entry in app.source.log.newest_first())
        assert not app.faults

    watch(guest, steps, interval=1.0)
