"""Fixtures of the screen's tests: a saved snapshot that does not change, and the screen as plain text."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot

from explorer.codec.snapshots import load_snapshot
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.faults import Fault
from explorer.tui.screens import LookupsScreen

DATA = Path(__file__).parent / "data"
#: Saved by ``python -m tests.tui.make_data``. Goldens are made from it, and so do not change with the sample.
SAVED = DATA / "lively.json.zst"
#: Set it to anything to write the goldens anew.
REGENERATE = "NULLFS_EXPLORER_GOLDENS"
#: For a state that is waited for.
PATIENCE_S = 30.0

Golden = Callable[[str, str], None]
Pilots = Pilot[None]


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Themes and copies go to a directory of the test's own, not to the developer's."""
    directory = tmp_path_factory.mktemp("xdg-config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(directory))
    yield directory / "nullfs-explorer"


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fault that the app shows and survives is one of the test, too, unless the test asks for ``faulty``."""
    traces: list[str] = []
    take = ExplorerApp.take_fault

    def take_fault(app: ExplorerApp, error: BaseException) -> Fault:
        fault = take(app, error)
        traces.append("\n".join(fault.trace))
        return fault

    monkeypatch.setattr(ExplorerApp, "take_fault", take_fault)
    yield
    assert "faulty" in request.fixturenames or not traces, traces[0]


@pytest.fixture(scope="session")
def saved() -> Snapshot:
    return load_snapshot(SAVED)


@pytest.fixture
def app(saved: Snapshot) -> ExplorerApp:
    return ExplorerApp(snapshot=saved)


def screen_text(app: ExplorerApp) -> str:
    """What is on the screen, a line each, without colours."""
    lines = [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]
    return "\n".join(lines) + "\n"


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after the other, as a user does: each sees what the one before has done."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


#: Names of keys that are characters; letters and digits are their own.
_KEY_NAMES = {
    ":": "colon",
    "/": "slash",
    " ": "space",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "-": "minus",
    "?": "question_mark",
}


def type_ahead(pilot: Pilots, *keys: str) -> None:
    """Send keys at once, as a terminal does that was pasted into: the app has seen none of them yet."""
    for key in keys:
        name = _KEY_NAMES.get(key, key)
        driver = pilot.app._driver
        assert driver is not None
        driver.send_message(Key(name, key if len(key) == 1 else None))


async def settle(pilot: Pilots) -> None:
    """Wait until the app has dealt with all that was typed ahead."""
    for _ in range(3):
        await pilot._wait_for_screen()


async def until(pilot: Pilots, get: Callable[[], Any], wanted: Any = True) -> Any:
    """Wait for a state: what ``get`` gives is of the type that is wanted, or equal to it."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = get()
        if isinstance(found, wanted) if isinstance(wanted, type) else found == wanted:
            return found
        assert time.monotonic() < end, found
        await pilot.pause(0.02)


async def lookups_screen(pilot: Pilots) -> LookupsScreen:
    """That of lookups, once it is there."""
    screen = await until(pilot, lambda: pilot.app.screen, LookupsScreen)
    assert isinstance(screen, LookupsScreen)
    await pilot.pause()
    return screen


def drive(app: ExplorerApp, steps: Callable[[Pilots], Awaitable[None]], width: int = 100) -> None:
    """Run the app at ``width`` by 30, and do with it what ``steps`` says."""

    async def run() -> None:
        async with app.run_test(size=(width, 30)) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(run())


def run_at(app: ExplorerApp, size: tuple[int, int], steps: Callable[[Pilots], Awaitable[None]]) -> None:
    """The same in a terminal of some size, once what it begins with is painted."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await press(pilot)
            await steps(pilot)

    asyncio.run(run())


@pytest.fixture
def golden() -> Golden:
    """Compare text with a committed file."""

    def compare(name: str, text: str) -> None:
        path = DATA / "screens" / f"{name}.txt"
        if os.environ.get(REGENERATE):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), (
            f"{name}: set {REGENERATE}=1 if it is meant to change"
        )

    return compare
