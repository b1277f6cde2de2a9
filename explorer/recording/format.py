"""The bytes of a recording (``.nxrec``), version 1.

::

    file    = magic (8 bytes), format version (u32), zero (u32), records …, and where it was closed: trailer
    record  = type (u8), flags (u8, 0), segment (u16), payload length (u32), plain length (u32),
              time in ns (u64), CRC-32 (u32), payload
    trailer = offset of the index record (u64), magic (8 bytes)

Numbers are little-endian. The payload is one zstd frame whose content is UTF-8 JSON of ``plain length`` bytes; that of
a delta was compressed with the end of its key frame's JSON as a dictionary. The checksum (``zlib.crc32``) covers the 20
bytes before it and the payload. Records are only ever appended, each with a single ``write()``: whatever ends a
recorder, all records but the last are whole, and the last is either whole or recognised as not.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import zstandard

from explorer.codec import encode_value

__all__ = (
    "FORMAT_VERSION",
    "FRAME_TYPES",
    "KEY_INTERVAL",
    "MAGIC",
    "MAX_PLAIN",
    "MOST_LOOKUPS",
    "PREAMBLE",
    "RECORD_HEAD",
    "SMALL_TYPES",
    "TRAILER",
    "RecordHead",
    "RecordType",
    "RecordingError",
    "decode_json",
    "dictionary_of",
    "encode_json",
    "is_plausible",
    "is_whole",
    "pack_record",
    "parse_head",
    "unpack_payload",
)

MAGIC = b"\x89NXREC\r\n"
FORMAT_VERSION = 1
#: Frames from one key frame to the next: what a reader unpacks at most to show one.
KEY_INTERVAL = 64
#: Magic, format version, zero.
PREAMBLE = struct.Struct("<8sII")
#: Type, flags, segment, payload length, plain length, time, CRC-32.
RECORD_HEAD = struct.Struct("<BBHIIQI")
#: Offset of the index record, magic.
TRAILER = struct.Struct("<Q8s")

#: JSON of one record: a key frame of 100,000 tasks is some 50 MB, and takes four times that in memory.
MAX_PLAIN = 128 << 20
#: Of a record that is no frame with a snapshot: a few words, or the notes of one kernel.
_MAX_SMALL = 1 << 20
#: Path lookups of one frame: those of a second in which eight kernel threads do nothing else.
MOST_LOOKUPS = 20_000
#: What one record's JSON may be, however small it is packed; beyond it, at most so many times what it is packed in.
#: Key frames of real kernels are packed to a ninth, 100,000 tasks that are all alike to a ninetieth. The free part of
#: a frame is for a delta that says "all clocks went on alike": a byte for each of 250,000 tasks, packed to nearly none.
_FREE_FRAME, _FREE_SMALL, _MAX_RATIO = 256 << 10, 8 << 10, 400
#: What values of JSON take in memory at most, as objects, arrays, and members of either: bytes.
_OBJECT, _ARRAY, _MEMBER = 200, 72, 80
#: By that measure a snapshot takes five times the bytes of its JSON, and its densest table, the workqueues, eight
#: times; ``[[],[],…`` takes fifty. The most is what a key frame of ``MAX_PLAIN`` bytes takes.
_FREE_MEMORY, _MAX_DENSITY, _MAX_MEMORY = 64 << 20, 12, 6 * MAX_PLAIN
_CRC_AT = RECORD_HEAD.size - 4
_DICTIONARY_BYTES = 128 << 10
_LEVEL = 9


class RecordingError(Exception):
    """A file is no recording that this version can read, or cannot be written; the message is one line."""


class RecordType(IntEnum):
    """What a record is: the first byte of its head."""

    HEADER = ord("H")
    """The first record: who recorded what, and how."""
    SEGMENT = ord("S")
    """A boot begins: the records behind it, up to the next of these, are of it."""
    KERNEL = ord("N")
    """The kernel of this segment could be read for the first time, and is this one."""
    KEY = ord("K")
    """A frame: a whole snapshot."""
    DELTA = ord("D")
    """A frame: what differs from the frame before it."""
    LOOKUPS = ord("L")
    """Path lookups that ended between the frame before and the next; there may be several of these."""
    UNREADABLE = ord("U")
    """A frame in which the kernel could not be read, and why."""
    END = ord("E")
    """The recording ended, and why."""
    INDEX = ord("X")
    """Where the records are; found again by reading the file where it is missing."""


FRAME_TYPES = frozenset({RecordType.KEY, RecordType.DELTA, RecordType.UNREADABLE})
SMALL_TYPES = frozenset(
    {
        RecordType.HEADER,
        RecordType.SEGMENT,
        RecordType.KERNEL,
        RecordType.LOOKUPS,
        RecordType.UNREADABLE,
        RecordType.END,
    }
)


@dataclass(frozen=True, slots=True)
class RecordHead:
    """The fixed part of a record."""

    type: int
    segment: int
    length: int
    """Bytes of the payload."""
    plain: int
    """Bytes of JSON in it."""
    time_ns: int
    """Since the recording began, as :attr:`explorer.model.trace.Frame.seconds`."""
    crc: int


def dictionary_of(key_json: bytes) -> zstandard.ZstdCompressionDict:
    """The dictionary for the deltas behind a key frame: the end of its JSON, where the tasks are."""
    return zstandard.ZstdCompressionDict(
        key_json[-_DICTIONARY_BYTES:], dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )


def encode_json(document: Any) -> bytes:
    """JSON in ASCII: text that is not UTF-8 is in it as lone surrogates, as in a snapshot's export."""
    return encode_value(document).encode()


def pack_record(
    kind: RecordType,
    segment: int,
    time_ns: int,
    plain: bytes,
    dictionary: zstandard.ZstdCompressionDict | None = None,
) -> bytes:
    """One record, ready to be appended. :raises RecordingError: if it is larger than any reader takes"""
    if len(plain) > MAX_PLAIN:
        raise RecordingError(f"a frame of {len(plain) >> 20} MiB is too large for a recording")
    compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary, write_dict_id=False)
    payload = compressor.compress(plain)
    head = RECORD_HEAD.pack(kind, 0, segment, len(payload), len(plain), time_ns, 0)[:_CRC_AT]
    crc = zlib.crc32(payload, zlib.crc32(head))
    return head + struct.pack("<I", crc) + payload


def parse_head(data: bytes) -> RecordHead:
    """Take a head apart; ``data`` has its 24 bytes."""
    kind, _, segment, length, plain, time_ns, crc = RECORD_HEAD.unpack(data)
    return RecordHead(kind, segment, length, plain, time_ns, crc)


def is_whole(head: bytes, payload: bytes) -> bool:
    """Whether the checksum in ``head`` is that of the record."""
    crc: int = RECORD_HEAD.unpack(head)[6]
    return zlib.crc32(payload, zlib.crc32(head[:_CRC_AT])) == crc


def is_plausible(head: RecordHead) -> bool:
    """Whether a record can be what its head says: no larger than its type may be, nor packed than unpacked.

    What is not is no record: nothing is read, checked or unpacked because of such a head.
    """
    if head.plain > (_MAX_SMALL if head.type in SMALL_TYPES else MAX_PLAIN):
        return False
    return (
        head.length <= head.plain + (head.plain >> 8) + 1024
    )  # ZSTD_COMPRESSBOUND() of lib/zstd.h, rounded up


def unpack_payload(
    head: RecordHead, payload: bytes, dictionary: zstandard.ZstdCompressionDict | None = None
) -> bytes:
    """The JSON of a record, never more than its head announces. :raises RecordingError: if it is something else"""
    free = _FREE_SMALL if head.type in SMALL_TYPES else _FREE_FRAME
    if not is_plausible(head) or head.plain > max(free, len(payload) * _MAX_RATIO):
        raise RecordingError(f"a record announces {head.plain:,} bytes in {head.length:,}: more than any has")
    try:
        announced = zstandard.get_frame_parameters(payload).content_size
        if announced != head.plain:
            raise RecordingError("a record's length and that of what is packed in it differ")
        plain = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(
            payload, max_output_size=head.plain
        )
    except zstandard.ZstdError as error:
        raise RecordingError(f"a record cannot be unpacked: {error}") from error
    if len(plain) != head.plain:
        raise RecordingError("a record's length and that of what is packed in it differ")
    return plain


def decode_json(plain: bytes) -> dict[str, Any]:
    """The object in a record. :raises RecordingError: if it is none, or would fill the memory"""
    memory = plain.count(b"{") * _OBJECT + plain.count(b"[") * _ARRAY + plain.count(b",") * _MEMBER
    if memory > min(max(_FREE_MEMORY, len(plain) * _MAX_DENSITY), _MAX_MEMORY):
        raise RecordingError("a record is of more values than a snapshot of its size has")
    try:
        document = json.loads(plain)
    except RecursionError as error:
        raise RecordingError("a record is nested too deeply") from error
    except ValueError as error:
        raise RecordingError(f"a record is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RecordingError("a record is JSON, but no object")
    return document
