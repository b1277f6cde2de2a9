"""Reads a recording: any frame, quickly, from a file that may be cut off anywhere or made by a stranger."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import zstandard
from pydantic import ValidationError

from explorer.files import NotRegularError, open_regular
from explorer.model import CaptureError, Frame, Lookup, Snapshot, no_garbage_collection

from .about import (
    EndRecord,
    KernelRecord,
    LookupsRecord,
    RecordingEnd,
    RecordingHeader,
    RecordingSegment,
    RecordModel,
    SegmentRecord,
    UnreadableRecord,
    parse_record,
    reason_of,
)
from .cache import WeighedCache
from .delta import apply_delta_to_records
from .format import (
    KEY_INTERVAL,
    RecordingError,
    RecordType,
    decode_json,
    dictionary_of,
    unpack_payload,
)
from .frames import NO_KEY, TOO_FAR, FrameTable
from .records import RecordList, list_records, read_payload
from .snapshots import MEMBERS, SnapshotBuilder

__all__ = ("Recording", "RecordingEnd", "RecordingHeader", "RecordingSegment", "parse_moment")

_ModelT = TypeVar("_ModelT", bound=RecordModel)

_CACHED_DOCUMENTS = 160
_CACHED_FRAMES = 128
_CACHED_KEYS = 4
#: JSON of the frames that are kept as documents, and of those that are kept as snapshots: 100,000 tasks, in one frame
#: or in many. A frame in which all clocks moved shares next to nothing with its neighbours, and takes 3 bytes a byte
#: as a document, 4 as a snapshot.
_CACHED_BYTES = 48 << 20
#: Of all the small records together that are read when a recording is opened, bytes of JSON, and how many: a thousand
#: boots, with two KiB of notes each, are 2 MiB in two thousand records.
_MAX_OPENING, _MAX_OPENING_RECORDS = 16 << 20, 1 << 16
#: Of all path lookups of one frame, bytes of JSON.
_MAX_LOOKUPS = 128 << 20
#: Of an error, in the message about it.
_MOST_WORDS = 300
#: Seconds: times are shown with three digits, and may be given back rounded up.
_ROUNDED = 0.001


class Recording:
    """An open recording; ``len()`` is its number of frames.

    Every method raises :class:`RecordingError`, and nothing else, for what is wrong with the file.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self._records: RecordList = list_records(fd, name)
        heads = self._records.heads
        if not heads or heads[0].type != RecordType.HEADER:
            raise RecordingError(f"{name} is a recording without a header: it was cut off at once")
        self._table = FrameTable(heads)
        sizes = [head.plain for _, head, _ in self._table.others]
        if len(sizes) > _MAX_OPENING_RECORDS or sum(sizes) > _MAX_OPENING:
            raise RecordingError(
                f"{name} has {len(sizes):,} records of {sum(sizes) >> 20} MiB about its boots: no recorder makes that"
            )
        self.header = self._parsed(RecordingHeader, 0)
        self.times = self._table.times
        """Seconds of every frame; a clock that goes back stands still."""
        self.unreadable = self._table.unreadable
        """For every frame: whether the kernel could not be read in it."""
        self.segment_numbers = self._table.segments
        self.segments: list[RecordingSegment] = []
        self.end: RecordingEnd | None = None
        """``None`` if the recorder was killed."""
        self._read_other_records()
        self.size = os.fstat(fd).st_size
        self._documents: WeighedCache[dict[str, Any]] = WeighedCache(_CACHED_DOCUMENTS, _CACHED_BYTES)
        self._cache: WeighedCache[Frame] = WeighedCache(_CACHED_FRAMES, _CACHED_BYTES)
        self._dictionaries: WeighedCache[zstandard.ZstdCompressionDict] = WeighedCache(
            _CACHED_KEYS, _CACHED_BYTES
        )
        self._last_key: tuple[int, dict[str, Any]] | None = None
        self._builder = SnapshotBuilder()

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> Recording:
        """Open a file. :param name: what an error calls it

        :raises RecordingError: if it cannot be read, or is no recording"""
        name = str(path) if name is None else name
        try:
            fd = open_regular(path)
        except NotRegularError as error:
            raise RecordingError(f"cannot read {name}: it is {error}") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise RecordingError(f"cannot read {name}: {_words(error)}") from error
        try:
            return cls(fd, name)
        except OSError as error:
            os.close(fd)
            raise RecordingError(f"cannot read {name}: {_words(error)}") from error
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
        return len(self._table)

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
        if not 0 <= index < len(self._table):
            raise IndexError(f"frame {index} of {len(self._table)}")
        cached = self._cache.get(index)
        if cached is not None:
            return cached[0]
        with no_garbage_collection():
            frame, weight = self._make_frame(index)
        self._cache.put(index, frame, weight)
        return frame

    def frames(self) -> Iterator[Frame]:
        """All frames in order."""
        return map(self.frame, range(len(self)))

    def still_frames(self) -> Iterator[Frame]:
        """The same for :func:`explorer.analysis.timeline.build_timeline`: they share every record of which nothing but
        clocks has changed. Clocks go on only of a task that is in a path walk. No such frame is kept."""
        return map(self.still_frame, range(len(self)))

    def still_frame(self, index: int) -> Frame:
        """One of them."""
        with no_garbage_collection():
            return self._make_frame(index, still=True)[0]

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

    def snapshot_at(self, moment: str | None, *, still: bool = False) -> Snapshot:
        """The snapshot that ``3.4s``, ``#12`` or ``None`` (the last one that could be read) names.

        Of a file that is cut off, the last one comes with an error that says so.

        :param still: as of :meth:`still_frames`: for two that are compared
        :raises RecordingError: if there is none there
        """
        index = self.find(moment)
        frame = self.still_frame(index) if still else self.frame(index)
        if frame.snapshot is None:
            readable = [number for number, bad in enumerate(self.unreadable) if not bad]
            later = [number for number in readable if number > index]
            hint = "".join(
                f"; frame #{near} at {self.times[near]:.3f} s can" for near in (later or readable[-1:])[:1]
            )
            raise RecordingError(
                f"{self.name}: frame #{index} at {frame.seconds:.3f} s could not be read "
                f"({str(frame.why)[:_MOST_WORDS]}){hint}"
            )
        if moment is None and self.damage is not None:
            cut = CaptureError(
                where="recording",
                what="what came later",
                why=f"the file is cut off or damaged: {self.damage}",
            )
            return frame.snapshot.model_copy(update={"errors": [*frame.snapshot.errors, cut]})
        return frame.snapshot

    def find(self, moment: str | None) -> int:
        """The number of the frame that ``3.4s``, ``#12`` or ``None`` (the last one that could be read) names.

        :raises RecordingError: if there is none there
        """
        if not self._table.records:
            damage = "" if self.damage is None else f" ({self.damage})"
            raise RecordingError(f"{self.name}: a recording without frames{damage}")
        if moment is None:
            return max(
                (number for number, bad in enumerate(self.unreadable) if not bad), default=len(self) - 1
            )
        number, seconds = parse_moment(moment)
        if number is None:
            last = self.times[-1] if self.end is None else max(self.end.seconds, self.times[-1])
            if seconds > last + _ROUNDED:
                raise RecordingError(
                    f"{self.name}: nothing at {seconds:g} s: it ends at {last:.3f} s (#{len(self) - 1})"
                )
            return self.index_at(seconds)
        if number >= len(self):
            raise RecordingError(f"{self.name}: no frame #{number}: the last is #{len(self) - 1}")
        return number

    def _plain(self, record: int, dictionary: zstandard.ZstdCompressionDict | None = None) -> bytes:
        if self._fd < 0:
            raise RecordingError("the file is closed")
        head = self._records.heads[record]
        try:
            payload = read_payload(self._fd, self._records.offsets[record], head)
            return unpack_payload(head, payload, dictionary)
        except OSError as error:
            raise RecordingError(_words(error)) from error
        except MemoryError as error:
            raise RecordingError(
                f"a record of {head.plain >> 20} MiB needs more memory than there is"
            ) from error

    def _parsed(self, model: type[_ModelT], record: int) -> _ModelT:
        with self._named():
            return parse_record(model, self._plain(record))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name the file."""
        try:
            yield
        except RecordingError as error:
            raise RecordingError(f"{self.name}: {error}") from error

    def _make_frame(self, index: int, *, still: bool = False) -> tuple[Frame, int]:
        """The frame and, as its weight, the bytes of JSON that were read for it."""
        record = self._table.records[index]
        where = (index, self.times[index], self.segment_numbers[index])
        lookups, lost, read = self._lookups(index)
        if self.unreadable[index]:
            why = self._parsed(UnreadableRecord, record).why
            return Frame(*where, None, why, lookups, lost), 1 + read
        with self._named():
            document, weight = self._document(index)
        try:
            return Frame(
                *where, self._builder.build(document, still=still), None, lookups, lost
            ), weight + read
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RecordingError(
                f"{self.name}: frame #{index} is no valid snapshot: {reason_of(error)}"
            ) from error

    def _lookups(self, index: int) -> tuple[tuple[Lookup, ...], int, int]:
        """The path lookups before a frame (behind the last: too), how many were lost, and the bytes of JSON of them."""
        records = list(self._table.lookups.get(index, ()))
        if index == len(self) - 1:
            records += self._table.lookups.get(len(self), ())
        size = sum(self._records.heads[record].plain for record in records)
        if size > _MAX_LOOKUPS:
            raise RecordingError(
                f"{self.name}: frame #{index} has {size >> 20} MiB of path lookups: no recorder makes that"
            )
        found: list[Lookup] = []
        lost = 0
        for record in records:
            parsed = self._parsed(LookupsRecord, record)
            lost += parsed.lost
            try:
                found += map(Lookup.model_validate, parsed.lookups)
            except ValidationError as error:
                raise RecordingError(
                    f"{self.name}: frame #{index} has no valid path lookup: {reason_of(error)}"
                ) from error
        return tuple(found), lost, size

    def _document(self, index: int) -> tuple[dict[str, Any], int]:
        """The JSON of a frame, that of its key frame and what changed from frame to frame since; and its weight."""
        chain: list[int] = []
        while index not in self._documents and self._table.bases[index] >= 0:
            chain.append(index)
            index = self._table.bases[index]
        if self._table.bases[index] == NO_KEY:
            raise RecordingError("a frame without the key frame it builds on")
        if self._table.bases[index] == TOO_FAR:
            raise RecordingError(f"{KEY_INTERVAL} frames without a key frame")
        found = self._documents.get(index)
        if found is None:
            found = self._whole_document(index)
            self._documents.put(index, *found)
        for number in reversed(chain):
            plain = self._plain(self._table.records[number], self._dictionary(self._table.keys[number]))
            document = apply_delta_to_records(found[0], decode_json(plain), MEMBERS)
            found = document, found[1] + len(plain)
            self._documents.put(number, *found)
        return found

    def _whole_document(self, index: int) -> tuple[dict[str, Any], int]:
        """That of a key frame. The last one is kept: the frames behind it have most of their records from there, and so
        whoever goes back among them makes none of these again."""
        if self._last_key is None or self._last_key[0] != index:
            document = _only(decode_json(self._plain(self._table.records[index])), MEMBERS)
            self._last_key = index, document
        return self._last_key[1], self._records.heads[self._table.records[index]].plain

    def _dictionary(self, key: int) -> zstandard.ZstdCompressionDict:
        """That of the deltas behind a key frame."""
        known = self._dictionaries.get(key)
        if known is None:
            known = dictionary_of(self._plain(self._table.records[key])), 1
            self._dictionaries.put(key, *known)
        return known[0]

    def _read_other_records(self) -> None:
        for record, head, first in self._table.others:
            seconds = head.time_ns / 1e9
            if head.type == RecordType.SEGMENT:
                why = self._parsed(SegmentRecord, record).why
                self.segments.append(RecordingSegment(head.segment, why, seconds, first))
            elif head.type == RecordType.KERNEL and self.segments:
                kernel, segment = self._parsed(KernelRecord, record), self.segments[-1]
                segment.release, segment.build_id = kernel.release, kernel.build_id
                segment.readable_s, segment.notes = seconds, kernel.notes
            elif head.type == RecordType.END:
                end = self._parsed(EndRecord, record)
                self.end = RecordingEnd(seconds, end.code, end.reason)


def _only(document: dict[str, Any], members: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name in members}


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


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
