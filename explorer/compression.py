"""The compressions that are read and written, whatever is inside: one table of them, one bounded loop to read any.

The readers of the standard library are not used here: gzip's walks the zeros behind the data byte by byte, and those
of gzip and zstd begin a new stream for every few bytes if a file says so.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple

import zstandard

__all__ = (
    "BZIP2",
    "COMPRESSIONS",
    "GZIP",
    "LZ4",
    "XZ",
    "ZSTD",
    "Damaged",
    "Method",
    "method_of_name",
    "plain_chunks",
    "sniff_method",
)

#: Level 6 takes four times as long for a fifth less.
_ZSTD_LEVEL = 3
_ZSTD_THREADS = 1  # beside the one that makes what is compressed
#: What that one does at once. Eight times as much, its own choice, is most of a snapshot: left for the end.
_ZSTD_JOB = 1 << 20
_XZ_PRESET = 2  # higher ones take minutes for a dump and save a tenth
#: What gzip and xz put out at once.
_PIECE = 1 << 20
#: What gzip and xz are given at once.
_INPUT = 1 << 16
#: zstd puts out all that its input holds, at most 32 KiB for each byte: it gets less where that is much.
_ZSTD_LEAST, _ZSTD_MOST = 64, 4096
#: Frames (members, streams) that may hold less than 4 KiB each: with pzstd and the like each has a megabyte or more.
_FRAMES = 1 << 16
_FRAME_SIZE = 4096
#: xz -9 needs 65 MB to decompress.
_XZ_MEMORY = 512 << 20
#: In what zstd (a window of more than 128 MB: ``--long=28`` and above) and xz say.
_NO_MEMORY = ("too much memory", "not enough memory", "Memory usage limit")
_SKIPPABLE = b"\x2a\x4d\x18"
_SKIPPABLE_HEAD = 8


class Damaged(Exception):
    """What is wrong, in words; :class:`EOFError` is raised for what is cut short."""


class Method(NamedTuple):
    """One compression: how a file says that it is in it, how it is read, and how it is written."""

    name: str
    suffix: str
    """Of files that are in it, with its dot."""
    magics: tuple[bytes, ...]
    tool: str
    """What decompresses it by hand."""
    new: Callable[[], Any]
    pieces: Callable[[Any, bytes], Iterator[bytes]]
    writer: Callable[[BinaryIO], AbstractContextManager[Any]]
    """A stream that writes to the file what is written to it; closing it leaves the file open."""
    padded: bool = False
    """Zeros may follow the data, as on a tape."""


class _Source:
    """A file that gives back what was not wanted of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()
        self._size = os.fstat(self._fd).st_size
        self._rest = b""
        self._at = 0
        self.step = _INPUT

    def take(self) -> bytes:
        data = self._rest or self._read(self.step)
        self._rest = b""
        return data

    def _read(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self._at)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at - len(self._rest)

    def give_back(self, data: bytes) -> None:
        self._rest = data

    def ends(self) -> bool:
        """Whether nothing more follows."""
        self._rest = self._rest or self._read(self.step)
        return not self._rest

    def skip_zeros(self) -> None:
        """Over zeros, and over the file's holes without reading them."""
        self._rest = self._rest.lstrip(b"\0")
        while not self._rest:
            try:
                self._at = os.lseek(self._fd, self._at, os.SEEK_DATA)
            except OSError:  # no data follows, or holes are not known here: then it is read
                if self._is_hole():
                    self._at = self._size
            data = self._read(_PIECE)
            if not data:
                return
            self._rest = data.lstrip(b"\0")

    def _is_hole(self) -> bool:
        try:
            return os.lseek(self._fd, self._at, os.SEEK_HOLE) == self._at
        except OSError:
            return False

    def skip_frame(self) -> bool:
        """Over a skippable frame of zstd, if one is next; without reading it.

        :raises EOFError: if it reaches beyond the end of the file
        """
        if len(self._rest) < _SKIPPABLE_HEAD:
            self._rest += self._read(_SKIPPABLE_HEAD)
        head = self._rest
        if len(head) < _SKIPPABLE_HEAD or head[1:4] != _SKIPPABLE or head[0] & 0xF0 != 0x50:
            return False
        end = self._at - len(head) + _SKIPPABLE_HEAD + int.from_bytes(head[4:8], "little")
        if end > self._size:
            raise EOFError
        self._at, self._rest = end, b""
        return True


def _zlib_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    while True:
        piece = decoder.decompress(data, _PIECE)
        yield piece
        data = decoder.unconsumed_tail
        if decoder.eof or (not data and len(piece) < _PIECE):
            return


def _pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    """Of xz, bzip2 and lz4, whose decoders keep what they were not asked for yet."""
    yield decoder.decompress(data, _PIECE)
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", _PIECE)


def _zstd_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data)


def _zstd_writer(file: BinaryIO) -> AbstractContextManager[Any]:
    how = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL, threads=_ZSTD_THREADS, job_size=_ZSTD_JOB
    )
    packer = zstandard.ZstdCompressor(compression_params=how)
    return packer.stream_writer(file, closefd=False)


def _lz4_decoder() -> Any:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


def _lz4_writer(file: BinaryIO) -> AbstractContextManager[Any]:
    import lz4.frame

    writer: AbstractContextManager[Any] = lz4.frame.LZ4FrameFile(file, "wb", block_linked=True)
    return writer


ZSTD = Method(
    "zstd",
    ".zst",
    (b"\x28\xb5\x2f\xfd",),
    "zstd -d",
    lambda: zstandard.ZstdDecompressor().decompressobj(),
    _zstd_pieces,
    _zstd_writer,
)
GZIP = Method(
    "gzip",
    ".gz",
    (b"\x1f\x8b\x08",),
    "gzip -d",
    lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    _zlib_pieces,
    lambda file: gzip.GzipFile("", "wb", fileobj=file, mtime=0),
    padded=True,
)
XZ = Method(
    "xz",
    ".xz",
    (b"\xfd7zXZ\0",),
    "xz -d",
    lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY),
    _pieces,
    lambda file: lzma.LZMAFile(file, "wb", preset=_XZ_PRESET),  # noqa: SIM115  # whoever asked for it closes it
    padded=True,
)
BZIP2 = Method(
    "bzip2",
    ".bz2",
    tuple(b"BZh%d" % level + mark for level in range(1, 10) for mark in (b"1AY&SY", b"\x17rE8P\x90")),
    "bzip2 -d",
    bz2.BZ2Decompressor,
    _pieces,
    lambda file: bz2.BZ2File(file, "wb"),
)
LZ4 = Method("lz4", ".lz4", (b"\x04\x22\x4d\x18",), "lz4 -d", _lz4_decoder, _pieces, _lz4_writer)

COMPRESSIONS = (ZSTD, GZIP, XZ, BZIP2, LZ4)


def sniff_method(head: bytes) -> Method | None:
    """The compression of a file that begins with ``head``; ``None`` if it has none that is known here."""
    for method in COMPRESSIONS:
        if head.startswith(method.magics):
            return method
    if head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50:
        return ZSTD  # a skippable frame, as zstd --adapt and pzstd write in front
    return None


def method_of_name(name: str) -> Method | None:
    """The compression that a file's name asks for, by its suffix."""
    return next((method for method in COMPRESSIONS if name.endswith(method.suffix)), None)


def plain_chunks(file: BinaryIO, method: Method) -> Iterator[bytes]:
    """The decompressed content, in pieces of at most 128 MiB (zstd) or 1 MiB.

    :raises Damaged: if it is
    :raises EOFError: if it ends within a frame
    :raises MemoryError: if it needs more than 512 MB to be decompressed (zstd: 128 MB)
    """
    source = _Source(file)
    if method is ZSTD:
        source.step = _ZSTD_LEAST
    frames = written = 0
    try:
        while not source.ends():
            frames += 1
            if frames > _FRAMES + written // _FRAME_SIZE:
                raise Damaged(f"{frames} frames with next to nothing in them")
            if method is ZSTD and source.skip_frame():
                continue
            for chunk in _frame(source, method):
                written += len(chunk)
                file.seek(source.tell())  # for whoever shows progress
                yield chunk
            if method.padded:
                source.skip_zeros()
    except (zstandard.ZstdError, zlib.error, lzma.LZMAError, _DecoderError) as error:
        if any(word in str(error) for word in _NO_MEMORY):
            raise MemoryError(str(error)) from error
        raise Damaged(str(error)) from error


def _frame(source: _Source, method: Method) -> Iterator[bytes]:
    """One frame of zstd, member of gzip, or stream of xz."""
    decoder = method.new()
    while not decoder.eof:
        data = source.take()
        if not data:
            raise EOFError
        size = 0
        for piece in _decoded(method, decoder, data):
            size += len(piece)
            if piece:
                yield piece
        if method is ZSTD:
            source.step = _zstd_step(source.step, size)
    source.give_back(decoder.unused_data or b"")


class _DecoderError(Exception):
    """What a decoder says that has no exception of its own."""


def _decoded(method: Method, decoder: Any, data: bytes) -> Iterator[bytes]:
    try:
        yield from method.pieces(decoder, data)
    except (OSError, RuntimeError) as error:
        # The one raises OSError, the other RuntimeError for whatever is wrong with the data.
        if method in (BZIP2, LZ4):
            raise _DecoderError(str(error)) from error
        raise


def _zstd_step(step: int, written: int) -> int:
    """How much input next: about a megabyte of output is what is handled fastest."""
    if written > 2 * _PIECE:
        return max(_ZSTD_LEAST, step // 2)
    return min(_ZSTD_MOST, step * 2) if written < _PIECE // 2 else step
