"""Every table: opened, filtered, completed, ordered, marked, scrolled, its columns chosen; and what is gone to.

The snapshot is a machine of many containers (:func:`bench.tui_data.with_containers`). Each table is driven by the keys
that a user has, in the real app, as :mod:`bench.tui_app` does it for the tasks.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import NamedTuple

from textual.screen import ModalScreen
from textual.widgets import Input

from bench.tui_app import SIZE, Driver, Moment, Watched
from explorer.codec import load_snapshot, load_trace
from explorer.fleet import Outcome
from explorer.model import Snapshot
from explorer.tui.screens.arranging import ArrangingScreen
from explorer.tui.session import Session, View
from explorer.tui.session.tracing import MOST_LOOKUPS
from tests.conftest import DATA
from tests.tui.conftest import SAVED
from tests.unit.recordings import write_recording
from tests.unit.traces import write_trace
from tests.written_fleets import write_fleet

__all__ = ("MEASURED", "TABLES", "measure_tables")

Moments = dict[str, list[Moment]]
Keep = Callable[[str, Moments], None]
_SCROLLS = 30
_SNAPSHOTS = (SAVED, DATA.parent.parent / "screenshots" / "abandoned.json.zst")
#: Enough of each that the 95th percentile is not the slowest: the first, at which the bar comes, or values are listed.
_MARKS, _COMPLETIONS = 30, 24
_KEYS = {" ": "space", ":": "colon", "~": "tilde", "_": "underscore", ">": "greater_than_sign", "@": "at"}


class Table(NamedTuple):
    """A table, and what is typed into its filter."""

    name: str
    key: str
    queries: tuple[str, ...]
    complete: tuple[str, ...]
    """What is begun when tab is pressed: a field, and a value."""


TABLES = (
    Table("tasks", "t", ("kworker",), ("pla", "placement:", "container:", "comm:pl", "root:r")),
    Table("fs_structs", "f", ("users>1", "init_fs", "root:rootfs*"), ("pla", "root:", "held_by:pl")),
    Table("mounts", "m", ("mount:tmpfs*", "run"), ("mou", "mount:", "source:")),
    Table("namespaces", "M", ("mounts>9", "plain"), ("mou", "root:", "kept_by:")),
    Table("subsystems", "s", ("core",), ("sub", "state:")),
    Table("findings", "n", ("severity:high", "detached"), ("sev", "rule:")),
)
#: The one that needs a second target, and the one that needs a recording.
_COMPARED = Table("differences", "=", ("name:plain*", "chroot"), ("nam", "kind:", "name:pl"))
_PLAYED = Table("timeline", "L", ("frame>0", "plain"), ("fra", "what:"))


#: Of a saved trace, and of a fleet's dataset: no snapshot is there.
_TRACED = Table("lookups", "", ("meaning:bad", "walker"), ("mea", "meaning:", "path:/e"))
_FLEET = Table("fleet", "", ("outcome:crashed", "7.3"), ("out", "outcome:", "verdict:"))
#: As many as a trace of the running kernel keeps.
_LOOKUPS, _TARGETS = MOST_LOOKUPS, 5_000
_GO_TO = "go to"
MEASURED = (
    *(table.name for table in TABLES),
    *(_GO_TO, _COMPARED.name, _PLAYED.name, _TRACED.name, _FLEET.name),
)


async def _type(driver: Driver, char: str, shown: Callable[[], bool]) -> Moment:
    return await driver.press(_KEYS.get(char, char), char, shown)


class _Run:
    """One table's measurements."""

    def __init__(self, driver: Driver, table: Table) -> None:
        self.driver, self.table = driver, table
        self.found: Moments = {}

    @property
    def screen(self) -> ArrangingScreen:
        screen = self.driver.app.screen
        assert isinstance(screen, ArrangingScreen)
        return screen

    def is_there(self) -> bool:
        screen = self.driver.app.screen
        return (
            isinstance(screen, ArrangingScreen)
            and bool(screen.query("#rows"))
            and screen.source() is not None
        )

    def _note(self, what: str, moment: Moment) -> None:
        self.found.setdefault(what, []).append(moment)

    async def all(self) -> Moments:
        """In the order of a user's; what is made in the background has its time before."""
        await self.driver.app.workers.wait_for_complete()
        await self.driver.rest()
        self.screen.query_one("#filter", Input).cursor_blink = False
        for each in (self.filter, self.complete, self.sort, self.scroll, self.mark, self.columns):
            await each()
        return self.found

    async def filter(self) -> None:
        screen, driver = self.screen, self.driver
        await driver.press("slash", "/", lambda: screen.bar.box.has_focus)
        for query in self.table.queries:
            for end in range(1, len(query) + 1):
                await driver.rest()
                self._note("filter keystroke", await _type(driver, query[end - 1], self._asks(query[:end])))
            for end in range(len(query) - 1, -1, -1):
                await driver.rest()
                self._note("filter keystroke", await driver.press("backspace", None, self._asks(query[:end])))
        await driver.press("enter", None, lambda: screen.table.has_focus)

    def _asks(self, query: str) -> Callable[[], bool]:
        return lambda: self.screen.query_text == query

    async def complete(self) -> None:
        """Tab once, which looks for what there is, and once more, to the next choice."""
        screen, driver = self.screen, self.driver
        rounds = -(-_COMPLETIONS // (2 * len(self.table.complete)))
        for begun in self.table.complete * rounds:
            screen.show_query(begun)
            await driver.press("slash", "/", lambda: screen.bar.box.has_focus)
            screen.bar.box.cursor_position = len(begun)
            for _ in range(2):
                await driver.rest()
                self._note("completion", await driver.press("tab", None, lambda: True))
            await driver.press("escape", None, lambda: screen.table.has_focus)
            await driver.rest()

    async def sort(self) -> None:
        screen, driver = self.screen, self.driver
        for column in screen.source().columns:
            for descending in (False, True):
                await driver.rest()
                start = Moment.now()
                screen.sort_by(column.name, descending)
                screen.table.refresh()  # rows of which all stand where they stood are drawn as well
                self._note("sort", await driver.until(lambda: True, start))
        screen.sort_by(None)
        await driver.rest()

    async def scroll(self) -> None:
        table, driver = self.screen.table, self.driver
        if table.row:
            await driver.press("g", "g", lambda: table.row == 0)
            await driver.rest()
        for number in range(_SCROLLS):
            if table.row + 1 >= len(table.source or ()):
                break
            key = ("j", "pagedown", "ctrl+d")[number % 3]
            moved = await driver.press(key, "j" if key == "j" else None, _differs(lambda: table.row))
            self._note("scrolled frame", moved)
        await driver.press("g", "g", lambda: table.row == 0)
        await driver.rest()

    async def mark(self) -> None:
        """Some rows, one after the other; then all, and none."""
        screen, driver = self.screen, self.driver
        for _ in range(_MARKS):
            await driver.rest()
            marked = await driver.press("space", " ", _differs(lambda: len(screen.picked)))
            self._note("mark a row", marked)
            if screen.table.row + 1 >= len(screen.source()):
                break
        for _ in range(3):
            await driver.rest()
            marked = await driver.press("asterisk", "*", _differs(lambda: len(screen.picked)))
            self._note("mark all rows", marked)
        if screen.picked:
            await driver.press("escape", None, lambda: not screen.picked)
        await driver.rest()

    async def columns(self) -> None:
        """The chooser opened, each of its keys, and what was chosen."""
        screen, driver = self.screen, self.driver
        app = driver.app
        for _ in range(3):
            opened = await driver.press("A", "A", lambda: isinstance(app.screen, ModalScreen))
            self._note("column chooser opens", opened)
            for key in ("space", "shift+down", "shift+up"):
                await driver.rest()
                self._note("column chooser, a key", await driver.press(key, None, lambda: True))
            await driver.rest()
            self._note(
                "column chooser, taken", await driver.press("enter", None, lambda: app.screen is screen)
            )
            await driver.rest()
        await driver.press("U", "U", lambda: not screen.table.choice.left_out)
        await driver.rest()


def _differs(value: Callable[[], int]) -> Callable[[], bool]:
    """Whether it is another one than now."""
    before = value()
    return lambda: value() != before


async def _open(driver: Driver, table: Table) -> tuple[_Run, Moment]:
    run = _Run(driver, table)
    opened = await driver.press(
        _KEYS.get(table.key, table.key),
        table.key,
        lambda: driver.app.current_mode == table.name and run.is_there(),
    )
    return run, opened


async def _go_to(driver: Driver, snapshot: Snapshot) -> list[Moment]:
    """An address, a pid and a namespace's number, typed letter by letter."""
    app, found = driver.app, []
    task, namespace = snapshot.tasks[-1], snapshot.mount_namespaces[-1]
    for text in (f"0x{task.address:x}", str(task.pid), str(namespace.inum)):
        await driver.press("at", "@", lambda: isinstance(app.screen, ModalScreen))
        for char in text:
            await driver.rest()
            found.append(await _type(driver, char, lambda: True))
        await driver.press("escape", None, lambda: not isinstance(app.screen, ModalScreen))
        await driver.rest()
    return found


async def _drive_file(app: Watched, table: Table, keep: Keep) -> None:
    """Of what is opened without a snapshot: its only table."""
    start = Moment.now()
    async with app.run_test(size=SIZE) as pilot:
        driver = Driver(app, pilot)
        run = _Run(driver, table)
        opened = await driver.until(
            lambda: app.current_mode == table.name and run.is_there() and len(run.screen.source()) > 0, start
        )
        keep(table.name, {"read, and first paint": [opened], **await run.all()})


def _many_lookups(path: Path) -> None:
    """Those of a real trace, many times over, each by a task and at a path of its own."""
    trace = load_trace(DATA / "trace" / "saved-7.3.jsonl")
    few = trace.lookups
    many = [
        few[number % len(few)].model_copy(
            update={"time_s": 30 + number / 1000, "pid": number % 30_000, "path": f"/etc/file-{number}"}
        )
        for number in range(_LOOKUPS)
    ]
    assert trace.end is not None
    write_trace(path, trace.header, many, trace.end.model_copy(update={"lookups": len(many)}))


def _many_targets(path: Path, snapshots: list[Snapshot]) -> None:
    """Some that were read, and thousands of which each says why it was not."""
    outcomes = [Outcome.CANNOT_OPEN, Outcome.CRASHED, Outcome.TIMEOUT]
    unread = [
        (f"dumps/machine-{number}/vmcore", outcomes[number % 3], f"reason {number % 50}")
        for number in range(_TARGETS)
    ]
    write_fleet(path, {f"read-{number}.json": each for number, each in enumerate(snapshots)}, unread)


async def _drive(app: Watched, steps: Callable[[Driver], Awaitable[None]]) -> None:
    async with app.run_test(size=SIZE) as pilot:
        driver = Driver(app, pilot)
        while (
            app.view is None and not app.source.failure
        ):  # a recording is looked through first: that takes its time
            await asyncio.sleep(0.05)
        assert app.view is not None, app.source.failure
        await app.workers.wait_for_complete()
        await driver.rest()
        await steps(driver)


async def _measure(snapshot: Snapshot, later: Snapshot, names: Collection[str], keep: Keep) -> None:
    async def steps(driver: Driver) -> None:
        for table in TABLES:
            if table.name in names:
                run, opened = await _open(driver, table)
                keep(table.name, {"first paint": [opened], **await run.all()})
        if _GO_TO in names:
            keep(_GO_TO, {"filter keystroke": await _go_to(driver, snapshot)})
        if _COMPARED.name not in names:
            return
        await driver.app.show_other(View(later))
        run = _Run(driver, _COMPARED)
        await driver.until(lambda: run.is_there() and len(run.screen.source()) > 0, Moment.now())
        keep(_COMPARED.name, await run.all())

    if not {_TRACED.name, _FLEET.name, _PLAYED.name}.issuperset(names):
        await _drive(Watched(snapshot=snapshot), steps)
    with tempfile.TemporaryDirectory(prefix="nullfs-explorer-bench-") as directory:
        if _PLAYED.name in names:
            path = Path(directory) / "scaled.nxrec"
            write_recording(path, [snapshot, later])

            async def played(driver: Driver) -> None:
                run, opened = await _open(driver, _PLAYED)
                keep(_PLAYED.name, {"first paint": [opened], **await run.all()})

            await _drive(Watched(Session((str(path),), recording=path)), played)
        if _TRACED.name in names:
            path = Path(directory) / "lookups.jsonl"
            _many_lookups(path)
            await _drive_file(Watched(Session((str(path),), trace=path)), _TRACED, keep)
        if _FLEET.name in names:
            path = Path(directory) / "fleet"
            _many_targets(path, [load_snapshot(each) for each in _SNAPSHOTS])
            await _drive_file(Watched(Session((str(path),), fleet=path)), _FLEET, keep)


def measure_tables(snapshot: Snapshot, later: Snapshot, names: Collection[str], keep: Keep) -> None:
    """Measure, and hand out what each table took as soon as it is known.

    :param later: the same machine some moments later
    :param names: the tables that are wanted, of :data:`MEASURED`
    :param keep: takes a table's name, and how long each of its actions took
    """
    gc.collect()
    asyncio.run(_measure(snapshot, later, names, keep))
