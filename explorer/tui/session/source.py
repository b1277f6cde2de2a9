"""Reading the target: for the first time, again when asked, again at an interval, under sudo; and what that changes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from explorer.analysis.changes import find_changes
from explorer.model import escape_text
from explorer.tui.faults import FAULT_MODE
from explorer.tui.navigation import TravelApp
from explorer.tui.screens.base import BrowserScreen
from explorer.tui.screens.problem import ProblemScreen
from explorer.tui.settings import keep_snapshot

from .child import ReaderFailure, Reading
from .event_log import EventLog
from .schedule import Schedule, age
from .state import Session, View
from .target import Target

__all__ = ("ReadingApp",)

_TICK_S = 0.5
#: A reading at an interval that takes longer than this is shown as one: shorter ones would only flicker.
_NOTICEABLE_S = 1.0


class ReadingApp(TravelApp):
    """Owns the target and what was read of it. One child reads at a time."""

    def __init__(self, session: Session, view: View | None) -> None:
        super().__init__()
        self.session = session
        self.view = view
        self.failure = ""
        self.log_book = EventLog()
        self.target = Target(session.arguments, (), self._catch_up)
        self.schedule = Schedule(session.interval if session.running else None)
        self._by_itself = False
        self._has_crashed = False
        """The reading before this one crashed, and is saved."""
        self._is_reading = False
        """From the moment a reading is wanted: the child comes a little later."""

    def start_reading(self) -> None:
        """Begin, where there is nothing to show yet; and look after the interval from now on."""
        self.set_interval(_TICK_S, self._tick)
        if self.view is None:
            self._read()
        else:
            self.schedule.ended(time.monotonic(), ok=True)

    # -- what is going on, for the header --------------------------------------------------------------------

    @property
    def activity(self) -> str:
        """What is being done: empty when nothing is."""
        if not self.target.is_reading or (self._by_itself and self.target.seconds < _NOTICEABLE_S):
            return ""
        return f"reading again: {self.target.progress}   X stops it"

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        """What the tables mark as changed; ``None`` where nothing ever changes."""
        return self.view.changes.marks if self.view is not None and self.session.running else None

    @property
    def is_paused(self) -> bool:
        """Nobody looks: the terminal says that it has not the focus. Suspended, the whole process stands still."""
        return not self.app_focus

    @property
    def status(self) -> str:
        """How old what is shown is, and when it will be read again; what has happened since the log was open."""
        parts = []
        if self.log_book.unseen:
            parts.append(f"L {self.log_book.unseen} new")
        if self.view is not None and self.session.running:
            parts.append(age(time.monotonic() - self.view.read_at))
            due = self.schedule.due_in(time.monotonic())
            if self.schedule.failures:
                again = "" if due is None else f", again in {due:.0f} s"
                parts.append(f"NOT READ AGAIN{again}")
            elif self.schedule.interval is not None:
                parts.append("paused" if self.is_paused else f"every {self.schedule.interval:g} s")
        return "  ".join(parts)

    def _browser(self) -> BrowserScreen | None:
        """The screen that shows the view; ``None`` where another one does, or none is left as the app ends."""
        screens = self._screen_stacks.get(self._current_mode)
        return screens[-1] if screens and isinstance(screens[-1], BrowserScreen) else None

    def _catch_up(self) -> None:
        screen = self._browser()
        if screen is not None:
            screen.catch_up()

    def _tick(self) -> None:
        """Read again if it is time to. A screen over the others does not stop it: the log is to have no holes."""
        due = self.schedule.due_in(time.monotonic())
        if due == 0.0 and self.view is not None and not self._is_reading and not self.is_paused:
            self._by_itself = True
            self._read()
        screen = self._browser()
        if screen is not None:
            screen.show_status()

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """One at a time: whoever wants another one waits."""
        if not self._is_reading:
            self._is_reading = True
            self.run_worker(self._read_target(), group="reader")

    async def _read_target(self) -> None:
        """Read, and show what came of it. What was shown before stays until there is something new."""
        self.failure = ""
        began = time.monotonic()
        task = asyncio.ensure_future(self.target.read())
        if self.view is None:
            await self.switch_mode("reading")
        try:
            reading = await task
            view = await self._make_view(reading, began)
        except ReaderFailure as error:
            self.schedule.ended(time.monotonic(), ok=False)
            await self._failed(error.reason)
            return
        finally:
            self._by_itself = self._is_reading = False
        self.schedule.ended(time.monotonic(), ok=True)
        await self._show(view)
        await self.keep_partial(reading)

    async def _make_view(self, reading: Reading, began: float) -> View:
        """A view, compared with the one before; in a thread, as very many tasks take a while."""
        old = self.view
        number = 0 if old is None else old.number + 1
        bare = View(reading.snapshot, reading.partial, number, began, plugins=self.session.plugins)
        if old is None or not self.session.running or reading.crashed:  # what has not arrived has not gone
            return bare

        def compare() -> View:
            findings = bare.audit.findings
            changes = find_changes(old.snapshot, bare.snapshot, old.audit.findings, findings)
            view = replace(bare, changes=changes)
            view.__dict__["audit"] = bare.audit
            return view

        return await asyncio.to_thread(compare)

    async def _show(self, view: View) -> None:
        first, self.view = self.view is None, view
        if self.session.recording is None:  # all that happened in a recording is on its timeline
            self.log_book.add_events(view.changes.events, datetime.now())
        self.name_window()
        if first:
            await self.switch_mode("overview")
        else:
            self._catch_up()
        if view.partial is not None:
            self._say_partial(view)
        if first and self.session.against is not None:
            self.compare_with(self.session.against)

    def _say_partial(self, view: View) -> None:
        count = len(view.snapshot.errors)
        text = f"{count} value{'s' * (count != 1)} could not be read. K says which."
        if self.schedule.interval is None:
            self.say(f"Partial: {text}")
        else:
            self.log_book.note("not readable", text, datetime.now(), "warn")

    async def keep_partial(self, reading: Reading) -> None:
        """What a child that crashed had read is saved; of several in a row, that of the first."""
        first, self._has_crashed = reading.crashed and not self._has_crashed, reading.crashed
        if first:
            where = await asyncio.to_thread(keep_snapshot, reading.snapshot, datetime.now())
            text = f"The reader crashed. What it had read is shown, and {escape_text(where)}"
            self.log_book.note("reader crashed", text, datetime.now(), "bad")
            self.say(text)

    async def _failed(self, reason: str) -> None:
        self.failure = reason
        if self.view is None:
            await self.switch_mode("problem")
            return
        self.log_book.note("not read again", reason, datetime.now(), "bad")
        self._catch_up()
        if self.schedule.failures == 1 or self.schedule.interval is None:
            self.say(f"Not read again: {reason}")  # the ones after it are in the header and in the log

    def name_window(self) -> None:
        """The terminal's title."""
        if self.view is not None:
            name = self.view.name or escape_text(self.view.snapshot.capture.source.target)
            self.title = f"nullfs-explorer: {name}"

    # -- keys ------------------------------------------------------------------------------------------------

    async def action_stop_reading(self) -> None:
        await self.target.cancel()

    def action_refresh_target(self) -> None:
        if self._is_reading:
            self.say("It is being read. X stops that.")
        elif self.session.arguments:
            self._read()
        else:
            self.say("There is no target to read again: this is a snapshot.")

    def action_read_again(self) -> None:
        self._read()

    def action_next_interval(self) -> None:
        if not self.session.running:
            self.say(
                "This does not change: only a kernel that runs is read again by itself. r reads it once."
            )
            return
        self.schedule.next_interval()
        each = self.schedule.interval
        self.say("Read again only with r." if each is None else f"Read again every {each:g} s.")
        self._catch_up()

    def action_open_sample(self) -> None:
        self._set_session(Session(("sample",)), ())
        self._read()

    def _set_session(self, session: Session, prefix: tuple[str, ...]) -> None:
        self.session = session
        self.target = Target(session.arguments, prefix, self._catch_up)
        self.schedule.interval = session.interval if session.running else None

    def can_use_sudo(self) -> bool:
        """Whether reading as root is a way on that has not been taken."""
        live = self.session.guess or "live" in self.session.arguments
        # In a browser there is no terminal in which sudo could ask.
        able = self._driver is not None and not self._driver.is_web and shutil.which("sudo") is not None
        return live and os.geteuid() != 0 and not self.target.prefix and able

    def action_read_with_sudo(self) -> None:
        """Let sudo ask for a password in the terminal; then only the child runs as root."""
        if not self.can_use_sudo():
            return
        with self.suspend():
            print("The reader of the running kernel needs root; the screen does not.", flush=True)
            allowed = subprocess.run(["sudo", "-v"], check=False).returncode == 0
        if allowed:
            self._set_session(self.session, ("sudo", "-n", "--"))
            self._read()
        else:
            self.failure = "sudo did not let you, so nothing was read"
            if isinstance(self.screen, ProblemScreen):
                self.screen.show_reason()

    # -- what the app offers ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A notice that goes away by itself; kernel text in it is escaped already."""
        self.notify(text, markup=False)

    def compare_with(self, name: str) -> None:
        """Ask for a second target, beginning with this one."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that lead nowhere now are neither shown nor obeyed."""
        if action == "browse" and self.current_mode == FAULT_MODE:
            return False  # its own keys make the screen anew that failed
        if action in _NEEDS_VIEW:
            return self.view is not None
        if action == "stop_reading":
            return self.target.is_reading
        return action != "read_with_sudo" or self.can_use_sudo()


_NEEDS_VIEW: frozenset[Any] = frozenset(
    {"browse", "kernel", "refresh_target", "next_interval", "compare", "event_log"}
)
