"""The reader's child: what it gives, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from explorer.codec.snapshots import SnapshotError, load_snapshot, write_jsonl
from explorer.codec.stream import SnapshotStream
from explorer.tui.session.children import child as reader_module
from explorer.tui.session.children.child import Reader, ReaderFailure, Reading, run_doctor
from tests.conftest import SAMPLE, Run
from tests.tui.conftest import SAVED


def read(*arguments: str | Path) -> tuple[Reading, list[tuple[str, int]]]:
    steps: list[tuple[str, int]] = []
    reader = Reader([str(argument) for argument in arguments])
    reading = asyncio.run(reader.read(lambda what, done, total: steps.append((what, done))))
    return reading, steps


def test_a_vmcore_read_by_the_child_is_the_snapshot_that_the_command_saves(run: Run, tmp_path: Path) -> None:
    reading, steps = read(SAMPLE)
    run("snapshot", SAMPLE, "-o", "saved.json")
    saved = load_snapshot(tmp_path / "saved.json")
    assert reading.snapshot.model_copy(update={"capture": saved.capture}) == saved
    assert ("tasks", len(saved.tasks)) in steps
    assert ("tasks received", len(saved.tasks)) in steps


def test_a_saved_snapshot_comes_through_the_child_unchanged() -> None:
    reading, _ = read(SAVED)
    assert reading.snapshot == load_snapshot(SAVED)


def test_a_target_that_cannot_be_opened_is_a_failure_with_the_commands_own_line(tmp_path: Path) -> None:
    path = tmp_path / "no\x1b[31mdump"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ReaderFailure, match="neither an ELF") as failure:
        read(path)
    assert failure.value.exit_code == 3
    assert failure.value.reason.isprintable()


def run_script(monkeypatch: pytest.MonkeyPatch, script: str) -> Reader:
    """A reader whose child is not ours: a fault that no real target gives on demand."""
    monkeypatch.setattr(reader_module, "child_command", lambda *_: [sys.executable, "-c", script])
    return Reader([])


def silent(what: str, done: int, total: int | None) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("print('this is no JSON')", "no part of a snapshot"),
        ("print('[1, 2]')", "no part of a snapshot"),
        ('print(\'{"type":"task","pid":"x"}\')', "no part of a snapshot"),
        ("pass", "without a snapshot"),
        ("import sys; sys.exit('boom \\x1b[31m')", r"boom \\e\[31m"),
        ("import sys; sys.exit(3)", "ended with code 3"),
    ],
)
def test_a_child_that_dies_or_talks_nonsense_is_a_message(
    monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    with pytest.raises(ReaderFailure, match=words):
        asyncio.run(run_script(monkeypatch, script).read(silent))


def test_a_child_that_hangs_is_ended_with_its_own_children_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "time.sleep(600)\n"
    )
    reader = run_script(monkeypatch, script)

    async def cancel_it() -> None:
        reading = asyncio.create_task(reader.read(silent))
        while not pids.exists():
            await asyncio.sleep(0.02)
        await reader.cancel()
        with pytest.raises(ReaderFailure, match="as you asked"):
            await reading

    asyncio.run(cancel_it())
    deadline = time.monotonic() + 10.0
    while running := [pid for pid in map(int, pids.read_text().split()) if is_running(pid)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """A process that nobody has waited for yet is not running any more."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_a_partial_capture_is_shown_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    with lines.open("wb") as out:
        write_jsonl(load_snapshot(SAVED), out)
    script = (
        f"import sys; sys.stdout.write(open({str(lines)!r}).read()); "
        "sys.exit(sys.stderr.write('nullfs-explorer: 2 values could not be read\\n') and 4)"
    )
    reading = asyncio.run(run_script(monkeypatch, script).read(silent))
    assert reading.partial == "2 values could not be read" and not reading.crashed
    assert len(reading.snapshot.tasks) == len(load_snapshot(SAVED).tasks)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGSEGV)", "os._exit(128 + signal.SIGSEGV)"])
def test_what_has_arrived_before_a_crash_is_kept_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    lines = tmp_path / "lines"
    with lines.open("wb") as out:
        write_jsonl(load_snapshot(SAVED), out)
    whole = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(b"".join(whole[:20]) + whole[20][:-30])  # it dies within a line
    script = (
        f"import os, signal, sys; sys.stdout.write(open({str(lines)!r}).read()); sys.stdout.flush(); {end}"
    )
    reading = asyncio.run(run_script(monkeypatch, script).read(silent))
    assert reading.partial == "the reader was ended by signal SIGSEGV after 19 tasks"
    assert reading.snapshot.tasks == load_snapshot(SAVED).tasks[:19]
    assert reading.crashed
    error = reading.snapshot.errors[0]
    assert (error.where, error.what) == ("capture", "the rest")
    assert error.why.startswith(f"{reading.partial}: some tasks may be missing, and fs_structs, mounts, ")


def test_a_stream_of_a_newer_schema_is_refused() -> None:
    with pytest.raises(SnapshotError, match="schema version 99"):
        SnapshotStream("x").feed([b'{"type":"snapshot","schema_version":99,"capture":{},"kernel":{}}'])


def test_the_doctor_is_asked_in_a_child_too() -> None:
    lines = asyncio.run(run_doctor())
    assert any("running kernel" in line for line in lines)
    assert all(line.isprintable() for line in lines)
