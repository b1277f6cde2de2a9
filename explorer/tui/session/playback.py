"""A recording that is being looked at: its frames, what happened in it, and which moment is on the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from explorer.analysis import findings_of_rule
from explorer.analysis.diff import Changes, find_changes
from explorer.analysis.rules import RULES
from explorer.analysis.timeline import Event, TimelineBuilder
from explorer.model import Finding, Frame, Snapshot, no_garbage_collection
from explorer.plugin import PluginSet
from explorer.recording import Recording, RecordingError

__all__ = ("SPEEDS", "Playback")

#: How many seconds of the recording pass in one on the clock.
SPEEDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SHORTEST_S = 0.05
#: Seconds for which frames are looked at before one is shown: all of a recording that is small.
_AT_FIRST_S = 0.2
#: The first frame with a finding is looked for no further back than so many frames.
_MOST_AUDITS = 2000


class Playback:
    """Knows the moment; does not know the screen. Files are read under a lock: any thread may ask.

    What happened is told of the frames that were looked at; a large recording is shown before all of them were.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.readable = [number for number, bad in enumerate(recording.unreadable) if not bad]
        if not self.readable:
            raise RecordingError(
                f"{recording.name}: the kernel could not be read in any of {len(recording)} frames"
            )
        self.index = self.readable[-1]
        """The frame on the screen; always one that could be read."""
        self.speed = 1.0
        self.playing = False
        self._lock = Lock()
        self._builder, self._ahead = TimelineBuilder(), recording.still_frames()
        self.looked_at = 0
        """So many frames are in the timeline."""
        self.timeline = self._builder.so_far(len(recording))

    @classmethod
    def open(
        cls, path: Path, moment: str | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Playback:
        """Open a recording and look at as much of it as nobody notices.

        :param moment: where to begin, as ``3.4s`` or ``#12``; the end if ``None``
        :param progress: called with frames read, of how many
        :raises RecordingError: if it is no recording, or no frame of it can be shown
        """
        recording = Recording.open(path)
        try:
            playback = cls(recording)
            if moment is not None:
                playback.index = playback.nearest(recording.find(moment))
            playback.look_on(_AT_FIRST_S, progress)
        except BaseException:
            recording.close()
            raise
        return playback

    @property
    def is_all_seen(self) -> bool:
        """Whether the timeline is of all frames."""
        return self.looked_at == len(self.recording)

    def look_on(self, seconds: float, progress: Callable[[int, int], None] | None = None) -> None:
        """Look at further frames for so long, at one at least. :raises RecordingError: if the file is damaged there"""
        total, until = len(self.recording), time.monotonic() + seconds
        try:
            while not self.is_all_seen:
                with self._lock, no_garbage_collection():
                    frame = next(self._ahead)
                    self._builder.add(frame)
                self.looked_at += 1
                if progress is not None:
                    progress(self.looked_at, total)
                if time.monotonic() >= until:
                    break
        finally:
            end = self.recording.end
            if self.is_all_seen:
                self.timeline = self._builder.finish(None if end is None else (end.seconds, end.reason))
            else:
                self.timeline = self._builder.so_far(total)

    @property
    def seconds(self) -> float:
        return self.recording.times[self.index]

    @property
    def why_unreadable(self) -> str | None:
        """What is said of the frames that cannot be shown, if there are any."""
        first = next((number for number, bad in enumerate(self.recording.unreadable) if bad), None)
        return None if first is None else self._frame(first).why

    def _frame(self, index: int) -> Frame:
        with self._lock:
            return self.recording.frame(index)

    def snapshot(self, index: int) -> Snapshot:
        """The snapshot of a frame that could be read. :raises RecordingError: if the file is damaged there"""
        found = self._frame(index).snapshot
        if found is None:
            raise RecordingError(
                f"{self.recording.name}: frame #{index} could not be read when it was recorded"
            )
        return found

    def _still(self, index: int) -> Snapshot | None:
        """It shares with its neighbours all records of which nothing but a clock has changed."""
        with self._lock:
            return self.recording.still_frame(index).snapshot

    def changes(self, earlier: int, index: int) -> Changes:
        """What is not in a frame as it was in an earlier one of the same boot, clocks aside."""
        before, after = self._still(earlier), self._still(index)
        with no_garbage_collection():
            return Changes() if before is None or after is None else find_changes(before, after)

    # -- from moment to moment ---------------------------------------------------------------------------------

    def nearest(self, index: int) -> int:
        """The readable frame that is nearest."""
        return min(self.readable, key=lambda readable: (abs(readable - index), readable))

    def stepped(self, index: int, by: int) -> int:
        """So many readable frames further; not beyond the ends."""
        place = self.readable.index(self.nearest(index))
        return self.readable[max(0, min(place + by, len(self.readable) - 1))]

    def beside_event(self, index: int, direction: int) -> int | None:
        """The frame of the next event behind (1) or before (-1) a frame; ``None`` if there is none."""
        timeline, place = self.timeline, index
        while True:
            event = timeline.next_event(place) if direction > 0 else timeline.previous_event(place)
            if event is None:
                return None
            place = event.frame
            if not self.recording.unreadable[place]:
                return place

    def before(self, index: int) -> int | None:
        """The readable frame before one, of the same boot: what changed since is marked."""
        place = self.readable.index(index)
        if not place:
            return None
        found = self.readable[place - 1]
        segments = self.recording.segment_numbers
        return found if segments[found] == segments[index] else None

    def wait_s(self) -> float | None:
        """Seconds on the clock until the next frame is due; ``None`` at the end."""
        following = self.stepped(self.index, 1)
        if following == self.index:
            return None
        gap = self.recording.times[following] - self.recording.times[self.index]
        return max(_SHORTEST_S, gap / self.speed)

    def change_speed(self, step: int) -> None:
        """The next faster or slower of :data:`SPEEDS`."""
        place = SPEEDS.index(self.speed) + step
        self.speed = SPEEDS[max(0, min(place, len(SPEEDS) - 1))]

    # -- what happened -----------------------------------------------------------------------------------------

    def event_before(self, index: int) -> Event | None:
        """The last event that a frame knows of."""
        return self.timeline.previous_event(index + 1)

    def first_with(self, finding: Finding, plugins: PluginSet) -> int:
        """The first frame, going back from the one on the screen, of an unbroken run that has a finding."""
        wanted = _identity(finding)
        place = self.readable.index(self.index)
        found = self.index
        loaded = plugins.loaded
        is_ours = any(rule.id == finding.rule for rule in RULES)
        for index in reversed(self.readable[max(0, place - _MOST_AUDITS) : place]):
            # Our own rules judge by no clock but those of tasks in a path walk; a plugin may by any.
            snapshot = (self._still(index) if is_ours else None) or self.snapshot(index)
            findings = findings_of_rule(finding.rule, snapshot, loaded.plugins, loaded.strangers)
            if all(_identity(other) != wanted for other in findings):
                break
            found = index
        return found


def _identity(finding: Finding) -> tuple[str, frozenset[tuple[str, int | None]]]:
    """A finding at another time: the same rule about the same tasks, or without any the same objects."""
    tasks = [reference for reference in finding.evidence if reference.kind == "task"]
    about = tasks[:1] or finding.evidence[:1]
    return finding.rule, frozenset((reference.kind, reference.address) for reference in about)
