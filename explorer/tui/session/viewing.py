"""What is looked at, a kernel or a recording: it is read when somebody wants it, and the screen that is due follows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from explorer.fleet import FleetTarget
from explorer.model import escape_text

from .fleet import ListedFleet
from .host import Host
from .player import Player
from .source import Source
from .state import Session, View
from .tracing import Tracing

__all__ = ("Viewing",)


class Viewing:
    """A source, and a player for what is a recording. One of them has the view."""

    def __init__(self, session: Session, host: Host, view: View | None) -> None:
        self._host = host
        self.source = Source(session, host, view)
        self.player = Player(host)
        self.tracing = Tracing(host, self.source)
        self.fleet = ListedFleet()

    @property
    def view(self) -> View | None:
        """What is shown. It never changes: another one takes its place."""
        return self.player.view or self.source.view

    @property
    def shows_something(self) -> bool:
        """Whether there is a screen to go to."""
        return self.view is not None or self.tracing.is_file or self.fleet.is_there

    @property
    def title(self) -> str:
        """What is shown, by name; escaped."""
        if self.view is None:
            name = self.tracing.name if self.tracing.is_file else self.fleet.name
            return f"nullfs-explorer: {name}" if name else "nullfs-explorer"
        return f"nullfs-explorer: {self.view.name or escape_text(self.view.snapshot.capture.source.target)}"

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        """What the tables mark as changed; ``None`` where nothing ever changes."""
        return self.source.marks if self.player.view is None else self.player.view.changes.marks

    def status(self, paused: bool) -> str:
        """How old what is shown is, and what it lacks. :param paused: nobody looks"""
        damaged = "FILE CUT OFF" if self.player.is_damaged else ""
        return "  ".join(filter(None, (self.source.status(paused), damaged)))

    # -- reading ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read what is to be shown, if it is not there already."""
        if self.view is None:
            self.read()
        else:
            self.source.begin()

    def read(self) -> None:
        """One reading at a time: whoever wants another one waits."""
        if self.source.session.recording is not None:
            self._host.work(self._open_recording())
        elif self.source.session.trace is not None:
            self._host.work(self._open_trace(self.source.session.trace))
        elif self.source.session.fleet is not None:
            self._host.work(self._open_fleet(self.source.session.fleet))
        elif self.source.want():
            self._host.work(self._read_source())

    def read_again(self) -> None:
        """As :meth:`read`; or say why not."""
        why_not = self.source.why_not_again()
        if why_not is None:
            self.read()
        else:
            self._host.say(why_not)

    def tick(self, paused: bool) -> None:
        """Read again if it is time to. A screen over the others does not stop it: the log is to have no holes."""
        if self.source.want_by_itself(paused):
            self._host.work(self._read_source())

    def open_sample(self) -> None:
        """Read the sample from now on, as the installed plugins see it."""
        self.source.look_at(Session(("sample",)))
        self.read()

    async def _read_source(self) -> None:
        first = self.view is None
        task = asyncio.ensure_future(self.source.read())
        if first:
            await self._host.show_mode("reading")
            await self._host.make_ready("overview")
        reading = await task
        await self._show(first)
        if reading is not None:
            await self.source.keep_partial(reading)

    async def _open_recording(self) -> None:
        first, self.source.failure = self.view is None, ""
        self.player.stop()
        if first:
            await self._host.show_mode("reading")
        note = self.source.target.note
        problem = await self.player.open(
            self.source.session, lambda done, total: note(f"frames read {done} of {total}")
        )
        if problem is not None:
            self.source.fail(problem, is_shown=not first)
        await self._show(first)
        if problem is None:
            self.player.say_damage()

    async def _open_trace(self, path: Path) -> None:
        """A saved trace has a screen of its own, and no snapshot."""
        self.source.failure = ""
        await self._host.show_mode("reading")
        self.source.target.note("lookups")
        problem = await self.tracing.open(path)
        if problem is not None:
            self.source.fail(problem, is_shown=False)
        await self._host.show_mode("lookups" if problem is None else "problem")
        if problem is None:
            self.tracing.say_lost()

    async def _open_fleet(self, path: Path) -> None:
        """A fleet has a screen of its own, and no snapshot before one of its targets is opened."""
        self.source.failure = ""
        await self._host.show_mode("reading")
        self.source.target.note("targets")
        problem = await self.fleet.open(path)
        if problem is not None:
            self.source.fail(problem, is_shown=False)
        await self._host.show_mode("fleet" if problem is None else "problem")

    async def open_target(self, target: FleetTarget) -> bool:
        """Read a target of the fleet, and show it. False: it cannot be, which is said; the fleet is shown still."""
        file = await self.fleet.file_of(target)
        if file is None:
            why = f"{target.outcome}: {target.why}" if target.why else "its snapshot was not kept"
            self._host.say(f"{target.path} is not here to be opened, and no snapshot of it is: {why}")
            return False
        if not self.source.want():
            self._host.say("Another one is being read. X stops that.")
            return False
        session = self.source.session
        self.source.forget(replace(session, arguments=(file, *session.options), fleet=None, against=None))
        self.fleet.opened = target
        await self._host.show_mode("reading")
        reading = await self.source.read()
        if self.view is None:
            self._host.say(f"{target.path} cannot be opened: {self.source.failure}")
            await self._host.show_mode("fleet")
            return False
        await self._show(first=True)
        if reading is not None:
            await self.source.keep_partial(reading)
        return True

    def why_not(self, mode: str) -> str | None:
        """Why a screen has nothing to show, in a sentence; ``None``: it has."""
        if mode == "lookups":
            if self.tracing.is_there or (self.view is not None and self.source.session.is_live):
                return None
            return "Only the running kernel can be traced: nullfs-explorer live. FILE shows a saved trace."
        if mode == "fleet":
            return (
                None
                if self.fleet.is_there
                else "This is one target: nullfs-explorer FLEET lists those of a fleet."
            )
        if self.view is None and self.fleet.is_there:
            return "This is a fleet: enter opens one of its targets."
        if self.view is None:
            return "This is a trace of lookups, and no snapshot: there are no tasks or mounts to show."
        return None

    async def _show(self, first: bool) -> None:
        """After a reading: what came of it."""
        view = self.view
        if view is None:
            await self._host.show_mode("problem")
        elif not self.source.failure:
            if first:
                await self._host.show_mode("overview")
            else:
                self._host.catch_up()
            self.source.say_partial(view)
            if first and self.source.session.against is not None:
                self._host.compare_with(self.source.session.against)
