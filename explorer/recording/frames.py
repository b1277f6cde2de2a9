"""Which records of a recording are frames, when they were made, and what each is made from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from .format import FRAME_TYPES, KEY_INTERVAL, SMALL_TYPES, RecordHead, RecordType

__all__ = ("NO_KEY", "TOO_FAR", "FrameTable")

#: What a frame builds on, where that is no other frame.
_WHOLE, NO_KEY, TOO_FAR = -1, -2, -3
_READ_AT_OPENING = SMALL_TYPES - {RecordType.UNREADABLE, RecordType.LOOKUPS}


class FrameTable:
    """By number of the frame, in the order of the file; found in one pass over all heads."""

    def __init__(self, heads: Iterable[RecordHead]) -> None:
        self.records = array("q")
        """Which record it is."""
        self.times: list[float] = []
        """Seconds; a clock that goes back stands still."""
        self.unreadable: list[bool] = []
        self.segments: list[int] = []
        self.bases = array("q")
        """The frame that it builds on: for a delta, the one before it that has a snapshot, in the same boot.
        Negative where it builds on none, or on one that is not there."""
        self.keys = array("q")
        """The key frame behind which it is; -1 where there is none."""
        self.others: list[tuple[int, RecordHead, int]] = []
        """Records that say something of the recording, and are no frames: which, their heads, frames before them."""
        self.lookups: dict[int, list[int]] = {}
        """By frame, the records of path lookups before it; of those behind the last, by the number of frames."""
        self._last, self._key, self._depth = NO_KEY, -1, 0
        for record, head in enumerate(heads):
            if head.type in FRAME_TYPES:
                self._add(record, head)
            elif head.type == RecordType.LOOKUPS:
                self.lookups.setdefault(len(self.records), []).append(record)
            elif head.type in _READ_AT_OPENING:
                self.others.append((record, head, len(self.records)))
                if head.type == RecordType.SEGMENT:
                    self._last, self._key = NO_KEY, -1

    def __len__(self) -> int:
        return len(self.records)

    def _add(self, record: int, head: RecordHead) -> None:
        number, seconds = len(self.records), head.time_ns / 1e9
        base = _WHOLE
        if head.type == RecordType.KEY:
            self._key, self._depth = number, 0
        elif head.type == RecordType.DELTA:
            self._depth += 1
            base = self._last if self._last == NO_KEY or self._depth < KEY_INTERVAL else TOO_FAR
        if head.type != RecordType.UNREADABLE:
            self._last = NO_KEY if base == NO_KEY else number
        self.records.append(record)
        self.times.append(max(seconds, self.times[-1]) if self.times else seconds)
        self.unreadable.append(head.type == RecordType.UNREADABLE)
        self.segments.append(head.segment)
        self.bases.append(base)
        self.keys.append(self._key)
