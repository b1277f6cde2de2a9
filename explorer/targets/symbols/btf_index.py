"""What one pass over BTF finds out, as plain arrays that a cache can keep: where types start, and their names stand."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import NamedTuple, TypeAlias
from zlib import crc32

__all__ = ("ID_BITS", "BtfIndex", "Words", "bytes_of", "hash_names", "hashed_offsets", "words_of")

Words: TypeAlias = "array[int] | memoryview"
ID_BITS = 27
_FUNC = 12  # BTF_KIND_FUNC
_MAX_NAME = 512  # KSYM_NAME_LEN


class BtfIndex(NamedTuple):
    """Of one section.

    :ivar starts: word index of each type's header, by id - start_id.
    :ivar names: sorted ``name_off << 32 | kind << 27 | id`` of the named types.
    :ivar enumerators: sorted ``name_off << 32 | id`` of the enumerators, id being that of the enum.
    :ivar hashes: sorted ``crc32(name) << 32 | name_off`` of all these names but functions', which are most and are
        hardly looked for; empty where there was no time to make it.
    """

    starts: Words
    names: Words
    enumerators: Words
    hashes: Words = array("Q")


def words_of(data: bytes | memoryview, code: str = "I") -> Words:
    """View little-endian bytes as unsigned words (``I``: 32 bits, ``Q``: 64 bits), without a copy where possible."""
    view = memoryview(data)
    if sys.byteorder == "little":
        return view.cast(code)  # type: ignore[call-overload,no-any-return]
    copy = array(code)
    copy.frombytes(view)
    copy.byteswap()
    return copy


def bytes_of(words: Words) -> bytes:
    """The little-endian bytes of unsigned words: the inverse of :func:`words_of`."""
    if sys.byteorder == "little" or isinstance(words, memoryview):
        return words.tobytes()
    copy = words[:]
    copy.byteswap()
    return copy.tobytes()


def hash_names(strings: bytes, index: BtfIndex) -> Words:
    """:attr:`BtfIndex.hashes` (20 ms for a vmlinux). To search its two megabytes for a name takes 0.1 ms, each time."""
    offsets = {entry >> 32 for entry in index.names if entry >> ID_BITS & 0x1F != _FUNC}
    offsets.update(entry >> 32 for entry in index.enumerators)
    find = strings.find
    # Names that lie in one another, each to the end of megabytes, would be read for hours: those of a kernel are short.
    return array(
        "Q",
        sorted(
            crc32(strings[at:end]) << 32 | at
            for at in offsets
            if (end := find(b"\0", at, at + _MAX_NAME)) >= 0
        ),
    )


def hashed_offsets(strings: bytes | memoryview, hashes: Words, name: str) -> list[int]:
    """Where a name stands that is one of anything but a function."""
    try:
        whole = name.encode() + b"\0"
    except UnicodeEncodeError:
        return []
    wanted, found = crc32(whole[:-1]), []
    at = bisect_left(hashes, wanted << 32)
    while name and at < len(hashes) and hashes[at] >> 32 == wanted:
        offset = hashes[at] & 0xFFFFFFFF
        if strings[offset : offset + len(whole)] == whole:
            found.append(offset)
        at += 1
    return found
