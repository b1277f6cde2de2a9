"""Stands in for the app: writes down what a session asks for, and lets the test say when time passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from explorer.tui.app import ExplorerApp
from explorer.tui.session.host import Host
from explorer.tui.shell import Shell

__all__ = ("FakeAlarm", "FakeHost")


def app_is_both(app: ExplorerApp) -> tuple[Host, Shell]:
    """mypy proves with this that the app is what sessions and screens take it for."""
    return app, app


class FakeAlarm:
    def __init__(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        self.seconds = seconds
        self.call = call
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class FakeHost:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.modes: list[str] = []
        self.ready: list[str] = []
        self.compared: list[str] = []
        self.alarms: list[FakeAlarm] = []
        self.caught_up = self.moments = 0
        self._works: list[asyncio.Task[Any]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def catch_up(self) -> None:
        self.caught_up += 1

    def show_moment(self) -> None:
        self.moments += 1

    async def show_mode(self, mode: str) -> None:
        self.modes.append(mode)

    async def make_ready(self, mode: str) -> None:
        self.ready.append(mode)

    def compare_with(self, name: str) -> None:
        self.compared.append(name)

    def later(self, seconds: float, call: Callable[[], Awaitable[None]]) -> FakeAlarm:
        self.alarms.append(FakeAlarm(seconds, call))
        return self.alarms[-1]

    def work(self, work: Awaitable[Any]) -> None:
        self._works.append(asyncio.ensure_future(work))

    go = work

    async def finish(self) -> None:
        """Wait for all that is being done."""
        while self._works:
            await self._works.pop(0)

    async def pass_time(self) -> float | None:
        """The next alarm goes off. How long it was set for; ``None``: there is none."""
        due = [alarm for alarm in self.alarms if not alarm.stopped]
        self.alarms = []
        assert len(due) <= 1, "one thing at a time is waited for"
        if not due:
            return None
        await due[0].call()
        await self.finish()
        return due[0].seconds
