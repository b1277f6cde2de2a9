"""Writes a recording: one ``write()`` per frame, nothing buffered, so that a killed recorder loses no whole frame."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import zstandard

from explorer.model import SCHEMA_VERSION, Lookup, Snapshot
from explorer.places import find_place, naming
from explorer.version import __version__

from .delta import TABLES, make_delta
from .format import (
    FORMAT_VERSION,
    KEY_INTERVAL,
    MAGIC,
    MOST_LOOKUPS,
    PREAMBLE,
    TRAILER,
    RecordingError,
    RecordType,
    dictionary_of,
    encode_json,
    pack_record,
)

__all__ = ("KEY_INTERVAL", "RecordingWriter", "WriteError")

_T = TypeVar("_T")
#: In a record: beyond this, the next begins. The longest lookup has some 70 KiB.
_LOOKUPS_BYTES = 256 << 10


class WriteError(RecordingError):
    """The file cannot be written; the message is one line that says why."""


class RecordingWriter:
    """Appends to a new recording. Use it in a ``with``, or call :meth:`close`.

    The file appears under its name, mode 0600, with its header in it; what was there before is replaced.

    :raises WriteError: from every method, for what the operating system refuses
    """

    def __init__(self, path: Path, *, mode: str, target: str, step_s: float | None, started_at: str) -> None:
        self._path = path
        self._offsets: list[int] = []
        self._segment = 0
        self._before: dict[str, Any] | None = None
        self._since_key = 0
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        self.frames = 0
        self.readable = 0
        self.bytes_written = 0
        self._ended = False
        self._fd = _refusals(path, lambda: self._create(mode, target, step_s, started_at))

    def _create(self, mode: str, target: str, step_s: float | None, started_at: str) -> int:
        header = {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            "mode": mode,
            "target": target,
            "step_s": step_s,
            "started_at": started_at,
        }
        with find_place(self._path) as place, naming(place) as fd:
            preamble = PREAMBLE.pack(MAGIC, FORMAT_VERSION, 0)
            self._offsets.append(len(preamble))
            data = preamble + pack_record(RecordType.HEADER, 0, 0, encode_json(header))
            _write_all(fd, data)
            self.bytes_written = len(data)
        return fd

    def _append(self, kind: RecordType, seconds: float, plain: bytes, packed_with_key: bool = False) -> None:
        dictionary = self._dictionary if packed_with_key else None
        data = pack_record(kind, self._segment, round(seconds * 1e9), plain, dictionary)
        self._offsets.append(self.bytes_written)
        _refusals(self._path, lambda: _write_all(self._fd, data))
        self.bytes_written += len(data)

    def begin_segment(self, seconds: float, why: str) -> None:
        """A boot begins. ``why``: ``start``, ``reset``, ``reboot`` or ``kexec``."""
        if self.frames:
            self._segment += 1
        self._before = None
        self._append(RecordType.SEGMENT, seconds, encode_json({"why": why}))

    def kernel_found(self, seconds: float, release: str, build_id: str | None, notes: list[str]) -> None:
        """The kernel of this segment can be read from now on."""
        kernel = {"release": release, "build_id": build_id, "notes": notes}
        self._append(RecordType.KERNEL, seconds, encode_json(kernel))

    def add_unreadable(self, seconds: float, why: str) -> None:
        """A frame in which the kernel could not be read."""
        self._append(RecordType.UNREADABLE, seconds, encode_json({"why": why}))
        self.frames += 1

    def add_snapshot(self, seconds: float, snapshot: Snapshot) -> None:
        """A frame."""
        document = to_document(snapshot)
        delta = None
        if self._before is not None and self._since_key < KEY_INTERVAL - 1:
            delta = make_delta(self._before, document)
        if delta is None:
            plain = encode_json(document)
            self._append(RecordType.KEY, seconds, plain)
            self._dictionary = dictionary_of(plain)
            self._since_key = 0
        else:
            self._append(RecordType.DELTA, seconds, encode_json(delta), packed_with_key=True)
            self._since_key += 1
        self._before = document
        self.frames += 1
        self.readable += 1

    def add_lookups(self, seconds: float, lookups: Sequence[Lookup], lost: int) -> None:
        """Path lookups that have ended since the last frame, before the next. :param lost: how many more there were"""
        lost += max(len(lookups) - MOST_LOOKUPS, 0)
        chunk: list[bytes] = []
        for lookup in lookups[:MOST_LOOKUPS]:
            chunk.append(encode_json(lookup.model_dump(mode="json")))
            if sum(map(len, chunk)) >= _LOOKUPS_BYTES:
                self._append(RecordType.LOOKUPS, seconds, _lookups(chunk, 0))
                chunk = []
        if chunk or lost:
            self._append(RecordType.LOOKUPS, seconds, _lookups(chunk, lost))

    def end(self, seconds: float, code: str, reason: str) -> None:
        """The last record: why the recording ends, as a word for programs and as a sentence."""
        self._append(RecordType.END, seconds, encode_json({"code": code, "reason": reason}))
        self._ended = True

    def close(self) -> None:
        """Append the index, if the recording has its end, and close the file."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            if self._ended:
                index = pack_record(RecordType.INDEX, 0, 0, encode_json({"offsets": self._offsets}))
                trailer = TRAILER.pack(self.bytes_written, MAGIC)
                _refusals(self._path, lambda: _write_all(fd, index + trailer))
                with contextlib.suppress(
                    OSError
                ):  # a pipe or a device cannot be synced; nothing is lost by it
                    os.fsync(fd)
        finally:
            os.close(fd)

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def to_document(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON values, its large tables last: the end of a key frame is its deltas' dictionary."""
    document = snapshot.model_dump(mode="json")
    tables = {name: document.pop(name) for name in TABLES}
    return document | tables


def _lookups(chunk: list[bytes], lost: int) -> bytes:
    return b'{"lookups":[' + b",".join(chunk) + b'],"lost":%d}' % lost


def _refusals(path: Path, act: Callable[[], _T]) -> _T:
    try:
        return act()
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error


def _write_all(fd: int, data: bytes) -> None:
    """One ``write()``, as a rule; more where the system takes less at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
