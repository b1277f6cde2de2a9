"""A kernel, or what was saved of one, as it is read: for the first time, when asked, at an interval, under sudo."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from explorer.analysis import lost_tasks
from explorer.analysis.diff import find_changes
from explorer.caller import runs_for_another_user
from explorer.model import escape_text
from explorer.program import find_starter
from explorer.tui.settings import keep_snapshot
from explorer.tui.views import OVERVIEW_COLUMNS

from .children import ReaderFailure, Reading
from .event_log import EventLog
from .host import Host
from .schedule import Schedule, age
from .state import Session, View
from .target import Target

__all__ = ("SUDO", "Source")

#: A reading at an interval that takes longer than this is shown as one: shorter ones would only flicker.
_NOTICEABLE_S = 1.0
#: What runs the child once sudo has let the user: it asks for no password then.
SUDO = ("sudo", "-n", "--")


class Source:
    """Owns the target and what was read of it. One child reads at a time."""

    def __init__(self, session: Session, host: Host, view: View | None = None) -> None:
        self._host = host
        self.view = view
        """What was read last: there is one as long as the app runs, once there is one."""
        self.failure = ""
        """Why there is nothing new; escaped."""
        self.log = EventLog()
        self.schedule = Schedule()
        self.by_itself = False
        self.is_wanted = False
        """From the moment a reading is wanted: the child comes a little later."""
        self._has_crashed = False
        """The reading before this one crashed, and is saved."""
        self.look_at(session)

    def look_at(self, session: Session, prefix: tuple[str, ...] = ()) -> None:
        """Read something else from now on. :param prefix: what runs the child, such as :data:`SUDO`"""
        self.session = session
        self.target = Target(session.arguments, prefix, self._host.catch_up)
        self.schedule.interval = session.interval if session.running else None

    def forget(self, session: Session) -> None:
        """Something else altogether is looked at from now on: nothing of what was read before is of it."""
        self.look_at(session)
        self.view, self.failure = None, ""
        self.log.clear()

    # -- what is going on ------------------------------------------------------------------------------------

    @property
    def activity(self) -> str:
        """What is being done: empty when nothing is."""
        if not self.target.is_reading or (self.by_itself and self.target.seconds < _NOTICEABLE_S):
            return ""
        return f"reading again: {self.target.progress}   X stops it"

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        """What the tables mark as changed; ``None`` where nothing ever changes."""
        return self.view.changes.marks if self.view is not None and self.session.running else None

    def status(self, paused: bool) -> str:
        """How old what is shown is, and when it will be read again; what has happened since the log was open."""
        parts = []
        if self.log.unseen:
            parts.append(f"L {self.log.unseen} new")
        if self.view is not None and self.session.running:
            parts.append(age(time.monotonic() - self.view.read_at))
            due = self.schedule.due_in(time.monotonic())
            if self.schedule.failures:
                again = "" if due is None else f", again in {due:.0f} s"
                parts.append(f"NOT READ AGAIN{again}")
            elif self.schedule.interval is not None:
                parts.append("paused" if paused else f"every {self.schedule.interval:g} s")
        return "  ".join(parts)

    # -- reading ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The view is there from the beginning: the interval counts from now on."""
        self.schedule.ended(time.monotonic(), ok=True)

    def want(self) -> bool:
        """Ask for :meth:`read`. One at a time: False for whoever wants another one, and waits."""
        wanted, self.is_wanted = not self.is_wanted, True
        return wanted

    def want_by_itself(self, paused: bool) -> bool:
        """Ask for :meth:`read`, if it is time to."""
        due = self.schedule.due_in(time.monotonic())
        if due != 0.0 or self.view is None or self.is_wanted or paused:
            return False
        self.by_itself = True
        return self.want()

    async def read(self) -> Reading | None:
        """Read, and make a view of it. What was shown before stays until there is something new.

        ``None``: it failed, and :attr:`failure` says why
        """
        self.failure = ""
        began = time.monotonic()
        try:
            reading = await self._read_saved() or await self.target.read()
            view = await self._make_view(reading, began)
        except ReaderFailure as error:
            self.schedule.ended(time.monotonic(), ok=False)
            self.fail(error.reason, self.view is not None)
            return None
        finally:
            self.by_itself = self.is_wanted = False
        self.schedule.ended(time.monotonic(), ok=True)
        self.show(view)
        return reading

    async def _read_saved(self) -> Reading | None:
        """A saved snapshot, off the screen's time: a second sooner than from a child, which starts, reads it, writes it
        and ends.

        ``None`` where a child has to: under sudo it gives up root's rights first, what is not laid out as it is
        written here may take long, and what is wrong or missing is for the child to say.
        """
        saved = self.session.saved
        if saved is None or runs_for_another_user():
            return None
        snapshot = await asyncio.to_thread(saved.load, OVERVIEW_COLUMNS)
        if snapshot is None or snapshot.errors or lost_tasks(snapshot) is not None:
            return None
        return Reading(snapshot)

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

    def show(self, view: View) -> None:
        """Take a view as what was read; the log gets what has changed."""
        self.view = view
        self.log.add_events(view.changes.events, datetime.now())
        self._host.catch_up()

    def fail(self, reason: str, is_shown: bool) -> None:
        """There is nothing new. :param is_shown: there is something old; else it is for the app to say why"""
        self.failure = reason
        if not is_shown:
            return
        self.log.note("not read again", reason, datetime.now(), "bad")
        self._host.catch_up()
        if self.schedule.failures == 1 or self.schedule.interval is None:
            self._host.say(f"Not read again: {reason}")  # the ones after it are in the header and in the log

    def say_partial(self, view: View) -> None:
        """Say that values are missing, if some are."""
        if view.partial is None:
            return
        count = len(view.snapshot.errors)
        text = f"{count} value{'s' * (count != 1)} could not be read. K says which."
        if self.schedule.interval is None:
            self._host.say(f"Partial: {text}")
        else:
            self.log.note("not readable", text, datetime.now(), "warn")

    async def keep_partial(self, reading: Reading) -> None:
        """What a child that crashed had read is saved; of several in a row, that of the first."""
        first, self._has_crashed = reading.crashed and not self._has_crashed, reading.crashed
        if first:
            where = await asyncio.to_thread(keep_snapshot, reading.snapshot, datetime.now())
            text = f"The reader crashed. What it had read is shown, and {escape_text(where)}"
            self.log.note("reader crashed", text, datetime.now(), "bad")
            self._host.say(text)

    # -- as the user wants it --------------------------------------------------------------------------------

    def next_interval(self) -> None:
        """Choose the next interval, and say which it is."""
        if not self.session.running:
            self._host.say(
                "This does not change: only a kernel that runs is read again by itself. r reads it once."
            )
            return
        self.schedule.next_interval()
        each = self.schedule.interval
        self._host.say("Read again only with r." if each is None else f"Read again every {each:g} s.")
        self._host.catch_up()

    def why_not_again(self) -> str | None:
        """Why nothing can be read now, in a sentence; ``None``: it can."""
        if self.is_wanted:
            return "It is being read. X stops that."
        return None if self.session.arguments else "There is no target to read again: this is a snapshot."

    def can_use_sudo(self, terminal: bool) -> bool:
        """Whether reading as root is a way on that has not been taken. :param terminal: sudo can ask there"""
        live = self.session.guess or "live" in self.session.arguments
        able = terminal and shutil.which("sudo") is not None and find_starter() is None
        return live and os.geteuid() != 0 and not self.target.prefix and able

    def ask_sudo(self) -> bool:
        """Let sudo ask for a password in the terminal, which is free now; then only the child runs as root."""
        print("The reader of the running kernel needs root; the screen does not.", flush=True)
        allowed = subprocess.run(["sudo", "-v"], check=False).returncode == 0
        if allowed:
            self.look_at(self.session, SUDO)
        else:
            self.failure = "sudo did not let you, so nothing was read"
        return allowed
