"""What is read, when, and what is said of it, without a screen."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.session import source
from explorer.tui.session.children import child
from explorer.tui.session.children.child import ReaderFailure, Reading
from explorer.tui.session.state import Session, View
from explorer.tui.session.target import Target
from explorer.tui.session.viewing import Viewing

from .host import FakeHost

Steps = Callable[[Viewing, FakeHost], Awaitable[None]]


def look(session: Session, steps: Steps, view: View | None = None) -> None:
    async def run() -> None:
        host = FakeHost()
        viewing = Viewing(session, host, view)
        viewing.begin()
        await steps(viewing, host)

    asyncio.run(run())


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot | ReaderFailure]:
    """What the child gives, one after the other."""
    given: list[Snapshot | ReaderFailure] = []

    async def read(target: Target) -> Reading:
        answer = given.pop(0)
        if isinstance(answer, ReaderFailure):
            raise answer
        return Reading(answer)

    monkeypatch.setattr(Target, "read", read)
    return given


def test_the_first_reading_leads_over_the_screen_of_reading_to_the_overview_and_the_comparison(
    saved: Snapshot, answers: list[Snapshot | ReaderFailure]
) -> None:
    answers.append(saved)

    async def steps(viewing: Viewing, host: FakeHost) -> None:
        await host.finish()
        assert host.modes == ["reading", "overview"] and host.compared == ["other.json"]
        assert viewing.view is not None and viewing.view.snapshot is saved
        assert viewing.title.startswith("nullfs-explorer: ")

    look(Session(("dump",), against="other.json"), steps)


def test_a_first_reading_that_fails_leads_to_why_and_the_sample_from_there(
    saved: Snapshot, answers: list[Snapshot | ReaderFailure]
) -> None:
    answers += [ReaderFailure("nobody there"), saved]

    async def steps(viewing: Viewing, host: FakeHost) -> None:
        await host.finish()
        assert (host.modes, viewing.source.failure) == (["reading", "problem"], "nobody there")
        viewing.open_sample()
        await host.finish()
        assert host.modes[2:] == ["reading", "overview"] and viewing.source.target.arguments == ("sample",)

    look(Session(("dump",)), steps)


def test_one_child_reads_at_a_time_and_whoever_wants_another_is_told(
    saved: Snapshot, answers: list[Snapshot | ReaderFailure]
) -> None:
    answers += [saved, saved]

    async def steps(viewing: Viewing, host: FakeHost) -> None:
        viewing.read()
        viewing.read_again()
        viewing.tick(paused=False)
        await host.finish()
        assert len(answers) == 1 and host.said == ["It is being read. X stops that."]

    look(Session(("live",), running=True, interval=0.5), steps)


def test_the_interval_reads_when_it_is_time_and_not_while_nobody_looks(
    saved: Snapshot, answers: list[Snapshot | ReaderFailure]
) -> None:
    answers += [saved, ReaderFailure("gone")]

    async def steps(viewing: Viewing, host: FakeHost) -> None:
        viewing.tick(paused=False)
        assert len(answers) == 2, "it is too early"
        viewing.source.schedule.ended(-1000.0, ok=True)
        viewing.tick(paused=True)
        assert len(answers) == 2 and "paused" in viewing.status(paused=True)
        viewing.tick(paused=False)
        await host.finish()
        assert viewing.view is not None and viewing.view.number == 1 and viewing.marks is not None
        viewing.source.schedule.ended(-1000.0, ok=True)
        viewing.tick(paused=False)
        await host.finish()
        assert viewing.view.number == 1 and "NOT READ AGAIN" in viewing.status(paused=False)
        assert host.said == ["Not read again: gone"] and host.modes == []

    look(Session(("live",), running=True, interval=0.5), steps, View(saved))


def test_a_child_that_runs_is_ended_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(child, "child_command", lambda *_: [sys.executable, "-c", script])

    async def steps(viewing: Viewing, host: FakeHost) -> None:
        while not pid.exists() or not pid.read_text():
            await asyncio.sleep(0.01)
        await viewing.source.target.cancel()
        await host.finish()
        assert viewing.source.failure == "stopped, as you asked" and host.modes[-1] == "problem"
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    look(Session(("dump",)), steps)


def test_sudo_is_offered_once_for_the_running_kernel_and_only_where_it_can_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nexit "$ANSWER"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    live = source.Source(Session(("live",), guess=True, running=True), FakeHost())
    assert live.can_use_sudo(terminal=True) and not live.can_use_sudo(terminal=False)
    assert not source.Source(Session(("dump",)), FakeHost()).can_use_sudo(terminal=True)
    monkeypatch.setenv("ANSWER", "1")
    assert not live.ask_sudo() and "sudo did not let you" in live.failure
    monkeypatch.setenv("ANSWER", "0")
    assert live.ask_sudo() and live.target.prefix == source.SUDO
    assert not live.can_use_sudo(terminal=True)
