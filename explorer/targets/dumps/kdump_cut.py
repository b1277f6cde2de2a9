"""A kdump-compressed dump of which a part is not in the file: as a dump that says so in its bitmap.

Its descriptors lead beyond the end of the file, or to where nothing was written (makedumpfile ran out of space, a copy
broke off). libkdumpfile reads what they lead to: beyond the end that is a fault of the process, in a hole it is a page
of zeros that never was. So a copy is made in which the bitmap names no page but those that are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from explorer.targets.dumps.containers import check_disk, data_extents, disk_error, temporary_file
from explorer.targets.dumps.extents import Extents
from explorer.targets.dumps.kdump import DESCRIPTOR, PAGE, KdumpHeader, dumped_frames
from explorer.targets.spec import Progress

__all__ = ("without_missing_pages",)

_CHUNK = 4 << 20
_DESCRIPTORS_CHUNK = 1 << 16


def without_missing_pages(
    file: BinaryIO, header: KdumpHeader, present: Extents, name: str, progress: Progress
) -> tuple[BinaryIO, int]:
    """A copy in an unlinked, sparse temporary file, and how many pages are in it.

    :param present: which bytes of ``file`` are there
    :raises TargetError: if it does not fit on the disk
    """
    copy = temporary_file()
    try:
        _copy(file, copy, present, name, progress)
        return copy, _rewrite(file, copy, header, present)
    except OSError as error:
        copy.close()
        raise disk_error(name, error) from error
    except BaseException:
        copy.close()
        raise


def _copy(file: BinaryIO, copy: BinaryIO, present: Extents, name: str, progress: Progress) -> None:
    total = os.fstat(file.fileno()).st_size
    os.ftruncate(copy.fileno(), total)
    for low, high in present:
        for first, end in data_extents(file.fileno(), low, min(high, total)):
            for offset in range(first, end, _CHUNK):
                os.pwrite(copy.fileno(), os.pread(file.fileno(), min(_CHUNK, end - offset), offset), offset)
                check_disk()
                progress(f"copying what is there of {name}", offset, total)


def _rewrite(file: BinaryIO, copy: BinaryIO, header: KdumpHeader, present: Extents) -> int:
    """Bitmap and descriptors of the copy: those pages alone that are there."""
    first, end = header.bitmap
    bitmap = bytearray(_DESCRIPTORS_CHUNK)
    window = first  # where ``bitmap`` belongs
    kept = bytearray()
    pages = written = 0
    for dangling in header.dangling:
        os.pwrite(copy.fileno(), bytes(16), dangling)
    _clear(copy.fileno(), first, end)

    def flush() -> None:
        os.pwrite(copy.fileno(), bytes(bitmap[: max(min(len(bitmap), end - window), 0)]), window)

    for frame, descriptor in _present_pages(file.fileno(), header, present):
        place = first + frame // 8
        if place >= window + len(bitmap):
            flush()
            bitmap, window = bytearray(_DESCRIPTORS_CHUNK), place
        bitmap[place - window] |= 1 << frame % 8
        kept += descriptor
        pages += 1
        if len(kept) >= _CHUNK:
            os.pwrite(copy.fileno(), kept, header.descriptors + written)
            written += len(kept)
            kept = bytearray()
    flush()
    os.pwrite(copy.fileno(), kept, header.descriptors + written)
    return pages


def _clear(fd: int, first: int, end: int) -> None:
    for low, high in list(data_extents(fd, first, end)):
        for offset in range(low, high, _CHUNK):
            os.pwrite(fd, bytes(min(_CHUNK, high - offset)), offset)


def _present_pages(fd: int, header: KdumpHeader, present: Extents) -> Iterator[tuple[int, bytes]]:
    """Frame and descriptor of each page that is there: it has a descriptor, and what that leads to is in the file."""
    frames = dumped_frames(fd, header.bitmap)
    for first in range(0, header.pages, _DESCRIPTORS_CHUNK):
        some = min(_DESCRIPTORS_CHUNK, header.pages - first)
        at = header.descriptors + first * DESCRIPTOR.size
        table = os.pread(fd, some * DESCRIPTOR.size, at)
        for number, frame in enumerate(islice(frames, some)):
            data = table[number * DESCRIPTOR.size : (number + 1) * DESCRIPTOR.size]
            if len(data) < DESCRIPTOR.size:
                return
            here = at + number * DESCRIPTOR.size
            offset, size, _, _ = DESCRIPTOR.unpack(data)
            there = present.covers(here, here + DESCRIPTOR.size)
            if there and 0 < size <= PAGE <= offset and present.covers(offset, offset + size):
                yield frame, data
