"""Compressed files as a stream of plain pieces: zstd, gzip and xz by one loop, bounded whatever is inside.

The readers of the standard library are not used here: gzip's walks the zeros behind the data byte by byte, and those
of gzip and zstd begin a new stream for every few bytes if a file says so.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import zstandard

__all__ = ("GZIP", "XZ", "ZSTD", "Damaged", "Method", "plain_chunks")

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
_NO_MEMORY = ("too much memory", "Memory usage limit")
_SKIPPABLE = b"\x2a\x4d\x18"
_SKIPPABLE_HEAD = 8


class Damaged(Exception):
    """What is wrong, in words; :class:`EOFError` is raised for what is cut short."""


@dataclass(frozen=True, slots=True)
class Method:
    """How one format is decompressed."""

    new: Callable[[], Any]
    pieces: Callable[[Any, bytes], Iterator[bytes]]
    padded: bool
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


def _xz_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data, _PIECE)
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", _PIECE)


def _zstd_pieces(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data)


ZSTD = Method(lambda: zstandard.ZstdDecompressor().decompressobj(), _zstd_pieces, padded=False)
GZIP = Method(lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), _zlib_pieces, padded=True)
XZ = Method(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), _xz_pieces, padded=True)


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
    except (zstandard.ZstdError, zlib.error, lzma.LZMAError) as error:
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
        for piece in method.pieces(decoder, data):
            size += len(piece)
            if piece:
                yield piece
        if method is ZSTD:
            source.step = _zstd_step(source.step, size)
    source.give_back(decoder.unused_data)


def _zstd_step(step: int, written: int) -> int:
    """How much input next: about a megabyte of output is what is handled fastest."""
    if written > 2 * _PIECE:
        return max(_ZSTD_LEAST, step // 2)
    return min(_ZSTD_MOST, step * 2) if written < _PIECE // 2 else step
