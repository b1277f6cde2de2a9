"""Memory as other tools write it, made from ranges of a memory image: LiME, VirtualBox's core, libvirt's save file."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

__all__ = ("libvirt_save", "lime_header", "virtualbox_headers", "write_lime", "write_virtualbox")

_PIECE = 1 << 20


def lime_header(first: int, end: int) -> bytes:
    """``lime_mem_range_header``: the last address is within the range."""
    return struct.pack("<4sIQQ8x", b"EMiL", 1, first, end - 1)


def write_lime(path: Path, image: Path, ranges: Iterable[tuple[int, int, int]]) -> None:
    """A LiME file of the ranges (physical address, end, offset in the image)."""
    with path.open("wb") as out, image.open("rb") as memory:
        for first, end, offset in ranges:
            out.write(lime_header(first, end))
            _copy(memory, offset, end - first, out)
        out.truncate()


def virtualbox_headers(ranges: list[tuple[int, int, int]]) -> bytes:
    """As DBGFCoreWrite.cpp makes them: notes VBCORE and VBCPU, segments without virtual addresses."""
    notes = b"".join(
        struct.pack("<III8s", len(name) + 1, len(data), kind, name) + data
        for kind, name, data in ((0xB00, b"VBCORE", bytes(24)), (0xB01, b"VBCPU", bytes(1024)))
    )
    count = 1 + len(ranges)
    at = 64 + 56 * count
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0
    )
    header += struct.pack("<IIQQQQQQ", 4, 4, at, 0, 0, len(notes), len(notes), 0)
    at += len(notes)
    for first, end, _ in ranges:
        header += struct.pack("<IIQQQQQQ", 1, 6, at, 0, first, end - first, end - first, 0)
        at += end - first
    return header + notes


def write_virtualbox(path: Path, image: Path, ranges: list[tuple[int, int, int]]) -> None:
    """What ``VBoxManage debugvm VM dumpvmcore`` writes of a guest with that RAM."""
    with path.open("wb") as out, image.open("rb") as memory:
        out.write(virtualbox_headers(ranges))
        for first, end, offset in ranges:
            _copy(memory, offset, end - first, out)
        out.truncate()


def libvirt_save(stream: bytes, *, whole: bool = True) -> bytes:
    """What ``virsh save`` writes around QEMU's stream: a header, and the guest's XML."""
    xml = b"<domain type='kvm'><name>guest</name></domain>\0"
    magic = b"LibvirtQemudSave" if whole else b"LibvirtQemudPart"
    return magic + struct.pack("<5I56x", 2, len(xml), 0, 0, 0) + xml + stream


def _copy(memory: BinaryIO, offset: int, size: int, out: BinaryIO) -> None:
    """Zeros become holes: a guest's RAM is mostly that."""
    for at in range(offset, offset + size, _PIECE):
        piece = os.pread(memory.fileno(), min(_PIECE, offset + size - at), at)
        if piece.strip(b"\0"):
            out.write(piece)
        else:
            out.seek(len(piece), os.SEEK_CUR)
