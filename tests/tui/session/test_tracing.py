"""Lookups as the session has them: from a file, and from a child that plays one, however it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from explorer.codec import encode_trace_line
from explorer.model import Generation, Snapshot
from explorer.tui.session import tracing as tracing_module
from explorer.tui.session.children import child as child_module
from explorer.tui.session.state import Session, View
from explorer.tui.session.tracing import Tracing
from explorer.tui.session.viewing import Viewing
from tests.unit.traces import DEVTMPFS, END, ROOTFS, header, lookup, write_trace

from .host import FakeHost
from .test_reader import is_running

Steps = Callable[[Tracing, FakeHost], Awaitable[None]]
PATIENCE_S = 30.0


def play(monkeypatch: pytest.MonkeyPatch, saved: Snapshot, script: str, steps: Steps) -> None:
    """Trace the running kernel, with a child that is not ours."""
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(child_module, "child_command", lambda *_: command)

    async def run() -> None:
        host = FakeHost()
        viewing = Viewing(Session(("live",), running=True), host, View(saved))
        viewing.tracing.begin()
        await asyncio.wait_for(steps(viewing.tracing, host), PATIENCE_S)

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def playing(path: Path, after: str = "") -> str:
    """A child that writes what is in a file, and then does something."""
    return (
        "import os, signal, sys, time\n"
        f"sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())\n"
        "sys.stdout.flush()\n"
        f"{after}\n"
    )


def test_a_saved_trace_leads_to_its_screen_with_no_snapshot(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t\x1b.jsonl", header(), [lookup(), lookup("/x", ROOTFS)])

    async def run() -> None:
        host = FakeHost()
        viewing = Viewing(Session((str(path),), trace=path), host, None)
        viewing.begin()
        await host.finish()
        tracing = viewing.tracing
        assert host.modes == ["reading", "lookups"] and viewing.view is None
        assert [row.lookup.path for row in tracing.newest_first()] == ["/x", "/etc/passwd"]
        assert (tracing.added, tracing.bad, tracing.end) == (2, 1, END)
        assert viewing.title == "nullfs-explorer: t\\e.jsonl"
        assert viewing.why_not("lookups") is None and "no snapshot" in (viewing.why_not("tasks") or "")

    asyncio.run(run())


def test_a_trace_that_is_damaged_leads_to_why(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(encode_trace_line(header()) + b"\x1b[2J\n")

    async def run() -> None:
        host = FakeHost()
        viewing = Viewing(Session((str(path),), trace=path), host, None)
        viewing.begin()
        await host.finish()
        assert host.modes == ["reading", "problem"]
        assert "line 2: not JSON" in viewing.source.failure and viewing.source.failure.isprintable()
        assert not viewing.tracing.is_there

    asyncio.run(run())


def test_only_the_running_kernel_can_be_traced(saved: Snapshot) -> None:
    for session, can in (
        (Session(("live",), running=True), True),
        (Session(("live",), guess=True, running=True), True),
        (Session(("qemu:socket",), running=True), False),
        (Session(("dump",)), False),
        (Session(), False),
    ):
        assert (Viewing(session, FakeHost(), View(saved)).why_not("lookups") is None) is can


def test_lookups_come_one_by_one_and_are_counted_until_the_trace_is_stopped(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [lookup(), lookup("/x", ROOTFS)], None)
    later, end = tmp_path / "later", tmp_path / "end"
    end.write_bytes(encode_trace_line(END))
    script = playing(
        path,
        f"def stop(*_):\n    sys.stdout.write(open({str(end)!r}).read())\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"while not os.path.exists({str(later)!r}): time.sleep(0.01)\n"
        f"sys.stdout.write(open({str(later)!r}).read())\nsys.stdout.flush()\ntime.sleep(600)",
    )

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        assert tracing.is_running and tracing.failed_line == ""
        await until(lambda: tracing.added == 2)
        assert tracing.failed_line == "1 lookup failed in nullfs since 00:00 UTC"
        (tmp_path / "new").write_bytes(encode_trace_line(lookup("/y")))
        (tmp_path / "new").rename(later)
        await until(lambda: tracing.added == 3)
        assert tracing.newest_first()[0].lookup.path == "/y" and tracing.bad == 2
        await tracing.stop()
        await host.finish()
        assert not tracing.is_running and not tracing.problem and tracing.end == END
        assert tracing.added == 3 and tracing.failed_line == "" and host.said == []

    play(monkeypatch, saved, script, steps)


def test_before_7_3_what_would_fail_there_is_counted(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    lookups = [lookup(start=ROOTFS, result=0), lookup("/dev", DEVTMPFS)]
    path = write_trace(tmp_path / "t.jsonl", header(Generation.LEGACY), lookups, None)

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await until(lambda: tracing.added == 2)
        assert tracing.failed_line == "1 lookup since 00:00 UTC would fail on 7.3"
        await tracing.stop()

    play(monkeypatch, saved, playing(path, "time.sleep(600)"), steps)


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("sys.exit('nullfs-explorer: tracefs is \\x1b[31mnot mounted')", "tracefs is \\e[31mnot mounted"),
        ("sys.exit(3)", "ended with code 3 and said nothing"),
        ("print('[]')", "no JSON object"),
        ("print('{\"lookup\":{}}')", "the tracer's output: time_s: Field required"),
        (f"print({encode_trace_line(header()).decode()!r}, end='')", "a second header"),
        ("print('{' * 2_000_000)", "the tracer's output"),
    ],
)
def test_a_tracer_that_dies_or_talks_nonsense_is_a_message_and_what_had_come_stays(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path, after: str, says: str
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [lookup()], None)

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await host.finish()
        assert says in tracing.problem and tracing.problem.isprintable()
        assert tracing.added == 1 and not tracing.is_running
        assert len(host.said) == 1 and tracing.problem in host.said[0]

    play(monkeypatch, saved, playing(path, after), steps)


def test_lookups_before_the_header_are_refused(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(encode_trace_line(lookup()))

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await host.finish()
        assert "a lookup before the header" in tracing.problem and not tracing.rows

    play(monkeypatch, saved, playing(path), steps)


def test_a_tracer_that_does_not_end_when_asked_is_ended(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracing_module.TraceReader, "GRACE_S", 0.2)
    pid = tmp_path / "pid"
    path = write_trace(tmp_path / "t.jsonl", header(), [], None)
    script = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n" + playing(path, "time.sleep(600)")
    )

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await until(lambda: tracing.header is not None)
        await tracing.stop()
        await host.finish()
        assert not tracing.is_running and not tracing.problem
        assert not is_running(int(pid.read_text()))

    play(monkeypatch, saved, script, steps)


def test_one_that_is_stopped_at_once_does_not_run_on(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [], None)

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await tracing.stop()  # before there is a process
        await host.finish()
        assert not tracing.is_running and not tracing.problem

    play(monkeypatch, saved, playing(path, "time.sleep(600)"), steps)


def test_memory_is_bounded_by_lookups_and_by_bytes_and_what_was_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    line = len(encode_trace_line(lookup("/00")))
    lookups = [lookup(f"/{number:02}") for number in range(40)]
    path = write_trace(tmp_path / "t.jsonl", header(), lookups, END)
    for most, size, kept in ((7, 1 << 20, 7), (1000, 5 * line, 5)):
        monkeypatch.setattr(tracing_module, "MOST_LOOKUPS", most)
        monkeypatch.setattr(tracing_module, "_MOST_BYTES", size)

        async def steps(tracing: Tracing, host: FakeHost, kept: int = kept) -> None:
            await host.finish()
            assert [row.lookup.path for row in tracing.rows] == [f"/{n:02}" for n in range(40 - kept, 40)]
            assert (tracing.added, tracing.bad, tracing.dropped) == (40, 40, 40 - kept)

        play(monkeypatch, saved, playing(path), steps)


def test_a_trace_that_is_begun_again_has_only_what_came_since(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [lookup()], END)

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await host.finish()
        assert tracing.added == 1 and tracing.end is not None
        tracing.begin()
        assert tracing.is_running and not tracing.rows
        await host.finish()
        assert tracing.added == 1

    play(monkeypatch, saved, playing(path), steps)


def test_the_same_stack_is_kept_once(
    monkeypatch: pytest.MonkeyPatch, saved: Snapshot, tmp_path: Path
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [lookup("/a"), lookup("/b")], END)

    async def steps(tracing: Tracing, host: FakeHost) -> None:
        await host.finish()
        one, two = tracing.rows
        assert one.lookup.stack is two.lookup.stack and one.lookup.stack

    play(monkeypatch, saved, playing(path), steps)
