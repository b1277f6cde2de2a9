"""What a file is, by its content, and the plain bytes inside a compressed one.

Dumps travel compressed; drgn wants a file it can seek in. A compressed file is unpacked once, as a
stream, into an unlinked temporary file: nothing is left behind, and memory use does not depend on what is
inside. A file may hold nothing at all where it says that it is large: no hole of a file is read here.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from explorer.codec import is_trace
from explorer.compression import BZIP2, COMPRESSIONS, GZIP, LZ4, XZ, ZSTD, Damaged, plain_chunks, sniff_method
from explorer.files import CHARACTER_DEVICE, SOCKET, NotRegularError, open_regular
from explorer.targets.errors import TargetError
from explorer.targets.spec import Progress, no_progress

__all__ = (
    "COMPRESSED",
    "Format",
    "Unpacked",
    "Unpacking",
    "check_disk",
    "data_extents",
    "decompress",
    "disk_error",
    "file_errors",
    "hold_open",
    "open_file",
    "peek",
    "read_small_file",
    "sniff",
    "temporary_file",
)

#: Zeros become holes in pieces of this size.
_BLOCK = 1 << 16
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
    LIME = "LiME"
    ZSTD = ZSTD.name
    GZIP = GZIP.name
    XZ = XZ.name
    BZIP2 = BZIP2.name
    LZ4 = LZ4.name
    SNAPSHOT = "snapshot"
    RECORDING = "recording"
    TRACE = "trace of lookups"
    EMPTY = "empty"
    UNKNOWN = "unknown"


#: Those that say which physical memory is where in the file, and nothing of the kernel in it.
RANGED = frozenset({Format.LIME})
#: Files that hold memory, as they are.
DUMPS = frozenset({Format.ELF, Format.KDUMP, Format.FLATTENED}) | RANGED

_METHODS = {Format(method.name): method for method in COMPRESSIONS}
COMPRESSED = frozenset(_METHODS)


class _Bound(NamedTuple):
    """What a compressed file may hold: ``floor`` bytes however small it is, else ``ratio`` times its size."""

    floor: int
    ratio: int


#: The memory of an idle guest is zeros, and these compress by 32,768 (zstd), 7,000 (xz) or 1,000 (gzip): no ratio alone
#: tells a dump from a bomb. But a kernel that runs leaves some 10 MB or more that do not compress further (its text,
#: modules, files). So a small file may hold what takes some seconds: zstd writes 10 GB of zeros a second, the others
#: 0.5 GB. That is all of a guest of 32 GB, or of 4 GB with its devices' memory. A large file has a ratio: 200 GB for
#: 100 MB of zstd, 25 GB for 100 MB of the others. Who has a dump that compresses better can still unpack it by hand.
_BOUNDS = {
    Format.ZSTD: _Bound((32 << 30) + (64 << 20), 2048),
    Format.GZIP: _Bound((4 << 30) + (64 << 20), 256),
    Format.XZ: _Bound((4 << 30) + (64 << 20), 256),
    Format.BZIP2: _Bound((4 << 30) + (64 << 20), 256),
    Format.LZ4: _Bound((4 << 30) + (64 << 20), 256),
}
#: The same for what is not zeros and takes room on the disk, as does memory that is poisoned when it is freed.
_STORED = _Bound(1 << 30, 256)

_MAGICS = (
    (b"\x7fELF", Format.ELF),
    (b"\x89NXREC\r\n", Format.RECORDING),
    (b"KDUMP   ", Format.KDUMP),
    (b"DISKDUMP", Format.KDUMP),
    (b"makedumpfile\0\0\0\0", Format.FLATTENED),
    (b"EMiL", Format.LIME),
)


def sniff(head: bytes) -> Format:
    """What a file is that begins with ``head`` (its first 4096 bytes, or all of it)."""
    for magic, form in _MAGICS:
        if head.startswith(magic):
            return form
    method = sniff_method(head)
    if method is not None:
        return Format(method.name)
    if is_trace(head):
        return Format.TRACE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if text.startswith(b"{") and b'"schema_version"' in text[:_SNAPSHOT_HEAD]:
        return Format.SNAPSHOT
    return Format.UNKNOWN if head else Format.EMPTY


@contextlib.contextmanager
def file_errors(name: str) -> Iterator[None]:
    """Whatever keeps a user's file from being read, while it is read, is a :class:`TargetError` in words."""
    try:
        yield
    except OSError as error:
        raise disk_error(name, error) from error


_held: dict[Path, int] = {}


def hold_open(path: Path) -> None:
    """Open a file now, with rights that are given up before it is read: :func:`open_file` gives that, then.

    :raises TargetError: as :func:`open_file` does
    """
    with open_file(path) as file:
        _held[path] = os.dup(file.fileno())


def open_file(path: Path, option: str | None = None) -> BinaryIO:
    """Open a regular file, and never wait for it. Raises :class:`TargetError`, in words, for everything else.

    :param option: the option of the command line that names the file; ``None``: it is the target
    """
    name = str(path) if option is None else f"{option} {path}"
    if path in _held and option is None:
        fd = os.dup(_held[path])
        os.lseek(fd, 0, os.SEEK_SET)
        return os.fdopen(fd, "rb")
    try:
        fd = open_regular(path)
    except NotRegularError as error:
        hint = _HINTS.get(str(error), "").format(path) if option is None else ""
        raise TargetError(f"{name}: {error}{hint}") from error
    except OSError as error:
        raise TargetError(f"{name}: {_open_error(error, option is None)}") from error
    return os.fdopen(fd, "rb")


_HINTS = {
    CHARACTER_DEVICE: "; for the running kernel, say 'live'",
    SOCKET: "; for a QEMU guest, name its QMP socket as qemu:{}",
}


def _open_error(error: OSError, is_target: bool) -> str:
    if error.errno == errno.ENOENT and is_target:
        return (
            "no such file; targets are: live, sample, qemu:SOCKET, physmem:FILE, or a dump or snapshot file"
        )
    if error.errno == errno.EACCES:
        return "permission denied" + (" (crash dumps usually belong to root: try sudo)" if is_target else "")
    return error.strerror or str(error)


def read_small_file(path: Path, option: str, limit: int) -> bytes:
    """All of the regular file that ``option`` names.

    Raises :class:`TargetError` if it cannot be read, or has more than ``limit`` bytes.
    """
    with file_errors(f"{option} {path}"), open_file(path, option) as file:
        # None: a file of /proc or /sys that would have to be waited for.
        data = file.read(limit + 1) or b""
    if len(data) > limit:
        raise TargetError(f"{option} {path}: more than {limit} bytes, which is too long to be true")
    return data


def data_extents(fd: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    """(first, end) of what a file holds within a range: its holes are passed over. Moves the file's position."""
    while first < end:
        try:
            first = os.lseek(fd, first, os.SEEK_DATA)
            hole = min(os.lseek(fd, first, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno != errno.ENXIO:  # holes are not known there
                yield first, end
            return
        if first < hole:
            yield first, hole
        first = max(hole, first + 1)


def peek(file: BinaryIO, name: str) -> tuple[Format, Format, bytes]:
    """The format of a file, the format inside if it is compressed (else the same), the first plain bytes."""
    head = os.pread(file.fileno(), _SNAPSHOT_HEAD, 0)
    outer = sniff(head)
    if outer not in COMPRESSED:
        return outer, outer, head
    inner = b""
    cut: list[bool] = []
    for chunk in _plain_chunks(file, outer, name, lambda: cut.append(True)):
        inner += chunk[: _SNAPSHOT_HEAD - len(inner)]
        if len(inner) >= _SNAPSHOT_HEAD:
            break
    if cut and sniff(inner) not in DUMPS:
        raise TargetError(f"{name}: truncated {outer.value} file; copy it again")
    return outer, sniff(inner), inner


def decompress(
    file: BinaryIO,
    outer: Format,
    name: str,
    progress: Progress = no_progress,
    limit: int | None = None,
    *,
    cut: Callable[[], None] | None = None,
) -> BinaryIO:
    """The content of a compressed file, in an unlinked, sparse temporary file.

    :param cut: told if the file is cut off: the content up to there is given then

    Raises :class:`TargetError` if it is damaged or, without ``cut``, truncated, has more than ``limit`` bytes or more
    than a file of its size can in earnest, or does not fit on the disk.
    """
    unpacking = Unpacking(file, outer, name, progress, limit, cut)
    unpacking.reach(None)
    return unpacking.file


class Unpacking:
    """What :func:`decompress` gives, as far as somebody asks for it. What is raised closes the temporary file."""

    def __init__(
        self,
        file: BinaryIO,
        outer: Format,
        name: str,
        progress: Progress = no_progress,
        limit: int | None = None,
        cut: Callable[[], None] | None = None,
    ) -> None:
        self._packed, self._outer, self._name = file, outer, name
        self._progress, self._limit = progress, limit
        self._total = os.fstat(file.fileno()).st_size
        most = max(_BOUNDS[outer].floor, _BOUNDS[outer].ratio * self._total)
        self._unpacked = Unpacked(
            most if limit is None else min(limit, most), max(_STORED.floor, _STORED.ratio * self._total)
        )
        self._chunks = _plain_chunks(file, outer, name, cut)
        self.file = self._unpacked.file

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self._unpacked.size

    def reach(self, end: int | None) -> None:
        """Unpack on, until there are so many bytes; ``None``: all that there are."""
        name, total = self._name, self._total
        try:
            while end is None or self.size < end:
                chunk = next(self._chunks, None)
                if chunk is None:
                    self.file.truncate(self.size)
                    return
                if not self._unpacked.write(chunk):
                    raise TargetError(_too_much(name, self._outer, total, self._unpacked, self._limit))
                self._progress(f"decompressing {name}", self._packed.tell(), total)
        except OSError as error:
            self.file.close()
            raise disk_error(name, error) from error
        except BaseException:
            self.file.close()
            raise


def _too_much(name: str, outer: Format, total: int, unpacked: Unpacked, limit: int | None) -> str:
    if limit is not None and unpacked.most == limit:
        return f"{name}: holds more than {limit >> 20} MB when decompressed: not what it says"
    return (
        f"{name}: {total / 1e6:.1f} MB of {outer.value} with more than {unpacked.size / 1e9:.0f} GB in it: no kernel's "
        f"memory compresses so well; if you trust it, decompress it ({_METHODS[outer].tool}) and give the result"
    )


class Unpacked:
    """A temporary file that grows up to ``most`` bytes, ``most_stored`` of them not in holes."""

    def __init__(self, most: int, most_stored: int) -> None:
        self.file = temporary_file()
        self.most = most
        self.size = 0
        self._most_stored = most_stored
        self._stored = self._checked = 0
        self._zeros = bytes(_BLOCK)

    def write(self, chunk: bytes) -> bool:
        """Append; ``False`` if it is too much. Raises ``ENOSPC`` before the disk is full."""
        if self.size + len(chunk) > self.most:
            return False
        for start in range(0, len(chunk), _BLOCK):
            block = chunk[start : start + _BLOCK]
            # Dumps are full of zeros: leave holes for them.
            if block != (self._zeros if len(block) == _BLOCK else self._zeros[: len(block)]):
                os.pwrite(self.file.fileno(), block, self.size + start)
                self._stored += len(block)
        self.size += len(chunk)
        if self._stored - self._checked >= _CHECK_DISK_EVERY:
            self._checked = self._stored
            check_disk()
        return self._stored <= self._most_stored


def _plain_chunks(
    file: BinaryIO, outer: Format, name: str, cut: Callable[[], None] | None = None
) -> Iterator[bytes]:
    """The decompressed content, in pieces of bounded size."""
    try:
        yield from plain_chunks(file, _METHODS[outer])
    except Damaged as error:
        raise TargetError(f"{name}: damaged {outer.value} file: {error}") from error
    except EOFError as error:
        if cut is None:
            raise TargetError(f"{name}: truncated {outer.value} file; copy it again") from error
        cut()
    except MemoryError as error:
        raise TargetError(
            f"{name}: takes too much memory to decompress here; do that first ({_METHODS[outer].tool}), and give that"
        ) from error


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
