"""What a file is, by its content, and the plain bytes inside a compressed one.

Dumps travel compressed; drgn wants a file it can seek in. A compressed file is unpacked once, as a
stream, into an unlinked temporary file: nothing is left behind, and memory use does not depend on what is
inside.
"""

from __future__ import annotations

import enum
import errno
import gzip
import lzma
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from explorer.target.errors import TargetError
from explorer.target.spec import Progress, no_progress

__all__ = (
    "COMPRESSED",
    "Format",
    "check_disk",
    "decompress",
    "disk_error",
    "open_file",
    "peek",
    "sniff",
    "temporary_file",
)

_CHUNK = 1 << 20
#: One byte of zstd can become 32 KiB, so this much input is at most 128 MiB of output.
_ZSTD_INPUT = 4096
#: Leave this much of the disk to others.
_SPARE_DISK = 64 << 20
_CHECK_DISK_EVERY = 64 << 20
#: A snapshot says what it is within its first bytes.
_SNAPSHOT_HEAD = 4096


class Format(enum.Enum):
    """The kinds of file a user may hand over."""

    ELF = "ELF"
    KDUMP = "kdump-compressed"
    FLATTENED = "flattened kdump"
    ZSTD = "zstd"
    GZIP = "gzip"
    XZ = "xz"
    SNAPSHOT = "snapshot"
    RECORDING = "recording"
    EMPTY = "empty"
    UNKNOWN = "unknown"


COMPRESSED = frozenset({Format.ZSTD, Format.GZIP, Format.XZ})

_MAGICS = (
    (b"\x7fELF", Format.ELF),
    (b"\x89NXREC\r\n", Format.RECORDING),
    (b"KDUMP   ", Format.KDUMP),
    (b"DISKDUMP", Format.KDUMP),
    (b"makedumpfile\0\0\0\0", Format.FLATTENED),
    (b"\x28\xb5\x2f\xfd", Format.ZSTD),
    (b"\x1f\x8b\x08", Format.GZIP),
    (b"\xfd7zXZ\0", Format.XZ),
)


def sniff(head: bytes) -> Format:
    """What a file is that begins with ``head`` (its first 4096 bytes, or all of it)."""
    for magic, form in _MAGICS:
        if head.startswith(magic):
            return form
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return Format.ZSTD  # a skippable frame, as zstd --adapt and pzstd write in front
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if text.startswith(b"{") and b'"schema_version"' in text[:_SNAPSHOT_HEAD]:
        return Format.SNAPSHOT
    return Format.UNKNOWN if head else Format.EMPTY


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Raises :class:`TargetError`, in words, for everything else."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise TargetError(_open_error(path, error)) from error
    mode = os.fstat(fd).st_mode
    for test, what in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe; save its content to a file first"),
        (stat.S_ISCHR, "a character device; for the running kernel, say 'live'"),
    ):
        if test(mode):
            os.close(fd)
            raise TargetError(f"{path}: {what}")
    return os.fdopen(fd, "rb")


def _open_error(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        hint = "; targets are: live, sample, qemu:SOCKET, physmem:FILE, or a dump or snapshot file"
        return f"{path}: no such file{hint}"
    if error.errno == errno.ENXIO:
        return f"{path}: a socket; for a QEMU guest, name its QMP socket as qemu:{path}"
    if error.errno == errno.EACCES:
        return f"{path}: permission denied (crash dumps usually belong to root: try sudo)"
    return f"{path}: {error.strerror or error}"


def peek(file: BinaryIO, name: str) -> tuple[Format, Format, bytes]:
    """The format of a file, the format inside if it is compressed (else the same), the first plain bytes."""
    head = os.pread(file.fileno(), _SNAPSHOT_HEAD, 0)
    outer = sniff(head)
    if outer not in COMPRESSED:
        return outer, outer, head
    inner = b""
    for chunk in _plain_chunks(file, outer, name):
        inner += chunk[: _SNAPSHOT_HEAD - len(inner)]
        if len(inner) >= _SNAPSHOT_HEAD:
            break
    return outer, sniff(inner), inner


def decompress(
    file: BinaryIO, outer: Format, name: str, progress: Progress = no_progress, limit: int | None = None
) -> BinaryIO:
    """The content of a compressed file, in an unlinked temporary file.

    Raises :class:`TargetError` if it is damaged or truncated, has more than ``limit`` bytes, or does not fit on the
    disk.
    """
    total = os.fstat(file.fileno()).st_size
    plain = temporary_file()
    written = checked = 0
    zeros = bytes(_CHUNK)
    try:
        for chunk in _plain_chunks(file, outer, name):
            if limit is not None and written + len(chunk) > limit:
                raise TargetError(
                    f"{name}: holds more than {limit >> 20} MB when decompressed: not what it says"
                )
            # Dumps are full of zeros: leave holes for them.
            for start in range(0, len(chunk), _CHUNK):
                block = chunk[start : start + _CHUNK]
                if block != zeros[: len(block)]:
                    os.pwrite(plain.fileno(), block, written)
                written += len(block)
            if written - checked >= _CHECK_DISK_EVERY:
                checked = written
                check_disk()
            progress(f"decompressing {name}", file.tell(), total)
        plain.truncate(written)
    except OSError as error:
        plain.close()
        raise disk_error(name, error) from error
    except BaseException:
        plain.close()
        raise
    return plain


def _plain_chunks(file: BinaryIO, outer: Format, name: str) -> Iterator[bytes]:
    """The decompressed content, in pieces of bounded size."""
    file.seek(0)
    try:
        if outer is Format.ZSTD:
            yield from _zstd_chunks(file)
            return
        opener = gzip.open if outer is Format.GZIP else lzma.open
        with cast("BinaryIO", opener(file, "rb")) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise TargetError(f"{name}: damaged {outer.value} file: {error}") from error
    except EOFError as error:
        raise TargetError(f"{name}: truncated {outer.value} file; copy it again") from error
    except MemoryError as error:
        raise TargetError(f"{name}: decompressing it needs more memory than there is") from error


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Every frame in turn; zstandard's own reader takes a truncated file for a complete one."""
    context = zstandard.ZstdDecompressor()
    rest = file.read(_ZSTD_INPUT)
    while rest:
        frame = context.decompressobj()
        while not frame.eof:
            if not rest:
                raise EOFError
            if chunk := frame.decompress(rest):
                yield chunk
            rest = frame.unused_data if frame.eof else file.read(_ZSTD_INPUT)
        rest = rest or file.read(_ZSTD_INPUT)


def temporary_file() -> BinaryIO:
    """A nameless file in $TMPDIR, gone when it is closed."""
    try:
        return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))
    except OSError as error:
        raise TargetError(
            f"cannot make a temporary file in {tempfile.gettempdir()}: {error.strerror}"
        ) from error


def check_disk() -> None:
    """Raise ``ENOSPC`` before the disk of the temporary files is full for everybody else too."""
    if shutil.disk_usage(tempfile.gettempdir()).free < _SPARE_DISK:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_error(name: str, error: OSError) -> TargetError:
    """The error for a temporary file that could not be written, or an input that could not be read."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TargetError(
            f"{name}: no space to unpack it in {tempfile.gettempdir()}; set TMPDIR to a directory with more"
        )
    return TargetError(f"{name}: {error.strerror or error}")
