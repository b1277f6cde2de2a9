"""The screen of lookups, of a kernel that runs: as they come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from explorer.codec import encode_trace_line
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import OverviewScreen, TasksScreen
from explorer.tui.session.children import Process
from explorer.tui.session.children import child as child_module
from explorer.tui.session.state import Session
from tests.tui.conftest import Pilots, drive, lookups_screen, screen_text, until
from tests.unit.traces import END, NULLFS, ROOTFS, header, lookup


async def tap(pilot: Pilots, *keys: str) -> None:
    """As ``press``, which waits for all that is being done: a trace has no end."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


def live_app(monkeypatch: pytest.MonkeyPatch, saved: Snapshot, directory: Path) -> ExplorerApp:
    """One whose tracer is a child that plays what a test puts into ``directory``: 0, 1, …, each once it is there."""
    script = (
        "import os, signal, sys, time\n"
        f"end = open({str(directory / 'end')!r}, 'rb').read()\n"
        "def stop(*_):\n    sys.stdout.buffer.write(end); sys.stdout.flush(); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "number = 0\n"
        "while True:\n"
        f"    name = os.path.join({str(directory)!r}, str(number))\n"
        "    if os.path.exists(name):\n"
        "        sys.stdout.buffer.write(open(name, 'rb').read()); sys.stdout.flush(); number += 1\n"
        "    else: time.sleep(0.01)\n"
    )
    (directory / "end").write_bytes(encode_trace_line(END))
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(child_module, "child_command", lambda *_: command)
    return ExplorerApp(Session(("live",), running=True), saved)


def give(directory: Path, number: int, *records: Any) -> None:
    """The child says this next."""
    (directory / "new").write_bytes(b"".join(map(encode_trace_line, records)))
    (directory / "new").rename(directory / str(number))


def test_lookups_come_are_counted_on_the_overview_pause_and_end(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    app = live_app(monkeypatch, saved, tmp_path)

    async def steps(pilot: Pilots) -> None:
        await pilot.press("W")
        screen = await lookups_screen(pilot)
        assert app.tracing.is_running
        give(tmp_path, 0, header(), lookup("/first"))
        await until(pilot, lambda: "/first" in screen_text(app))
        assert "1 lookup   1 fail   traced now" in screen_text(app)
        await pilot.press("P")
        give(tmp_path, 1, lookup("/second", ROOTFS), lookup("/third"))
        await until(pilot, lambda: app.tracing.added, 3)
        await until(pilot, lambda: "3 lookups" in screen_text(app))
        assert "PAUSED" in screen_text(app) and "/third" not in screen_text(app)
        await pilot.press("P")
        await until(pilot, lambda: "/third" in screen_text(app))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, OverviewScreen))
        await until(pilot, lambda: "2 lookups failed in nullfs since 00:00 UTC" in screen_text(app))
        await pilot.press("W")
        assert await lookups_screen(pilot) is screen and app.tracing.added == 3
        await pilot.press("E")
        await until(pilot, lambda: app.tracing.is_running, False)
        await until(pilot, lambda: "traced now" not in screen_text(app))
        assert "/third" in screen_text(app) and app.tracing.end == END
        await pilot.press("o")
        await until(pilot, lambda: "failed in nullfs since" not in screen_text(app))

    drive(app, steps)


def test_the_cursor_stays_with_its_lookup_while_others_come_and_at_the_top_follows(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    app = live_app(monkeypatch, saved, tmp_path)

    async def steps(pilot: Pilots) -> None:
        await pilot.press("W")
        screen = await lookups_screen(pilot)
        give(tmp_path, 0, header(), lookup("/a"), lookup("/b"), lookup("/c"))
        await until(pilot, lambda: len(screen.source() or ()), 3)
        await tap(pilot, "j")
        assert screen.record_at(screen.table.row).lookup.path == "/b"
        give(tmp_path, 1, lookup("/d"), lookup("/e"))
        await until(pilot, lambda: len(screen.source()), 5)
        assert screen.record_at(screen.table.row).lookup.path == "/b"
        await tap(pilot, "g")
        give(tmp_path, 2, lookup("/f"))
        await until(pilot, lambda: len(screen.source()), 6)
        assert screen.record_at(screen.table.row).lookup.path == "/f"
        screen.filter_by("path:/a or path:/g")
        give(tmp_path, 3, lookup("/g"), lookup("/h"))
        await until(pilot, lambda: len(screen.source()), 2)
        await until(pilot, lambda: app.tracing.added, 8)

    drive(app, steps)


def test_the_detail_leads_to_the_task_and_to_the_mount_where_the_snapshot_has_them(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    app = live_app(monkeypatch, saved, tmp_path)
    task = next(task for task in saved.tasks if (task.comm or "").startswith("kworker"))
    mount = next(mount for mount in saved.mounts if mount.fstype == "nullfs")
    start = NULLFS.model_copy(update={"mount": mount.address})

    async def steps(pilot: Pilots) -> None:
        await pilot.press("W")
        screen = await lookups_screen(pilot)
        give(tmp_path, 0, header(), lookup("/a", start, pid=task.pid), lookup("/b", pid=1 << 21))
        await until(pilot, lambda: len(screen.source() or ()), 2)
        await tap(pilot, "j")
        assert screen.pane.detail is not None
        targets = {fact.name: fact.target for fact in screen.pane.detail.facts if fact.target is not None}
        assert targets["task"].address == task.address and targets["start"].address == mount.address
        await tap(pilot, "k")
        assert screen.pane.detail is not None
        assert "not among the tasks" in " ".join(fact.value for fact in screen.pane.detail.facts)
        await tap(pilot, "j", "w")
        await until(pilot, lambda: isinstance(app.screen, TasksScreen))

    drive(app, steps)


def test_a_kernel_that_cannot_be_traced_says_why_in_the_place_of_rows(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot
) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('nullfs-explorer: tracefs is not mounted')"]
    monkeypatch.setattr(child_module, "child_command", lambda *_: command)
    app = ExplorerApp(Session(("live",), running=True), saved)

    async def steps(pilot: Pilots) -> None:
        await pilot.press("W")
        await lookups_screen(pilot)
        await until(pilot, lambda: "the kernel is not traced: tracefs is not mounted" in screen_text(app))
        await until(pilot, lambda: "E tries again" in screen_text(app))
        await tap(pilot, "o")
        assert isinstance(app.screen, OverviewScreen)

    drive(app, steps)


def test_what_cannot_be_traced_is_offered_no_trace(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await tap(pilot, "W")
        assert isinstance(app.screen, OverviewScreen)
        assert any("Only the running kernel" in note.message for note in app._notifications)

    drive(app, steps)


def test_when_the_app_ends_the_tracer_does(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    app = live_app(monkeypatch, saved, tmp_path)
    processes: list[Process] = []

    async def steps(pilot: Pilots) -> None:
        await pilot.press("W")
        await lookups_screen(pilot)
        give(tmp_path, 0, header())
        await until(pilot, lambda: app.tracing.header is not None)
        assert app.tracing._reader is not None and app.tracing._reader._process is not None
        processes.append(app.tracing._reader._process)
        await pilot.press("q")

    drive(app, steps)
    assert processes[0].has_ended
