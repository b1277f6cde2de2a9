"""kdump-compressed dumps ("KDUMP", "DISKDUMP"): checked here, read by drgn through libkdumpfile.

The format is makedumpfile's (diskdump_mod.h): blocks holding a header, a sub header, two bitmaps (pages
that exist; pages that were dumped), one descriptor per dumped page, then the pages. libkdumpfile opens a
truncated one happily and faults later.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from explorer.targets.dumps.containers import data_extents
from explorer.targets.dumps.extents import Extents
from explorer.targets.errors import TargetError

__all__ = ("DESCRIPTOR", "PAGE", "KdumpHeader", "dumped_frames", "dumped_ranges", "read_kdump_header")

#: signature, header_version, the machine of ``struct new_utsname``, then status .. max_mapnr.
_SIGNATURES = (b"KDUMP   ", b"DISKDUMP")
_MACHINE = slice(12 + 4 * 65, 12 + 5 * 65)
_FIELDS = struct.Struct("<IiiII")
_FIELDS_OFFSET = 424
_HEADER_SIZE = 464
#: In ``struct kdump_sub_header``: split, then offset and size of VMCOREINFO (header version 3 on),
#: max_mapnr_64 (6 on).
_SUB_HEADER = struct.Struct("<QiiQQ6Q")
_MAX_MAPNR_64_OFFSET = 96
#: libkdumpfile reads them whole. There are a few notes of some hundred bytes for each CPU.
_MAX_EXTENT = 64 << 20
_EXTENTS = ("VMCOREINFO", "notes", "erase info")
_SUB_HEADER_SIZE = 104
_FIRST_EXTENT = 32  # in the sub header: offset and size of VMCOREINFO
_INCOMPLETE = 0x8
PAGE = 4096
#: Two bitmaps of 2 GiB: 64 TiB of memory, as much as x86_64 has with four levels of page tables.
_MAX_BITMAP_BLOCKS = 1 << 20
_MAX_SUB_BLOCKS = 1 << 20
DESCRIPTOR = struct.Struct("<QIIQ")
_BITMAP_CHUNK = 4 << 20
#: Descriptors from the end of the table that are compared with the size of the file: 16 GB of pages, 1 s.
_CHECKED_DESCRIPTORS = 1 << 22
_DESCRIPTORS_CHUNK = 1 << 16
_MAX_VMCOREINFO = 1 << 20
#: Pages that are stored before others with lower addresses: no writer makes more than one for each part of a dump.
_MAX_BACKWARDS = 1 << 16
_FULL_OR_NOT_EMPTY = re.compile(rb"\xff+|[^\0\xff]")


@dataclass(frozen=True, slots=True)
class KdumpHeader:
    """What the checks found."""

    #: Pages that the bitmap names, and those of them that the file can have descriptors of.
    named: int
    pages: int
    #: Some of them are not in the file, or something else that the headers name is not.
    cut: bool
    #: Offsets, in the sub header, of what the headers name and the file does not hold: offset and size of each.
    dangling: tuple[int, ...]
    #: makedumpfile's dump level: which sorts of pages it left out. QEMU leaves out none, and says 1.
    level: int
    #: makedumpfile ran out of space while writing it, and says so.
    incomplete: bool
    #: The VMCOREINFO it carries, or ``None``: a QEMU dump of a guest without ``-device vmcoreinfo``.
    vmcoreinfo: bytes | None
    #: (first, end) offsets of the bitmap of the dumped pages, and the offset of their descriptors.
    bitmap: tuple[int, int]
    descriptors: int


def read_kdump_header(file: BinaryIO, name: str, present: Extents | None = None) -> KdumpHeader:
    """Check a kdump-compressed file as far as its headers allow. Pages that they promise need not be in the file.

    :param present: which bytes of the file are there; ``None``: all of them
    :raises TargetError: if its headers and bitmaps are not there or damaged, or it is one part of a split dump, or not
        of x86_64
    """
    fd = file.fileno()
    size = os.fstat(fd).st_size
    there = present or Extents.of_file(fd)
    head = os.pread(fd, _HEADER_SIZE, 0)
    if len(head) < _HEADER_SIZE:
        raise TargetError(f"{name}: truncated: a kdump header of {len(head)} bytes")
    if not head.startswith(_SIGNATURES):
        raise TargetError(f"{name}: not a kdump-compressed dump")
    _check_machine(head, name)
    version = struct.unpack_from("<i", head, 8)[0]
    status, block_size, sub_blocks, bitmap_blocks, max_mapnr = _FIELDS.unpack_from(head, _FIELDS_OFFSET)
    if (
        block_size != PAGE
        or not 0 < sub_blocks <= _MAX_SUB_BLOCKS
        or not 0 < bitmap_blocks <= _MAX_BITMAP_BLOCKS
    ):
        raise TargetError(
            f"{name}: damaged kdump header (block size {block_size}, {sub_blocks} and {bitmap_blocks} blocks)"
        )
    sub = _read_sub_header(fd, name)
    _, level, _, _, _, *extents = _SUB_HEADER.unpack_from(sub)
    if version >= 6:
        max_mapnr = struct.unpack_from("<Q", sub, _MAX_MAPNR_64_OFFSET)[0]
    dangling = _dangling(extents, there, name)
    descriptors = (1 + sub_blocks + bitmap_blocks) * block_size
    bitmap = _find_bitmap(descriptors, bitmap_blocks * block_size, max_mapnr, name)
    if not there.covers(*bitmap):
        raise TargetError(
            f"{name}: truncated: its bitmaps should reach byte {descriptors}, and are not all in the file; "
            "without them nothing can be read"
        )
    held = sum(end - first for first, end in data_extents(fd, descriptors, size))
    pages = _count_bits(fd, *bitmap, held // DESCRIPTOR.size)
    cut = pages * DESCRIPTOR.size > held or not _all_there(fd, name, descriptors, pages, there)
    info = None
    if there.covers(extents[0], extents[0] + extents[1]):
        info = _vmcoreinfo(fd, version, extents[0], extents[1])
    return KdumpHeader(
        pages,
        min(pages, held // DESCRIPTOR.size),
        cut or bool(dangling),
        dangling,
        level,
        bool(status & _INCOMPLETE),
        info,
        bitmap,
        descriptors,
    )


def _check_machine(head: bytes, name: str) -> None:
    machine = head[_MACHINE].split(b"\0", 1)[0].decode("ascii", "replace")
    if machine != "x86_64":
        arch = (
            "arm64" if machine == "aarch64" else machine if machine.isprintable() and machine else "unknown"
        )
        raise TargetError(f"{name}: a dump of an {arch} kernel; only x86_64 is supported")


def _read_sub_header(fd: int, name: str) -> bytes:
    sub = os.pread(fd, _SUB_HEADER_SIZE, PAGE)
    if len(sub) < _SUB_HEADER_SIZE:
        raise TargetError(f"{name}: truncated: the kdump sub header is missing")
    if _SUB_HEADER.unpack_from(sub)[2]:
        raise TargetError(
            f"{name}: one part of a split dump; join the parts with makedumpfile --reassemble first"
        )
    return sub


def _dangling(extents: list[int], there: Extents, name: str) -> tuple[int, ...]:
    """Where the sub header names what is not in the file.

    libkdumpfile maps what that names: a fault beyond the end of the file would be the end of the process.
    """
    dangling = []
    for index, (what, offset, length) in enumerate(zip(_EXTENTS, extents[::2], extents[1::2], strict=True)):
        if length > _MAX_EXTENT:
            raise TargetError(f"{name}: damaged: {what} of {length} bytes")
        if not there.covers(offset, offset + length):
            dangling.append(PAGE + _FIRST_EXTENT + 16 * index)
    return tuple(dangling)


def _find_bitmap(end: int, size: int, max_mapnr: int, name: str) -> tuple[int, int]:
    """The last bitmap, that of the dumped pages. A dump may have that one alone: then one half is too small.

    :param end: of both; their size is ``size``
    """
    if max_mapnr > size * 8:
        raise TargetError(
            f"{name}: damaged kdump header: {max_mapnr} page frames, but bitmaps for {size * 8}"
        )
    return end - (size // 2 if max_mapnr <= size * 8 // 2 else size), end


def dumped_ranges(file: BinaryIO, header: KdumpHeader) -> Iterator[tuple[int, int]]:
    """(first, end) physical addresses of the dumped pages, each stored page once.

    makedumpfile stores one page of zeros for all there are; a damaged dump may have any page a million times.
    """
    fd = file.fileno()
    first = end = stored = 0
    backwards: set[int] = set()
    frames = dumped_frames(fd, header.bitmap)
    for frame, (offset, size, _, _) in zip(
        frames, _read_descriptors(fd, header.descriptors, header.pages), strict=False
    ):
        if offset >= stored:
            stored = offset + max(size, 1)
        elif offset in backwards or len(backwards) >= _MAX_BACKWARDS:
            continue
        else:
            backwards.add(offset)
        if frame * PAGE != end:
            if end:
                yield first, end
            first = frame * PAGE
        end = (frame + 1) * PAGE
    if end:
        yield first, end


def _read_descriptors(fd: int, start: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """(offset, size, flags, page flags) of each dumped page."""
    for first in range(0, count, _DESCRIPTORS_CHUNK):
        some = min(_DESCRIPTORS_CHUNK, count - first) * DESCRIPTOR.size
        table = os.pread(fd, some, start + first * DESCRIPTOR.size)
        if len(table) < some:  # the file has become shorter
            return
        yield from DESCRIPTOR.iter_unpack(table)


def dumped_frames(fd: int, bitmap: tuple[int, int]) -> Iterator[int]:
    """The page frame numbers of the bits set, lowest first."""
    for start, chunk in _bitmap_chunks(fd, *bitmap):
        base = (start - bitmap[0]) * 8
        for match in _FULL_OR_NOT_EMPTY.finditer(chunk):
            frame = base + match.start() * 8
            if (byte := chunk[match.start()]) == 0xFF:
                yield from range(frame, base + match.end() * 8)
            else:
                yield from (frame + bit for bit in range(8) if byte >> bit & 1)


def _bitmap_chunks(fd: int, first: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(offset, content) of the bitmap; where the file has a hole, no bit is set."""
    for low, high in data_extents(fd, first, end):
        for offset in range(low, high, _BITMAP_CHUNK):
            yield offset, os.pread(fd, min(_BITMAP_CHUNK, high - offset), offset)


def _count_bits(fd: int, start: int, end: int, enough: int) -> int:
    """The bits set, or some number above ``enough``."""
    total = 0
    for _, chunk in _bitmap_chunks(fd, start, end):
        total += int.from_bytes(chunk, "little").bit_count()
        if total > enough:
            break
    return total


def _all_there(fd: int, name: str, descriptors: int, pages: int, there: Extents) -> bool:
    """Whether the file holds every descriptor, and every page that one leads to.

    libkdumpfile reads what one says, 4 GB or not, and faults beyond the end of the file.
    """
    size = pages * DESCRIPTOR.size
    # No descriptor is all zeros: none of them is in a hole of the file.
    if sum(high - low for low, high in data_extents(fd, descriptors, descriptors + size)) < size:
        return False
    whole = there.covers(descriptors, descriptors + size)
    end = largest = 0
    checked = min(pages, _CHECKED_DESCRIPTORS)
    start = descriptors + (pages - checked) * DESCRIPTOR.size
    only, reach = len(list(there)) == 1, there.reach
    for offset, stored, _, _ in _read_descriptors(fd, start, checked):
        if offset + stored > end:
            end = offset + stored
        if stored > largest:
            largest = stored
        if not stored or (not only and not there.covers(offset, offset + stored)):
            whole = False
    if largest > PAGE:  # what does not get smaller is stored as it is
        raise TargetError(f"{name}: damaged: a page of {PAGE} bytes is said to be stored in {largest}")
    return whole and end <= reach


def _vmcoreinfo(fd: int, version: int, offset: int, size: int) -> bytes | None:
    if version < 3 or not 0 < size <= _MAX_VMCOREINFO or offset >= 1 << 62:
        return None
    return os.pread(fd, size, offset)
