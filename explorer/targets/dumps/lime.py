"""LiME: physical memory as the Linux Memory Extractor and AVML save it, a header before each range.

The header is ``lime_mem_range_header`` (src/lime.h): magic, version, first and last address, 8 bytes reserved.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from explorer.targets.dumps.extents import Extents
from explorer.targets.dumps.ranges import FileRanges, Part, Ranged
from explorer.targets.errors import TargetError

__all__ = ("LIME_MAGIC", "read_lime")

LIME_MAGIC = b"EMiL"
_HEADER = struct.Struct("<4sIQQ8s")
_VERSION = 1
#: AVML writes ranges of 16 MB: this is 16 TB.
_MAX_RANGES = 1 << 20
#: Of physical addresses, 52 bits.
_HIGHEST = 1 << 52


def read_lime(file: BinaryIO, name: str, present: Extents | None = None) -> Ranged:
    """Where in the file which memory is.

    :param present: which bytes of the file are there; ``None``: all of them
    :raises TargetError: if a header is damaged, or there is no memory at all
    """
    there = Extents([(0, os.fstat(file.fileno()).st_size)]) if present is None else present
    parts: list[Part] = []
    at = memory = 0
    while at < there.reach:
        head = os.pread(file.fileno(), _HEADER.size, at)
        if len(head) < _HEADER.size:
            break
        magic, version, first, last, _ = _HEADER.unpack(head)
        if magic != LIME_MAGIC or not first <= last < _HIGHEST:
            raise TargetError(f"{name}: damaged LiME file: at byte {at} there is no range of memory")
        if version != _VERSION:
            raise TargetError(f"{name}: LiME, version {version}; version {_VERSION} is read")
        if len(parts) >= _MAX_RANGES:
            raise TargetError(f"{name}: damaged LiME file: more than {_MAX_RANGES} ranges of memory")
        at += _HEADER.size
        size = last + 1 - first
        parts.append(Part(first, max(min(size, there.reach - at), 0), at))
        at += size
        memory += size
    try:
        ranges = FileRanges(file, parts)
    except ValueError as error:
        raise TargetError(f"{name}: damaged LiME file: {error}") from error
    if not ranges.size:
        raise TargetError(f"{name}: LiME, cut off before its first byte of memory: nothing can be read")
    return Ranged(ranges, memory, memory - ranges.size, at != there.reach, taken_live=True)
