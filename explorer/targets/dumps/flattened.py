"""makedumpfile's flattened format: a dump written to a pipe, as (offset, size, data) records.

``makedumpfile -F`` and QEMU's ``dump-guest-memory -z/-l/-s`` write it. A 4096-byte header is followed by
records of two big-endian 64-bit numbers and data, until one with offset -1. drgn wants the dump that the
records describe.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from explorer.targets.dumps.containers import check_disk, data_extents, disk_error, temporary_file
from explorer.targets.dumps.extents import Extents
from explorer.targets.errors import TargetError
from explorer.targets.spec import Progress, no_progress

__all__ = ("SIGNATURE", "reassemble")

SIGNATURE = b"makedumpfile\0\0\0\0"
_HEADER = struct.Struct(">16sqq")
_HEADER_SIZE = 4096
_TYPE, _VERSION = 1, 1
_RECORD = struct.Struct(">qq")
_END = -1
#: 128 TiB: no dump reaches further.
_MAX_OFFSET = 1 << 47
_CHUNK = 4 << 20
_STEP = 64 << 20
#: Records that may hold less than this many bytes each: writers send blocks of 4 KiB and more, and some headers.
_SMALL_RECORDS, _RECORD_BYTES = 1 << 16, 512
#: Pieces in which a dump lies when its records are put together: a writer has two or three that grow.
_MAX_EXTENTS = 1 << 20
#: A flattened dump comes out of a pipe without holes; if it was copied with some since, then where its bitmaps are
#: zeros, which have 4 GB for 64 TB of memory.
_MAX_HOLES = 8 << 30


def reassemble(
    file: BinaryIO, name: str, progress: Progress = no_progress, *, cut: Callable[[], None] | None = None
) -> tuple[BinaryIO, Extents]:
    """Put the records of a flattened dump where they belong, in an unlinked, sparse temporary file.

    The result is byte for byte that of ``makedumpfile -R``, and which bytes of it there were records for. Raises
    :class:`TargetError` if the dump is damaged or (without ``cut``) truncated, or does not fit on the disk.

    :param cut: told if the dump is cut off: what was written up to there is given then
    """
    total = os.fstat(file.fileno()).st_size
    holes = total - sum(end - first for first, end in data_extents(file.fileno(), 0, total))
    if holes > _MAX_HOLES:
        raise TargetError(f"{name}: damaged: a flattened dump with {holes / 1e9:.0f} GB of holes in its file")
    file.seek(0)
    header = file.read(_HEADER_SIZE)
    if len(header) < _HEADER_SIZE:
        raise TargetError(f"{name}: truncated: a flattened dump has a header of {_HEADER_SIZE} bytes")
    signature, kind, version = _HEADER.unpack_from(header)
    if signature != SIGNATURE or kind != _TYPE or version != _VERSION:
        raise TargetError(f"{name}: a flattened dump of an unknown kind (type {kind}, version {version})")
    plain = temporary_file()
    written: list[tuple[int, int]] = []
    try:
        for extent in _copy_records(file, plain.fileno(), name, total, progress, cut):
            if written and written[-1][1] == extent[0]:
                written[-1] = (written[-1][0], extent[1])
                continue
            written.append(extent)
            if len(written) > _MAX_EXTENTS:
                written = list(Extents(written))
                if len(written) > _MAX_EXTENTS // 2:
                    raise TargetError(f"{name}: damaged: a flattened dump in {len(written)} pieces")
    except OSError as error:
        plain.close()
        raise disk_error(name, error) from error
    except BaseException:
        plain.close()
        raise
    return plain, Extents(written)


def _copy_records(
    file: BinaryIO,
    fd: int,
    name: str,
    total: int,
    progress: Progress,
    cut: Callable[[], None] | None,
) -> Iterator[tuple[int, int]]:
    """Copy the records; (first, end) of each."""
    position = _HEADER_SIZE
    reported = records = end = written = 0
    zeros = bytes(_CHUNK)
    while True:
        record = file.read(_RECORD.size)
        if len(record) < _RECORD.size:
            if cut is None:
                raise TargetError(
                    f"{name}: truncated: the flattened dump ends at byte {total} without its end mark"
                )
            cut()
        offset, size = _RECORD.unpack(record) if len(record) == _RECORD.size else (_END, 0)
        if offset == _END:
            os.ftruncate(fd, end)
            progress(f"reassembling {name}", total, total)
            return
        if offset < 0 or size < 0 or offset + size > _MAX_OFFSET:
            raise TargetError(
                f"{name}: damaged: a record at byte {position} of {size} bytes for offset {offset}"
            )
        records += 1
        if records > _SMALL_RECORDS + position // _RECORD_BYTES:
            raise TargetError(f"{name}: damaged: {records} records with next to nothing in them")
        position += _RECORD.size + size
        if position > total:
            if cut is None:
                raise TargetError(
                    f"{name}: truncated: a record of the flattened dump reaches byte {position}, "
                    f"but the file ends at {total}; copy it again"
                )
            size -= position - total  # of the last record, what is there; the next one is not
        if size > 0:
            yield offset, offset + size
        for start in range(0, size, _CHUNK):
            data = file.read(min(_CHUNK, size - start))
            end = max(end, offset + start + len(data))
            # Zeros where nothing has been written yet stay a hole.
            if offset + start < written or data != zeros[: len(data)]:
                os.pwrite(fd, data, offset + start)
                written = max(written, offset + start + len(data))
        if position - reported >= _STEP:
            reported = position
            check_disk()
            progress(f"reassembling {name}", position, total)
