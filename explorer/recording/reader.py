"""Reads a recording: any frame, quickly, from a file that may be cut off anywhere or made by a stranger."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard
from pydantic import ValidationError

from explorer.model import SCHEMA_VERSION, Snapshot
from explorer.model.frame import Frame

from .delta import apply_delta
from .format import (
    FRAME_TYPES,
    RecordHead,
    RecordingError,
    RecordType,
    decode_json,
    dictionary_of,
    unpack_payload,
)
from .records import RecordList, list_records, read_payload
from .snapshots import SnapshotBuilder

__all__ = ("Recording", "RecordingEnd", "RecordingHeader", "RecordingSegment", "parse_moment")

_CACHED_DOCUMENTS = 160
_CACHED_FRAMES = 128
_CACHED_KEYS = 4
#: Documents larger than this many bytes of JSON are kept in small numbers only.
_LARGE = 4 << 20
_CACHED_LARGE = 8
_MAX_DELTAS = 4096


@dataclass(frozen=True, slots=True)
class RecordingHeader:
    """What the recorder said when it began."""

    schema_version: int
    tool_version: str
    mode: str
    """``step`` (a guest, stopped for each frame), ``poll`` (a guest that runs), ``live`` or ``boot``."""
    target: str
    step_s: float | None
    started_at: str
    """ISO 8601, UTC."""


@dataclass(slots=True)
class RecordingSegment:
    """One boot."""

    number: int
    why: str
    """``start``, ``reset``, ``reboot`` or ``kexec``."""
    begin_s: float
    first: int
    """Index of its first frame; that of the next segment's where it has none."""
    release: str | None = None
    """Of its kernel; ``None`` if that could never be read."""
    build_id: str | None = None
    readable_s: float | None = None
    """When the kernel could be read for the first time."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordingEnd:
    """Why it ended."""

    seconds: float
    code: str
    """For programs: ``done``, ``until``, ``interrupted``, ``shutdown``, ``panic``, ``closed`` or ``error``."""
    reason: str


class Recording:
    """An open recording; ``len()`` is its number of frames.

    Every method raises :class:`RecordingError`, and nothing else, for what is wrong with the file.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self._records: RecordList = list_records(fd, name)
        heads, offsets = self._records.heads, self._records.offsets
        if not heads or heads[0].type != RecordType.HEADER:
            raise RecordingError(f"{name} is a recording without a header: it was cut off at once")
        self.header = self._read_header()
        self._frames = [index for index, head in enumerate(heads) if head.type in FRAME_TYPES]
        self.times: list[float] = [heads[index].time_ns / 1e9 for index in self._frames]
        """Seconds of every frame."""
        self.unreadable = [heads[index].type == RecordType.UNREADABLE for index in self._frames]
        """For every frame: whether the kernel could not be read in it."""
        self.segment_numbers = [heads[index].segment for index in self._frames]
        self.segments: list[RecordingSegment] = []
        self.end: RecordingEnd | None = None
        """``None`` if the recorder was killed."""
        self._read_other_records()
        self.size = os.fstat(fd).st_size
        assert len(offsets) == len(heads)
        self._documents: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._cache: OrderedDict[int, Frame] = OrderedDict()
        self._dictionaries: OrderedDict[int, zstandard.ZstdCompressionDict] = OrderedDict()
        self._builder = SnapshotBuilder()

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Open a file. :raises RecordingError: if it cannot be read, or is no recording"""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error
        try:
            return cls(fd, str(path))
        except OSError as error:
            os.close(fd)
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error
        except BaseException:
            os.close(fd)
            raise

    @property
    def damage(self) -> str | None:
        """What is behind the last whole record, if the file is cut off or damaged; ``None`` for a whole one."""
        return self._records.damage

    @property
    def indexed(self) -> bool:
        """False if the index was missing, and the file was read through instead."""
        return self._records.indexed

    def __len__(self) -> int:
        return len(self._frames)

    def close(self) -> None:
        """Close the file; frames that were read stay."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def frame(self, index: int) -> Frame:
        """A frame, by its number. :raises IndexError: if there is none of it"""
        if not 0 <= index < len(self._frames):
            raise IndexError(f"frame {index} of {len(self._frames)}")
        cached = self._cache.get(index)
        if cached is not None:
            self._cache.move_to_end(index)
            return cached
        frame = self._make_frame(index)
        _remember(self._cache, index, frame, _CACHED_FRAMES)
        return frame

    def frames(self) -> Iterator[Frame]:
        """All frames in order: for :func:`explorer.analysis.timeline.build_timeline`."""
        return map(self.frame, range(len(self)))

    def index_at(self, seconds: float) -> int:
        """The number of the last frame not after ``seconds``; of the first one if all are later.

        :raises IndexError: if there is no frame at all
        """
        if not self.times:
            raise IndexError("a recording without frames")
        return max(bisect.bisect_right(self.times, seconds + 1e-9) - 1, 0)

    def frame_at(self, seconds: float) -> Frame:
        """The last frame not after ``seconds``."""
        return self.frame(self.index_at(seconds))

    def snapshot_at(self, moment: str | None) -> Snapshot:
        """The snapshot that ``3.4s``, ``#12`` or ``None`` (the last one that could be read) names.

        :raises RecordingError: if there is none there
        """
        index = self._find(moment)
        frame = self.frame(index)
        if frame.snapshot is None:
            readable = [number for number, bad in enumerate(self.unreadable) if not bad]
            later = [number for number in readable if number > index]
            hint = "".join(
                f"; frame #{near} at {self.times[near]:.3f} s can" for near in (later or readable[-1:])[:1]
            )
            raise RecordingError(
                f"{self.name}: frame #{index} at {frame.seconds:.3f} s could not be read ({frame.why}){hint}"
            )
        return frame.snapshot

    def _find(self, moment: str | None) -> int:
        if not self._frames:
            raise RecordingError(f"{self.name}: a recording without frames")
        if moment is None:
            return max(
                (number for number, bad in enumerate(self.unreadable) if not bad), default=len(self) - 1
            )
        number, seconds = parse_moment(moment)
        if number is None:
            return self.index_at(seconds)
        if number >= len(self):
            raise RecordingError(f"{self.name}: no frame #{number}: the last is #{len(self) - 1}")
        return number

    def _head(self, record: int) -> RecordHead:
        return self._records.heads[record]

    def _plain(self, record: int, dictionary: zstandard.ZstdCompressionDict | None = None) -> bytes:
        if self._fd < 0:
            raise RecordingError(f"{self.name}: closed")
        head = self._head(record)
        try:
            payload = read_payload(self._fd, self._records.offsets[record], head)
            return unpack_payload(head, payload, dictionary)
        except RecordingError as error:
            raise RecordingError(f"{self.name}: {error}") from error
        except (OSError, MemoryError) as error:
            raise RecordingError(f"{self.name}: {error}") from error

    def _json(self, record: int, dictionary: zstandard.ZstdCompressionDict | None = None) -> dict[str, Any]:
        plain = self._plain(record, dictionary)
        try:
            return decode_json(plain)
        except RecordingError as error:
            raise RecordingError(f"{self.name}: {error}") from error

    def _make_frame(self, index: int) -> Frame:
        record = self._frames[index]
        head = self._head(record)
        where = (index, self.times[index], head.segment)
        if head.type == RecordType.UNREADABLE:
            return Frame(*where, None, str(self._json(record).get("why")))
        document = self._document(record)
        try:
            return Frame(*where, self._builder.build(document))
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise RecordingError(f"{self.name}: frame #{index} is no valid snapshot: {why}") from error

    def _document(self, record: int) -> dict[str, Any]:
        """The JSON of a frame: that of its key frame, and what changed from frame to frame since."""
        chain: list[int] = []
        key = record
        while True:
            kind = self._head(key).type
            if kind == RecordType.KEY or (kind == RecordType.DELTA and key in self._documents):
                break
            if kind == RecordType.DELTA:
                if len(chain) >= _MAX_DELTAS:
                    raise RecordingError(f"{self.name}: more than {_MAX_DELTAS} frames without a key frame")
                chain.append(key)
            elif kind == RecordType.SEGMENT or key == 0:
                raise RecordingError(f"{self.name}: a frame without the key frame it builds on")
            key -= 1
        document = self._documents.get(key)
        limit = _CACHED_DOCUMENTS if self._head(key).plain < _LARGE else _CACHED_LARGE
        if document is None:
            document = self._json(key)
            _remember(self._documents, key, document, limit)
        if not chain:
            return document
        dictionary = self._dictionary(key)
        for delta in reversed(chain):
            try:
                document = apply_delta(document, self._json(delta, dictionary))
            except RecordingError as error:
                text = str(error)
                raise RecordingError(
                    text if text.startswith(self.name) else f"{self.name}: {text}"
                ) from error
            _remember(self._documents, delta, document, limit)
        return document

    def _dictionary(self, record: int) -> zstandard.ZstdCompressionDict:
        """The dictionary of the group that ``record``, a key frame or a delta, is of."""
        while self._head(record).type != RecordType.KEY:
            record -= 1
        known = self._dictionaries.get(record)
        if known is None:
            known = dictionary_of(self._plain(record))
            _remember(self._dictionaries, record, known, _CACHED_KEYS)
        return known

    def _read_header(self) -> RecordingHeader:
        values = self._json(0)
        version = values.get("schema_version")
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise RecordingError(
                f"{self.name} has schema version {version}; this version reads up to {SCHEMA_VERSION}: update the tool"
            )
        step = values.get("step_s")
        return RecordingHeader(
            schema_version=version,
            tool_version=str(values.get("tool_version")),
            mode=str(values.get("mode")),
            target=str(values.get("target")),
            step_s=float(step) if isinstance(step, (int, float)) else None,
            started_at=str(values.get("started_at")),
        )

    def _read_other_records(self) -> None:
        first = 0
        for record, head in enumerate(self._records.heads):
            seconds = head.time_ns / 1e9
            if head.type in FRAME_TYPES:
                first += 1
            elif head.type == RecordType.SEGMENT:
                why = str(self._json(record).get("why"))
                self.segments.append(RecordingSegment(head.segment, why, seconds, first))
            elif head.type == RecordType.KERNEL and self.segments:
                values, segment = self._json(record), self.segments[-1]
                build_id, notes = values.get("build_id"), values.get("notes")
                segment.release = str(values.get("release"))
                segment.build_id = None if build_id is None else str(build_id)
                segment.readable_s = seconds
                segment.notes = [str(note) for note in notes] if isinstance(notes, list) else []
            elif head.type == RecordType.END:
                values = self._json(record)
                self.end = RecordingEnd(seconds, str(values.get("code")), str(values.get("reason")))


def _remember(cache: OrderedDict[int, Any], key: int, value: Any, limit: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > limit:
        cache.popitem(last=False)


def parse_moment(text: str) -> tuple[int | None, float]:
    """``3.4s`` and ``3.4`` name seconds, ``#12`` a frame: (number of the frame or ``None``, seconds).

    :raises RecordingError: for anything else
    """
    text = text.removeprefix("@")
    digits = text[1:]
    if text.startswith("#") and digits.isascii() and digits.isdecimal() and len(digits) <= 9:
        return int(digits), 0.0
    with contextlib.suppress(ValueError):
        seconds = float(text.removesuffix("s"))
        if 0 <= seconds < 1e9 and "_" not in text:
            return None, seconds
    raise RecordingError(f"@{text} names no moment: say @3.4s (seconds) or @#12 (a frame)")
