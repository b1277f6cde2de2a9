"""Where the records of a recording are: from its index, or by reading it from its beginning."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field

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
    is_whole,
    parse_head,
    unpack_payload,
)

__all__ = ("RecordList", "list_records", "read_payload")

#: Two months at 50 ms a frame would be 100 million; what anybody scrubs through is far less.
_MAX_RECORDS = 2_000_000
_CHUNK = 1 << 20
_INDEX_BYTES = 64 << 20


@dataclass(slots=True)
class RecordList:
    """All whole records, in order."""

    heads: list[RecordHead] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    indexed: bool = False
    """They were found by the index, not by reading the file."""
    damage: str | None = None
    """What follows the last whole record, if anything does."""


def list_records(fd: int, name: str) -> RecordList:
    """Find the records. :raises RecordingError: if the file is no recording of a version known here"""
    size = os.fstat(fd).st_size
    preamble = os.pread(fd, PREAMBLE.size, 0)
    if len(preamble) < PREAMBLE.size or preamble[: len(MAGIC)] != MAGIC:
        raise RecordingError(f"{name} is no recording: it does not begin as one")
    version = PREAMBLE.unpack(preamble)[1]
    if not 1 <= version <= FORMAT_VERSION:
        raise RecordingError(
            f"{name} is a recording of format {version}; this version reads up to {FORMAT_VERSION}: update the tool"
        )
    return _by_index(fd, size) or _by_reading(fd, size, name)


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
    if head.plain > _INDEX_BYTES:
        return None
    try:
        payload = os.pread(fd, head.length, offset + RECORD_HEAD.size)
        if not is_whole(head_bytes, payload):
            return None
        offsets = decode_json(unpack_payload(head, payload)).get("offsets")
    except RecordingError:
        return None
    return _listed(fd, offsets, offset)


def _listed(fd: int, offsets: object, end: int) -> RecordList | None:
    """The records at ``offsets``, if they follow one another without a gap from the first byte to ``end``."""
    if not isinstance(offsets, list) or not 1 <= len(offsets) <= _MAX_RECORDS:
        return None
    found = RecordList(indexed=True)
    expected = PREAMBLE.size
    for offset in offsets:
        if type(offset) is not int or offset != expected or offset + RECORD_HEAD.size > end:
            return None
        head = parse_head(os.pread(fd, RECORD_HEAD.size, offset))
        found.heads.append(head)
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
        if end > size:
            found.damage = f"it ends within a record, at byte {offset}"
            break
        if not _checks(fd, offset, head_bytes, head):
            found.damage = f"what is at byte {offset} is no whole record"
            break
        if head.type != RecordType.INDEX:
            found.heads.append(head)
            found.offsets.append(offset)
            if len(found.heads) > _MAX_RECORDS:
                raise RecordingError(f"{name} has more than {_MAX_RECORDS:,} records")
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
    head_bytes = os.pread(fd, RECORD_HEAD.size, offset)
    payload = os.pread(fd, head.length, offset + RECORD_HEAD.size)
    if parse_head(head_bytes) != head or len(payload) != head.length or not is_whole(head_bytes, payload):
        raise RecordingError(f"the record at byte {offset} is damaged")
    return payload
