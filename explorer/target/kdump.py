"""kdump-compressed dumps ("KDUMP", "DISKDUMP"): checked here, read by drgn through libkdumpfile.

The format is makedumpfile's (diskdump_mod.h): blocks holding a header, a sub header, two bitmaps (pages
that exist; pages that were dumped), one descriptor per dumped page, then the pages. libkdumpfile opens a
truncated one happily and faults later.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from explorer.target.errors import TargetError

__all__ = ("KdumpHeader", "read_kdump_header")

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
_EXTENTS = ("VMCOREINFO", "notes", "erase info")
_SUB_HEADER_SIZE = 104
_INCOMPLETE = 0x8
_DESCRIPTOR = struct.Struct("<QIIQ")
_BITMAP_CHUNK = 4 << 20
#: Descriptors from the end of the table that are compared with the size of the file: 16 GB of pages, 1 s.
_CHECKED_DESCRIPTORS = 1 << 22
_DESCRIPTORS_CHUNK = 1 << 16
_MAX_VMCOREINFO = 1 << 20


@dataclass(frozen=True, slots=True)
class KdumpHeader:
    """What the checks found."""

    #: Pages in the dump.
    pages: int
    #: makedumpfile ran out of space while writing it, and says so.
    incomplete: bool
    #: The VMCOREINFO it carries, or ``None``: a QEMU dump of a guest without ``-device vmcoreinfo``.
    vmcoreinfo: bytes | None
    #: The highest page frame number it can hold.
    max_mapnr: int


def read_kdump_header(file: BinaryIO, name: str) -> KdumpHeader:
    """Check a kdump-compressed file as far as its headers allow.

    Raises :class:`TargetError` if it is truncated, damaged, one part of a split dump, or not of x86_64.
    """
    fd = file.fileno()
    size = os.fstat(fd).st_size
    head = os.pread(fd, _HEADER_SIZE, 0)
    if len(head) < _HEADER_SIZE:
        raise TargetError(f"{name}: truncated: a kdump header of {len(head)} bytes")
    if not head.startswith(_SIGNATURES):
        raise TargetError(f"{name}: not a kdump-compressed dump")
    machine = head[_MACHINE].split(b"\0", 1)[0].decode("ascii", "replace")
    if machine != "x86_64":
        arch = (
            "arm64" if machine == "aarch64" else machine if machine.isprintable() and machine else "unknown"
        )
        raise TargetError(f"{name}: a dump of an {arch} kernel; only x86_64 is supported")
    version = struct.unpack_from("<i", head, 8)[0]
    status, block_size, sub_blocks, bitmap_blocks, max_mapnr = _FIELDS.unpack_from(head, _FIELDS_OFFSET)
    if block_size != 4096 or not 0 < sub_blocks <= 1 << 20:
        raise TargetError(
            f"{name}: damaged kdump header (block size {block_size}, {sub_blocks} and {bitmap_blocks} blocks)"
        )
    sub = os.pread(fd, _SUB_HEADER_SIZE, block_size)
    if len(sub) < _SUB_HEADER_SIZE:
        raise TargetError(f"{name}: truncated: the kdump sub header is missing")
    _, _, split, _, _, *extents = _SUB_HEADER.unpack_from(sub)
    if split:
        raise TargetError(
            f"{name}: one part of a split dump; join the parts with makedumpfile --reassemble first"
        )
    if version >= 6:
        max_mapnr = struct.unpack_from("<Q", sub, _MAX_MAPNR_64_OFFSET)[0]
    # libkdumpfile maps what these name: a fault beyond the end of the file would be the end of the process.
    for what, offset, length in zip(_EXTENTS, extents[::2], extents[1::2], strict=True):
        _need(name, what, offset + length if length else 0, size)
    descriptors = (1 + sub_blocks + bitmap_blocks) * block_size
    _need(name, "bitmaps", descriptors, size)
    # The last bitmap is that of the dumped pages. A dump may have that one alone: then one half is too small.
    bitmap_size = bitmap_blocks * block_size
    if max_mapnr <= bitmap_size * 8 // 2:
        bitmap_size //= 2
    pages = _count_bits(fd, descriptors - bitmap_size, descriptors)
    _need(name, "page descriptors", descriptors + pages * _DESCRIPTOR.size, size)
    _need(name, "pages", _end_of_pages(fd, descriptors, pages), size)
    return KdumpHeader(
        pages, bool(status & _INCOMPLETE), _vmcoreinfo(fd, version, extents[0], extents[1]), max_mapnr
    )


def _need(name: str, what: str, end: int, size: int) -> None:
    if end > size:
        raise TargetError(
            f"{name}: truncated: its {what} should reach byte {end}, but the file ends at {size} "
            f"({end - size} bytes are missing); copy the dump again"
        )


def _count_bits(fd: int, start: int, end: int) -> int:
    total = 0
    for offset in range(start, end, _BITMAP_CHUNK):
        total += int.from_bytes(os.pread(fd, min(_BITMAP_CHUNK, end - offset), offset), "little").bit_count()
    return total


def _end_of_pages(fd: int, descriptors: int, pages: int) -> int:
    """Where the last dumped page ends. A descriptor that points further crashes libkdumpfile."""
    end = 0
    for first in range(max(0, pages - _CHECKED_DESCRIPTORS), pages, _DESCRIPTORS_CHUNK):
        count = min(_DESCRIPTORS_CHUNK, pages - first)
        table = os.pread(fd, count * _DESCRIPTOR.size, descriptors + first * _DESCRIPTOR.size)
        end = max(end, *(offset + size for offset, size, _, _ in _DESCRIPTOR.iter_unpack(table)))
    return end


def _vmcoreinfo(fd: int, version: int, offset: int, size: int) -> bytes | None:
    if version < 3 or not 0 < size <= _MAX_VMCOREINFO or offset >= 1 << 62:
        return None
    return os.pread(fd, size, offset)
