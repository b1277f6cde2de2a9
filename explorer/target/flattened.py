"""makedumpfile's flattened format: a dump written to a pipe, as (offset, size, data) records.

``makedumpfile -F`` and QEMU's ``dump-guest-memory -z/-l/-s`` write it. A 4096-byte header is followed by
records of two big-endian 64-bit numbers and data, until one with offset -1. drgn wants the dump that the
records describe.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from explorer.target.containers import check_disk, data_extents, disk_error, temporary_file
from explorer.target.errors import TargetError
from explorer.target.spec import Progress, no_progress

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
#: A flattened dump comes out of a pipe without holes; if it was copied with some since, then where its bitmaps are
#: zeros, which have 4 GB for 64 TB of memory.
_MAX_HOLES = 8 << 30


def reassemble(file: BinaryIO, name: str, progress: Progress = no_progress) -> BinaryIO:
    """Put the records of a flattened dump where they belong, in an unlinked, sparse temporary file.

    The result is byte for byte that of ``makedumpfile -R``. Raises :class:`TargetError` if the dump is
    truncated or damaged, or does not fit on the disk.
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
    try:
        _copy_records(file, plain.fileno(), name, total, progress)
    except OSError as error:
        plain.close()
        raise disk_error(name, error) from error
    except BaseException:
        plain.close()
        raise
    return plain


def _copy_records(file: BinaryIO, fd: int, name: str, total: int, progress: Progress) -> None:
    position = _HEADER_SIZE
    reported = records = end = written = 0
    zeros = bytes(_CHUNK)
    while True:
        record = file.read(_RECORD.size)
        if len(record) < _RECORD.size:
            raise TargetError(
                f"{name}: truncated: the flattened dump ends at byte {total} without its end mark"
            )
        offset, size = _RECORD.unpack(record)
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
            raise TargetError(
                f"{name}: truncated: a record of the flattened dump reaches byte {position}, "
                f"but the file ends at {total}; copy it again"
            )
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
