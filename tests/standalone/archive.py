"""The archive that ``launcher.c`` unpacks: what is in a directory, in the same bytes whoever packs it, and when."""

from __future__ import annotations

import io
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import zstandard

__all__ = ("pack_tree", "unpack_tree")

#: ``struct header`` of ``launcher.c``: mode, length of the name, size.
_HEADER = struct.Struct("<IIQ")
_LEVEL = 9


def pack_tree(root: Path) -> bytes:
    """Files and directories below ``root``, sorted; of a file's mode only whether it can be run. Links are followed."""
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    packed = [packer.compress(piece) for piece in _pieces(root)]
    return b"".join([*packed, packer.flush()])


def _pieces(root: Path) -> Iterator[bytes]:
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root)).encode()
        if path.is_dir():
            yield _HEADER.pack(stat.S_IFDIR | 0o755, len(name), 0) + name
            continue
        content = path.read_bytes()
        mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
        yield _HEADER.pack(stat.S_IFREG | mode, len(name), len(content)) + name
        yield content
    yield _HEADER.pack(0, 0, 0)


def unpack_tree(packed: bytes, root: Path) -> None:
    """What ``launcher.c`` does, for whoever looks into the one file."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True) as stream:
        while (header := _HEADER.unpack(stream.read(_HEADER.size)))[1]:
            mode, length, size = header
            path = root / stream.read(length).decode()
            if stat.S_ISDIR(mode):
                path.mkdir()
            else:
                path.write_bytes(stream.read(size))
                path.chmod(stat.S_IMODE(mode))
