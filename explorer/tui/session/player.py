"""Going through a recording: by frame, by event, at speed. All screens follow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.timer import Timer

from explorer.analysis.changes import find_changes
from explorer.model import Finding, Snapshot, escape_text
from explorer.plugin import PluginSet
from explorer.recording.format import RecordingError
from explorer.tui.keys import hidden
from explorer.tui.screens.base import BrowserScreen
from explorer.tui.screens.tables import FindingsScreen
from explorer.tui.widgets.timeline_bar import TimelineBar

from .playback import Playback
from .source import ReadingApp
from .state import View

__all__ = ("PlayingApp",)

_ACTIONS = frozenset({"step", "step_event", "frame_edge", "play", "speed"})


class PlayingApp(ReadingApp):
    """Knows the recording, if there is one, and shows its frames."""

    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("full_stop", "step(1)", "frame.next", "The next frame of the recording"),
        hidden("comma", "step(-1)", "frame.previous", "The frame before"),
        hidden("right_square_bracket", "step_event(1)", "frame.next-event", "The next event"),
        hidden("left_square_bracket", "step_event(-1)", "frame.previous-event", "The event before"),
        hidden("right_curly_bracket", "frame_edge(1)", "frame.last", "The last frame"),
        hidden("left_curly_bracket", "frame_edge(0)", "frame.first", "The first frame that can be read"),
        hidden("p", "play", "frame.play", "Play, or stop playing"),
        hidden("plus", "speed(1)", "frame.faster", "Play faster"),
        hidden("minus", "speed(-1)", "frame.slower", "Play slower"),
        hidden("J", "first_seen", "frame.first-seen", "The frame in which this finding begins"),
    ]

    playback: Playback | None = None
    _wanted = 0
    _timer: Timer | None = None

    # -- opening -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.session.recording is None:
            super()._read()
        else:
            self.run_worker(self._open_recording(), group="reader")

    async def _open_recording(self) -> None:
        """Look at all of it off the screen's time; no child is needed, as no kernel is read."""
        path, moment = self.session.recording, self.session.moment
        assert path is not None
        self.failure = ""
        self._stop_playing()
        if self.view is None:
            await self.switch_mode("reading")
        else:
            moment = f"#{self._wanted}"
        try:
            playback = await asyncio.to_thread(Playback.open, path, moment, self._opening)
            view = await self._make_frame_view(playback)
        except RecordingError as error:
            await self._failed(escape_text(str(error)))
            return
        if self.playback is not None:
            self.playback.recording.close()
        self.playback, self._wanted = playback, playback.index
        await self._show(view)
        if playback.recording.damage is not None:
            self.say(
                escape_text(
                    f"The file is cut off or damaged: {playback.recording.damage}; all before is shown."
                )
            )

    @property
    def status(self) -> str:
        """On every screen: what comes after the last frame is not known."""
        damaged = self.playback is not None and self.playback.recording.damage is not None
        return "  ".join(filter(None, (super().status, "FILE CUT OFF" if damaged else "")))

    def _opening(self, done: int, total: int) -> None:
        """Called in the reading thread."""
        self.target.note(f"frames read {done} of {total}")

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        """A recording changes from frame to frame."""
        return super().marks if self.playback is None or self.view is None else self.view.changes.marks

    # -- moments -----------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that lead nowhere now are neither shown nor obeyed."""
        if action == "first_seen":
            return self.playback is not None and isinstance(self.screen, FindingsScreen)
        if action in _ACTIONS:
            return self.playback is not None
        return super().check_action(action, parameters)

    def show_frame(self, index: int) -> None:
        """Go to a frame, or to the nearest that can be read."""
        if self.playback is None:
            return
        self._wanted = self.playback.nearest(index)
        self.run_worker(self._follow(self.playback), group="go")

    async def _follow(self, playback: Playback) -> None:
        if self._wanted == playback.index:
            return
        before, playback.index = playback.index, self._wanted
        try:
            view = await self._make_frame_view(playback)
        except RecordingError as error:
            playback.index = self._wanted = before
            self.say(escape_text(str(error)))
            return
        if playback.index == self._wanted:  # else somebody went on while this was read
            self.view = view
            self._catch_up()

    async def _make_frame_view(self, playback: Playback) -> View:
        """The view of the playback's frame, and what has changed since the frame before it."""
        number = 0 if self.view is None else self.view.number + 1
        return await asyncio.to_thread(_frame_view, playback, playback.index, number, self.session.plugins)

    def action_step(self, by: int) -> None:
        if self.playback is not None:
            self._stop_playing()
            self.show_frame(self.playback.stepped(self._wanted, by))

    def action_step_event(self, direction: int) -> None:
        if self.playback is None:
            return
        self._stop_playing()
        index = self.playback.beside_event(self._wanted, direction)
        if index is None:
            self.say("There is no later event." if direction > 0 else "There is no earlier event.")
        else:
            self.show_frame(index)

    def action_frame_edge(self, last: int) -> None:
        if self.playback is not None:
            self._stop_playing()
            self.show_frame(self.playback.readable[-1 if last else 0])

    @on(TimelineBar.Sought)
    def _sought(self, event: TimelineBar.Sought) -> None:
        self._stop_playing()
        self.show_frame(event.index)

    def action_first_seen(self) -> None:
        screen, playback = self.screen, self.playback
        if playback is None or not isinstance(screen, FindingsScreen):
            return
        source = screen.source()
        if source is not None and 0 <= screen.table.row < len(source):
            self.run_worker(self._go_to_first(playback, source.records[screen.table.row]), group="go")

    async def _go_to_first(self, playback: Playback, finding: Finding) -> None:
        index = await asyncio.to_thread(playback.first_with, finding, self.session.plugins)
        if index == playback.index:
            self.say("This frame is the first that has it.")
        else:
            self._wanted = index
            await self._follow(playback)

    # -- at speed ----------------------------------------------------------------------------------------------

    def action_play(self) -> None:
        playback = self.playback
        if playback is None:
            return
        if playback.playing:
            self._stop_playing()
            return
        if playback.wait_s() is None:
            self.show_frame(playback.readable[0])
        playback.playing = True
        self._schedule(playback)

    def action_speed(self, step: int) -> None:
        if self.playback is not None:
            self.playback.change_speed(step)
            self._moment_changed()

    def _schedule(self, playback: Playback) -> None:
        self._moment_changed()
        wait = playback.wait_s()
        if wait is None:
            self._stop_playing()
        else:
            self._timer = self.set_timer(wait, self._play_on)

    async def _play_on(self) -> None:
        playback = self.playback
        if playback is None or not playback.playing:
            return
        self._wanted = playback.stepped(playback.index, 1)
        await self._follow(playback)
        self._schedule(playback)

    def _stop_playing(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self.playback is not None and self.playback.playing:
            self.playback.playing = False
            self._moment_changed()

    def _moment_changed(self) -> None:
        if isinstance(self.screen, BrowserScreen):
            self.screen.show_moment()


def _frame_view(playback: Playback, index: int, number: int, plugins: PluginSet) -> View:
    """Runs in a thread. :raises RecordingError: if the file is damaged there"""
    name = escape_text(Path(playback.recording.name).name)
    bare = View(playback.snapshot(index), None, number, name=name, plugins=plugins)
    earlier = playback.before(index)
    if earlier is None:
        return bare
    before: Snapshot = playback.snapshot(earlier)
    return replace(bare, changes=find_changes(before, bare.snapshot))
