"""Going through a recording: by frame, by event, at speed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from explorer.model import Finding, escape_text
from explorer.plugin import PluginSet
from explorer.recording import RecordingError

from .background import give_way, in_background
from .host import Alarm, Host
from .playback import Playback
from .state import Session, View

__all__ = ("Player",)

#: Seconds for which frames are looked at before what happened in them is shown.
_AT_A_TIME_S = 0.25


class Player:
    """Shows the frames of a recording, one after the other. Without one, nothing it is asked for happens."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.playback: Playback | None = None
        self.view: View | None = None
        """The frame on the screen."""
        self._wanted = 0
        """The frame that is to be there, once it is read."""
        self._alarm: Alarm | None = None

    @property
    def is_damaged(self) -> bool:
        """What comes after the last frame is not known."""
        return self.playback is not None and self.playback.recording.damage is not None

    async def open(self, session: Session, progress: Callable[[int, int], None]) -> str | None:
        """Show a recording, and look at all of it off the screen's time; no child is needed, as no kernel is read.

        What was shown of it before stays where it was. Why it cannot be shown, escaped, or ``None``.

        :param progress: called in the reading thread, with frames read and of how many
        """
        assert session.recording is not None
        self.stop()
        moment = session.moment if self.view is None else f"#{self._wanted}"
        try:
            playback = await asyncio.to_thread(Playback.open, session.recording, moment, progress)
            view = await self._make_view(playback, session.plugins)
        except RecordingError as error:
            return escape_text(str(error))
        if self.playback is not None:
            self.playback.recording.close()
        self.playback, self._wanted, self.view = playback, playback.index, view
        if not playback.is_all_seen:
            self._host.work(self._look_on(playback))
        return None

    async def _look_on(self, playback: Playback) -> None:
        """Derive the rest of what happened, and show it as it is found."""
        while self.playback is playback and not playback.is_all_seen:
            try:
                await asyncio.to_thread(_look_on, playback)
            except RecordingError as error:
                if self.playback is playback:
                    why = f"what happened from frame #{playback.looked_at} on is not known: {error}"
                    self._host.say(escape_text(why))
                return
            if self.playback is playback:
                self._host.catch_up()

    def say_damage(self) -> None:
        """Say that the file ends too early, if it does."""
        if self.playback is not None and self.playback.recording.damage is not None:
            damage = self.playback.recording.damage
            self._host.say(escape_text(f"The file is cut off or damaged: {damage}; all before is shown."))

    # -- moments ---------------------------------------------------------------------------------------------

    def show_frame(self, index: int) -> None:
        """Go to a frame, or to the nearest that can be read."""
        if self.playback is not None:
            self._wanted = self.playback.nearest(index)
            self._host.go(self._follow(self.playback))

    async def _follow(self, playback: Playback) -> None:
        if self._wanted == playback.index or self.view is None:
            return
        before, playback.index = playback.index, self._wanted
        try:
            view = await self._make_view(playback, self.view.plugins)
        except RecordingError as error:
            playback.index = self._wanted = before
            self._host.say(escape_text(str(error)))
            return
        if playback.index == self._wanted:  # else somebody went on while this was read
            self.view = view
            self._host.catch_up()

    async def _make_view(self, playback: Playback, plugins: PluginSet) -> View:
        """The view of the playback's frame, and what has changed since the frame before it."""
        number = 0 if self.view is None else self.view.number + 1
        return await asyncio.to_thread(_frame_view, playback, playback.index, number, plugins)

    def step(self, by: int) -> None:
        """So many frames on, and stop playing."""
        if self.playback is not None:
            self.seek(self.playback.stepped(self._wanted, by))

    def step_event(self, direction: int) -> None:
        """To the next event, or the one before."""
        if self.playback is None:
            return
        self.stop()
        index = self.playback.beside_event(self._wanted, direction)
        if index is None:
            self._host.say("There is no later event." if direction > 0 else "There is no earlier event.")
        else:
            self.show_frame(index)

    def to_edge(self, last: int) -> None:
        """To the first frame that can be read (0), or the last (1)."""
        if self.playback is not None:
            self.seek(self.playback.readable[-1 if last else 0])

    def seek(self, index: int) -> None:
        """Stop playing, and go to a frame."""
        self.stop()
        self.show_frame(index)

    def show_first(self, finding: Finding) -> None:
        """To the frame in which a finding begins."""
        if self.playback is not None and self.view is not None:
            self._host.go(self._go_to_first(self.playback, finding, self.view.plugins))

    async def _go_to_first(self, playback: Playback, finding: Finding, plugins: PluginSet) -> None:
        index = await asyncio.to_thread(playback.first_with, finding, plugins)
        if index == playback.index:
            self._host.say("This frame is the first that has it.")
        else:
            self._wanted = index
            await self._follow(playback)

    # -- at speed --------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Play, from the beginning if this is the end; or stop playing."""
        playback = self.playback
        if playback is None:
            return
        if playback.playing:
            self.stop()
            return
        playback.playing = True
        if playback.wait_s() is None:
            self._host.go(self._play_from_the_beginning(playback))
        else:
            self._schedule(playback)

    async def _play_from_the_beginning(self, playback: Playback) -> None:
        self._wanted = playback.readable[0]
        await self._follow(playback)
        if playback.playing:  # else somebody stopped it while the frame was read
            self._schedule(playback)

    def change_speed(self, step: int) -> None:
        """Play faster, or slower."""
        if self.playback is not None:
            self.playback.change_speed(step)
            self._host.show_moment()

    def _schedule(self, playback: Playback) -> None:
        self._host.show_moment()
        wait = playback.wait_s()
        if wait is None:
            self.stop()
        else:
            if self._alarm is not None:
                self._alarm.stop()
            self._alarm = self._host.later(wait, self._play_on)

    async def _play_on(self) -> None:
        playback = self.playback
        if playback is None or not playback.playing:
            return
        self._wanted = playback.stepped(playback.index, 1)
        alarm = self._alarm
        await self._follow(playback)
        if self._alarm is alarm:  # else somebody stopped it, or began again, while the frame was read
            self._schedule(playback)

    def stop(self) -> None:
        """Stop playing."""
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        if self.playback is not None and self.playback.playing:
            self.playback.playing = False
            self._host.show_moment()


def _look_on(playback: Playback) -> None:
    """Runs in a thread. :raises RecordingError: if the file is damaged there"""
    with in_background():
        give_way()
        playback.look_on(_AT_A_TIME_S)


def _frame_view(playback: Playback, index: int, number: int, plugins: PluginSet) -> View:
    """Runs in a thread. :raises RecordingError: if the file is damaged there"""
    name = escape_text(Path(playback.recording.name).name)
    bare = View(playback.snapshot(index), None, number, name=name, plugins=plugins)
    earlier = playback.before(index)
    if earlier is None:
        return bare
    return replace(bare, changes=playback.changes(earlier, index))
