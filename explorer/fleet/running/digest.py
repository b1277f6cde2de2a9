"""The key of a target: what makes it, so that it is the same wherever it lies.

Of a file of up to 64 MiB it is a digest (BLAKE2b, 128 bits) of size and content; of a larger one, of its size, its
first and last MiB, and 64 pieces of 256 KiB between them at equal distances: two dumps that differ in none of these
18 MiB are taken for one. What has no content (an empty file, one that may not be read or is not there) has a key by
its path. Of a recording the moment that was asked for is part of the key.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

__all__ = ("content_key", "path_key")

_WHOLE = 64 << 20
_END = 1 << 20
_PIECES, _PIECE = 64, 256 << 10
_READ = 1 << 20
_BYTES = 16


def content_key(file: BinaryIO, moment: str | None = None) -> tuple[str, int]:
    """The key of an open file, and its size. An empty one has none: ``""``. :raises OSError: if it cannot be read"""
    fd = file.fileno()
    size = os.fstat(fd).st_size
    if not size:
        return "", 0
    found = hashlib.blake2b(
        f"{size}\0{moment or ''}\0".encode("utf-8", "surrogateescape"), digest_size=_BYTES
    )
    for start, length in _places(size):
        for at in range(start, start + length, _READ):
            found.update(os.pread(fd, min(_READ, start + length - at), at))
    return found.hexdigest(), size


def path_key(path: str) -> str:
    """The key of what has no content."""
    whole = os.fsencode(os.path.abspath(path))  # noqa: PTH100  # one that is not there has none that is resolved
    return hashlib.blake2b(whole, digest_size=_BYTES, person=b"path").hexdigest()


def _places(size: int) -> list[tuple[int, int]]:
    """(offset, length) of what is read of a file."""
    if size <= _WHOLE:
        return [(0, size)]
    step = (size - 2 * _END) // _PIECES
    pieces = [(_END + number * step, _PIECE) for number in range(_PIECES)]
    return [(0, _END), *pieces, (size - _END, _END)]
