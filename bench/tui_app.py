"""The real app on a large snapshot, and what it takes from a key to the paint that shows what the key did."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from importlib.resources import files
from time import perf_counter, process_time
from typing import Any, NamedTuple

from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from explorer.model import Snapshot
from explorer.tui import ExplorerApp
from explorer.tui.screens import OverviewScreen, TasksScreen
from explorer.tui.widgets import VirtualTable

__all__ = ("SIZE", "Driver", "Moment", "Watched", "measure_app")

SIZE = (120, 36)
#: Typed one key after the other into the filter, each measured: fields, free text, two terms, and taking it back.
_QUERIES = (
    "kind:kernel placement:nullfs",
    "kworker",
    "comm~kw owner:init_fs",
    "plain 9",
    "not borrowing user",
)
_SORTS = ("comm", "pid", "kind", "state", "fs", "users", "root", "pwd", "umask", "owner", "runs")
_SCROLLS = 120
#: Keys pressed while findings are looked for and columns made, so far apart that these have gone on in between.
_BUSY_KEYS = 10
_APART_S = 0.3
_PATIENCE_S = 30.0
#: More than two frames of Textual's, less than what the app waits for a pause in the typing.
_QUIET_S = 0.04


class Moment(NamedTuple):
    """A time, by the clock on the wall and by the processor time of this process; or milliseconds between two."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(perf_counter(), process_time())

    def since(self, start: Moment) -> Moment:
        return Moment((self.wall - start.wall) * 1000, (self.cpu - start.cpu) * 1000)


class Watched(ExplorerApp):
    """Knows when it has painted last."""

    CSS_PATH = str(files("explorer.tui") / "app.tcss")
    painted = Moment(0.0, 0.0)

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self.painted = Moment.now()


class Driver:
    """Sends a key as the terminal would, and waits for the paint that shows what it did."""

    def __init__(self, app: Watched, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> TasksScreen:
        screen = self.app.screen
        assert isinstance(screen, TasksScreen)
        return screen

    def has_tasks(self) -> bool:
        """The task table is there and filled."""
        screen = self.app.screen
        return isinstance(screen, TasksScreen) and bool(screen.query("#rows")) and screen.tasks is not None

    async def until(self, shown: Callable[[], bool], start: Moment) -> Moment:
        """From ``start`` to the end of the last paint that came of it.

        The last is the one after which, ``shown`` being true, no other came for some frames. What the app puts off on
        purpose, such as counting facets until typing pauses, comes later than that and is not in it.
        """
        since: float | None = None
        while True:
            await asyncio.sleep(0.001)
            now = perf_counter()
            if since is None and shown():
                since = now
            painted = self.app.painted
            if since is not None and painted.wall > start.wall and now - max(painted.wall, since) > _QUIET_S:
                return painted.since(start)
            if now - start.wall > _PATIENCE_S:
                raise TimeoutError("the app does not show what the key did")

    async def press(self, key: str, character: str | None, shown: Callable[[], bool]) -> Moment:
        start = Moment.now()
        self.app._driver.send_message(events.Key(key, character))  # type: ignore[union-attr]
        return await self.until(shown, start)

    async def rest(self) -> None:
        """Let what comes after the paint come: it is not to be paid by the next key."""
        await asyncio.sleep(0.25)
        await self.pilot.pause()


def _asks(screen: TasksScreen, query: str) -> Callable[[], bool]:
    return lambda: screen.query_text == query


async def _measure_filter(driver: Driver) -> list[Moment]:
    screen, found = driver.screen, []
    screen.query_one("#filter", Input).cursor_blink = False
    await driver.press("slash", "/", lambda: screen.query_one("#filter").has_focus)
    for query in _QUERIES:
        for end in range(1, len(query) + 1):
            await driver.rest()
            char = query[end - 1]
            key = {" ": "space", ":": "colon", "~": "tilde", "_": "underscore"}.get(char, char)
            found.append(await driver.press(key, char, _asks(screen, query[:end])))
        for end in range(len(query) - 1, -1, -1):
            await driver.rest()
            found.append(await driver.press("backspace", None, _asks(screen, query[:end])))
    await driver.press("enter", None, lambda: screen.table.has_focus)
    return found


async def _measure_sort(driver: Driver) -> list[Moment]:
    found = []
    for name in _SORTS:
        for descending in (False, True):
            await driver.rest()
            start = Moment.now()
            driver.screen.sort_by(name, descending)
            found.append(await driver.until(lambda: True, start))
    driver.screen.sort_by(None)
    await driver.rest()
    return found


def _has_left(table: VirtualTable, row: int) -> Callable[[], bool]:
    return lambda: table.row != row


async def _measure_scroll(driver: Driver) -> list[Moment]:
    table, found = driver.screen.table, []
    await driver.press("e", "e", lambda: len(table.source or ()) > 0)
    await driver.rest()
    for number in range(_SCROLLS):
        key = ("j", "pagedown", "ctrl+d")[number % 3]
        found.append(await driver.press(key, "j" if key == "j" else None, _has_left(table, table.row)))
    return found


async def _measure_busy(driver: Driver) -> list[Moment]:
    """Scrolled frames while threads in the background work; none once they are done."""
    table, found = driver.screen.table, []
    for _ in range(_BUSY_KEYS):
        await asyncio.sleep(_APART_S)
        if not any(worker.is_running for worker in driver.app.workers):
            break
        found.append(await driver.press("j", "j", _has_left(table, table.row)))
    return found


async def _measure(snapshot: Snapshot) -> dict[str, list[Moment]]:
    start = Moment.now()
    app = Watched(snapshot=snapshot)
    results: dict[str, list[Moment]] = {}
    async with app.run_test(size=SIZE) as pilot:
        driver = Driver(app, pilot)
        first = await driver.until(lambda: isinstance(app.screen, OverviewScreen), start)
        results["first paint"] = [first]
        results["tasks, first paint"] = [await driver.press("t", "t", driver.has_tasks)]
        busy = await _measure_busy(driver)
        if busy:
            results["the same, busy"] = busy
        await app.workers.wait_for_complete()
        await driver.rest()
        results["filter keystroke"] = await _measure_filter(driver)
        results["sort"] = await _measure_sort(driver)
        results["scrolled frame"] = await _measure_scroll(driver)
        if busy:
            results["the same, busy"] = results.pop("the same, busy")
    return results


def measure_app(snapshot: Snapshot) -> dict[str, list[Moment]]:
    """How long every measured action took, by what it is."""
    gc.collect()
    return asyncio.run(_measure(snapshot))
