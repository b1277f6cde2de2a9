"""Where the records of a recording are: from its index, or by reading it from its beginning."""

from __future__ import annotations

import contextlib
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from .format import (
    FORMAT_VERSION,
    MAGIC,
    PREAMBLE,
    RECORD_HEAD,
    TRAILER,
    RecordHead,
    RecordingError,
    RecordType,
    decode_json,
    is_plausible,
    is_whole,
    parse_head,
    unpack_payload,
)

__all__ = ("HeadList", "RecordList", "list_records", "read_payload")

#: At 50 ms a frame 28 hours; what anybody scrubs through is far less. Opening takes 5 µs and 100 bytes for each.
_MAX_RECORDS = 2_000_000
_CHUNK = 1 << 20
#: Digits of an offset, and the comma: of so many records, and what is around them.
_INDEX_BYTES = 21 * _MAX_RECORDS + 64
_INDEX_REST = b'{"offsets":[]}'


class HeadList(Sequence[RecordHead]):
    """Heads, kept as the 24 bytes each that they are in the file: two million objects would be half a GiB."""

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data) // RECORD_HEAD.size

    def __iter__(self) -> Iterator[RecordHead]:
        for kind, _, segment, length, plain, time_ns, crc in RECORD_HEAD.iter_unpack(self._data):
            yield RecordHead(kind, segment, length, plain, time_ns, crc)

    @overload
    def __getitem__(self, index: int) -> RecordHead: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordHead]: ...
    def __getitem__(self, index: int | slice) -> RecordHead | list[RecordHead]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start = range(len(self))[index] * RECORD_HEAD.size
        return parse_head(bytes(self._data[start : start + RECORD_HEAD.size]))

    def append(self, head: bytes) -> None:
        """One more, as it is in the file."""
        self._data += head


@dataclass(slots=True)
class RecordList:
    """All whole records, in order."""

    heads: HeadList = field(default_factory=HeadList)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    indexed: bool = False
    """They were found by the index, not by reading the file."""
    damage: str | None = None
    """What follows the last whole record, if anything does."""


def list_records(fd: int, name: str) -> RecordList:
    """Find the records. :raises RecordingError: if the file is no recording of a version known here"""
    preamble = os.pread(fd, PREAMBLE.size, 0)
    if len(preamble) < PREAMBLE.size or preamble[: len(MAGIC)] != MAGIC:
        raise RecordingError(f"{name} is no recording: it does not begin as one")
    version = PREAMBLE.unpack(preamble)[1]
    if not 1 <= version <= FORMAT_VERSION:
        raise RecordingError(
            f"{name} is a recording of format {version}; this version reads up to {FORMAT_VERSION}: update the tool"
        )
    size = _written(fd)
    return _by_index(fd, size) or _by_reading(fd, size, name)


def _written(fd: int) -> int:
    """Bytes up to the end of the file, or to a hole in it: nobody wrote what is there.

    So the work of reading it through is never more than what somebody had to store.
    """
    size = os.fstat(fd).st_size
    with contextlib.suppress(OSError):  # a filesystem that knows no holes
        return min(size, os.lseek(fd, 0, os.SEEK_HOLE))
    return size


def _by_index(fd: int, size: int) -> RecordList | None:
    """``None`` if there is no index, or one that does not fit the file: then the file itself is read."""
    trailer = os.pread(fd, TRAILER.size, max(size - TRAILER.size, 0))
    if len(trailer) < TRAILER.size:
        return None
    offset, magic = TRAILER.unpack(trailer)
    if magic != MAGIC or not PREAMBLE.size <= offset <= size - TRAILER.size - RECORD_HEAD.size:
        return None
    head_bytes = os.pread(fd, RECORD_HEAD.size, offset)
    head = parse_head(head_bytes)
    if head.type != RecordType.INDEX or offset + RECORD_HEAD.size + head.length != size - TRAILER.size:
        return None
    if head.plain > _INDEX_BYTES or not is_plausible(head):
        return None
    try:
        payload = os.pread(fd, head.length, offset + RECORD_HEAD.size)
        if not is_whole(head_bytes, payload):
            return None
        plain = unpack_payload(head, payload)
        if plain.translate(None, b"0123456789,") != _INDEX_REST:
            return None
        offsets = decode_json(plain)["offsets"]
    except RecordingError:
        return None
    return _listed(fd, offsets, offset)


def _listed(fd: int, offsets: list[int], end: int) -> RecordList | None:
    """The records at ``offsets``, if they follow one another without a gap from the first byte to ``end``."""
    if not 1 <= len(offsets) <= _MAX_RECORDS:
        return None
    found = RecordList(indexed=True)
    expected = PREAMBLE.size
    for offset in offsets:
        if offset != expected or offset + RECORD_HEAD.size > end:
            return None
        head_bytes = os.pread(fd, RECORD_HEAD.size, offset)
        head = parse_head(head_bytes)
        if not is_plausible(head):
            return None
        found.heads.append(head_bytes)
        found.offsets.append(offset)
        expected = offset + RECORD_HEAD.size + head.length
    return found if expected == end else None


def _by_reading(fd: int, size: int, name: str) -> RecordList:
    found = RecordList()
    offset = PREAMBLE.size
    while offset < size:
        head_bytes = os.pread(fd, RECORD_HEAD.size, offset)
        if len(head_bytes) < RECORD_HEAD.size:
            found.damage = f"it ends within a record, at byte {offset}"
            break
        head = parse_head(head_bytes)
        end = offset + RECORD_HEAD.size + head.length
        if not is_plausible(head):
            found.damage = f"what is at byte {offset} is no record"
            break
        if end > size:
            found.damage = f"it ends within a record, at byte {offset}"
            break
        if not _checks(fd, offset, head_bytes, head):
            found.damage = f"what is at byte {offset} is no whole record"
            break
        if head.type != RecordType.INDEX:
            if len(found.heads) >= _MAX_RECORDS:
                raise RecordingError(f"{name} has more than {_MAX_RECORDS:,} records")
            found.heads.append(head_bytes)
            found.offsets.append(offset)
        elif size - end <= TRAILER.size:
            break  # behind the index there is only the trailer
        offset = end
    return found


def _checks(fd: int, offset: int, head_bytes: bytes, head: RecordHead) -> bool:
    crc = zlib.crc32(head_bytes[:-4])
    position, end = offset + RECORD_HEAD.size, offset + RECORD_HEAD.size + head.length
    while position < end:
        data = os.pread(fd, min(_CHUNK, end - position), position)
        if not data:
            return False
        crc = zlib.crc32(data, crc)
        position += len(data)
    return crc == head.crc


def read_payload(fd: int, offset: int, head: RecordHead) -> bytes:
    """The payload of a record as it is in the file. :raises RecordingError: if it is not as it was written"""
    data = os.pread(fd, RECORD_HEAD.size + head.length, offset)
    head_bytes, payload = data[: RECORD_HEAD.size], data[RECORD_HEAD.size :]
    if len(payload) != head.length or parse_head(head_bytes) != head or not is_whole(head_bytes, payload):
        raise RecordingError(f"the record at byte {offset} is damaged")
    return payload
