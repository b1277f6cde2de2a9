"""A reader that crashes: the screen says so, shows what it had read, and saves it. The crashes are real ones."""

from __future__ import annotations

import asyncio
import re
import stat
import sys
from datetime import datetime
from pathlib import Path

import pytest

from explorer.codec.snapshots import load_snapshot, write_jsonl
from explorer.tui.app import ExplorerApp
from explorer.tui.session.children import child as reader_module
from explorer.tui.session.children.child import Reader, Reading
from explorer.tui.session.state import Session
from explorer.tui.settings import keep_snapshot
from tests.conftest import SAMPLE, Run, capture_file
from tests.crashing import crashing_plugin
from tests.tui.conftest import SAVED, Pilots, drive, press
from tests.tui.test_terminal import Terminal


def read(*arguments: str | Path) -> Reading:
    reader = Reader([str(argument) for argument in arguments])
    return asyncio.run(reader.read(lambda what, done, total: None))


def kept_files(settings: Path) -> list[Path]:
    return sorted(settings.glob("partial-*"))


async def until_read(app: ExplorerApp, pilot: Pilots, number: int = 0) -> None:
    """Until the reading of this number is on the screen, and what is to be saved of it is."""
    while app.view is None or app.view.number < number or app.view.partial is None:
        await pilot.pause(0.02)
    await app.workers.wait_for_complete()
    await pilot.pause()


def notices(app: ExplorerApp) -> str:
    return "\n".join(notice.message for notice in app._notifications)


def test_a_crash_in_c_gives_the_screen_every_task_and_says_that_it_was_one(tmp_path: Path) -> None:
    reading = read(SAMPLE, "--plugin", crashing_plugin(tmp_path))
    assert reading.crashed and reading.partial is not None and "SIGSEGV" in reading.partial
    assert reading.snapshot.tasks == capture_file(SAMPLE).tasks


def test_a_saved_partial_snapshot_is_no_crash_when_it_is_opened_again(tmp_path: Path) -> None:
    reading = read(SAMPLE, "--plugin", crashing_plugin(tmp_path))
    saved = keep_snapshot(reading.snapshot, datetime(2026, 11, 23)).removeprefix("it is saved in ")
    again = read(saved)
    assert again.snapshot == reading.snapshot and not again.crashed
    assert again.partial is not None and "SIGSEGV" in again.partial


def test_what_a_crashed_reader_had_read_is_saved_once_and_the_screen_names_the_file(
    tmp_path: Path, own_settings: Path
) -> None:
    plugin = crashing_plugin(tmp_path)
    app = ExplorerApp(Session((str(SAMPLE), "--plugin", str(plugin))))

    async def steps(pilot: Pilots) -> None:
        await until_read(app, pilot)
        (file,) = kept_files(own_settings)
        assert "The reader crashed" in notices(app) and file.name in notices(app)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        kept = load_snapshot(file)
        assert app.view is not None and kept == app.view.snapshot
        assert kept.tasks == capture_file(SAMPLE).tasks and kept.errors[0].what == "the rest"
        await press(pilot, "r")
        await until_read(app, pilot, 1)
        assert kept_files(own_settings) == [file]
        plugin.write_text(plugin.read_text().replace("ctypes.string_at(0)", "pass"))
        await press(pilot, "r")
        while app.view.number < 2:
            await pilot.pause(0.02)
        assert app.view.partial is None and not app.view.snapshot.errors
        assert kept_files(own_settings) == [file]

    drive(app, steps)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
def test_a_child_that_vanishes_within_its_output_is_saved_with_what_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_settings: Path, end: str
) -> None:
    lines = tmp_path / "lines"
    with lines.open("wb") as out:
        write_jsonl(load_snapshot(SAVED), out)
    whole = lines.read_bytes().splitlines(keepends=True)
    tasks = len(load_snapshot(SAVED).tasks)
    lines.write_bytes(b"".join(whole[: tasks + 4]) + whole[tasks + 4][:9])
    script = (
        f"import os, signal, sys; sys.stdout.write(open({str(lines)!r}).read()); sys.stdout.flush(); {end}"
    )
    monkeypatch.setattr(reader_module, "child_command", lambda *_: [sys.executable, "-c", script])
    app = ExplorerApp(Session(("live",), running=True))

    async def steps(pilot: Pilots) -> None:
        await until_read(app, pilot)
        (file,) = kept_files(own_settings)
        kept = load_snapshot(file)
        assert kept.tasks == load_snapshot(SAVED).tasks and len(kept.fs_structs) == 3
        assert re.search(r"after \d+ tasks: some fs_structs may be missing, and mounts, ", kept.errors[0].why)
        assert file.name in notices(app)

    drive(app, steps)


def test_a_reading_that_the_user_stops_is_not_saved(tmp_path: Path, own_settings: Path) -> None:
    told = tmp_path / "told"
    plugin = crashing_plugin(tmp_path, f"open({str(told)!r}, 'w').close(); time.sleep(600)")
    app = ExplorerApp(Session((str(SAMPLE), "--plugin", str(plugin))))

    async def steps(pilot: Pilots) -> None:
        while not told.exists():
            await pilot.pause(0.02)
        await press(pilot, "escape")
        while app.source.target.is_reading or not app.source.failure:
            await pilot.pause(0.02)
        assert "as you asked" in app.source.failure and app.view is None

    drive(app, steps)
    assert kept_files(own_settings) == []


def test_a_file_that_is_there_is_never_written_over_and_a_directory_of_others_is_not_used(
    own_settings: Path,
) -> None:
    snapshot, now = load_snapshot(SAVED), datetime(2026, 11, 23, 8, 0, 0)
    assert keep_snapshot(snapshot, now).startswith("it is saved in ")
    (file,) = kept_files(own_settings)
    content = file.read_bytes()
    assert "there already" in keep_snapshot(snapshot, now)
    assert kept_files(own_settings) == [file] and file.read_bytes() == content
    own_settings.chmod(0o777)
    file.unlink()
    assert "writable by others" in keep_snapshot(snapshot, now)
    assert kept_files(own_settings) == []


@pytest.mark.parametrize("audit", ["os._exit(0)", "ctypes.string_at(0)"])
def test_a_plugin_that_ends_its_process_while_it_judges_does_not_end_the_screen(
    run: Run, tmp_path: Path, audit: str
) -> None:
    plugin = crashing_plugin(tmp_path, collect="pass", audit=audit)
    assert run("snapshot", SAMPLE, "--plugin", plugin, "-o", "saved.json").returncode == 0
    terminal = Terminal(tmp_path, str(tmp_path / "saved.json"), "--plugin", str(plugin))
    try:
        terminal.wait_for(b"audits failed")
        terminal.send(b"t")
        terminal.wait_for(b"FS_STRUCT")
        terminal.send(b"q")
        assert terminal.close() == 0
    finally:
        terminal.end()
