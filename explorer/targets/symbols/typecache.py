"""Keep a kernel's types and symbols between runs: one file per BUILD-ID under ``$XDG_CACHE_HOME/nullfs-explorer``.

A file holds named sections of bytes behind a header with version, BUILD-ID, lengths and a checksum. What is not ours,
not whole or not of this version is treated as absent, and a cache that cannot be written is no error: both come back
as a note.
The program may run as root in a user's environment, so files are opened below a directory that must be our own,
never through a symbolic link.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from explorer.caller import known_path
from explorer.places import NewFile, Place

__all__ = ("cache_directory", "load", "make_directory", "store")

_MAGIC = b"NXTYPES\0"
_VERSION = 3
#: Magic, version, number of sections, length of the file, checksum of everything behind the header.
_HEADER = struct.Struct("<8sIIQI4x")
#: Name, offset and length of a section; a name of at most 16 bytes.
_SECTION = struct.Struct("<16sQQ")
_BUILD_ID = struct.Struct("<64s")
_SUFFIX = ".nxcache"
#: Of this version and of earlier ones.
_UNFINISHED = (".part", ".tmp")
_MAX_FILE = 256 << 20
_MAX_SECTIONS = 64
_KEEP_FILES = 16
_KEEP_BYTES = 512 << 20
_STALE_S = 3600.0


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/nullfs-explorer``, by default below ``~/.cache``.

    :raises OSError: if there is no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base, "nullfs-explorer")
    try:
        return Path.home() / ".cache" / "nullfs-explorer"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def make_directory() -> Path | None:
    """The same, which is there by now; ``None`` where it cannot be had: :func:`store` will say why."""
    with suppress(OSError, ValueError), _directory(create=True):
        return cache_directory()
    return None


def _file_name(build_id: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16,64}", build_id):
        raise ValueError("not a BUILD-ID")
    return build_id + _SUFFIX


@contextmanager
def _directory(*, create: bool) -> Iterator[int]:
    """A descriptor of the cache directory, which must be ours and writable by nobody else."""
    path = cache_directory()
    if create:
        known_path(path, _base(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        known_path(path, _base(path))
        _check_owner(os.fstat(fd), str(path))
        yield fd
    finally:
        os.close(fd)


def _base(path: Path) -> Path:
    """Where judging begins: nothing is made in somebody else's home. Under sudo, HOME may still be the caller's."""
    home = os.environ.get("HOME", "")
    return Path(home) if home.startswith("/") and path.is_relative_to(home) else path.parent


def _check_owner(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid():
        raise ValueError(f"{name} belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(f"{name} is writable by others")


def load(build_id: str) -> tuple[dict[str, memoryview] | None, str | None]:
    """The sections cached for a kernel, and a note where a file was there but could not be used."""
    try:
        name = _file_name(build_id)
        with _directory(create=False) as directory:
            data = _read(directory, name)
            sections = _decode(data, build_id)
            with suppress(OSError):
                os.utime(name, dir_fd=directory, follow_symlinks=False)  # the least recently used goes first
        return sections, None
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        return None, f"type cache ignored: {error}"


def _read(directory: int, name: str) -> mmap.mmap:
    """All of it, mapped: nobody writes into a file of that name, and a copy takes twice as long as the check."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is not a regular file")
        _check_owner(status, name)
        if status.st_size > _MAX_FILE:
            raise ValueError(f"{name} is too large")
        if not status.st_size:
            raise ValueError("it is cut short")
        return mmap.mmap(fd, status.st_size, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


def _decode(data: bytes | mmap.mmap, build_id: str) -> dict[str, memoryview]:
    view = memoryview(data)
    table = _HEADER.size + _BUILD_ID.size
    if len(data) < table:
        raise ValueError("it is cut short")
    magic, version, count, length, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("it has another version")
    if length != len(data) or count > _MAX_SECTIONS or table + count * _SECTION.size > length:
        raise ValueError("it is cut short")
    if zlib.crc32(view[_HEADER.size :]) != checksum:
        raise ValueError("its checksum is wrong")
    if data[_HEADER.size : table].rstrip(b"\0") != build_id.encode():
        raise ValueError("it belongs to another kernel")
    sections = {}
    for at in range(count):
        name, offset, size = _SECTION.unpack_from(data, table + at * _SECTION.size)
        if offset + size > length:
            raise ValueError("a section runs past its end")
        sections[name.rstrip(b"\0").decode("ascii", "replace")] = view[offset : offset + size]
    return sections


def _encode(build_id: str, sections: Mapping[str, bytes | memoryview]) -> bytes:
    start = _HEADER.size + _BUILD_ID.size + _SECTION.size * len(sections)
    table, bodies = bytearray(_BUILD_ID.pack(build_id.encode())), bytearray()
    for name, body in sections.items():
        table += _SECTION.pack(name.encode("ascii"), start + len(bodies), len(body))
        bodies += body
        bodies += bytes(-len(bodies) % 8)
    rest = bytes(table + bodies)
    length = _HEADER.size + len(rest)
    return _HEADER.pack(_MAGIC, _VERSION, len(sections), length, zlib.crc32(rest)) + rest


def store(build_id: str, sections: Mapping[str, bytes | memoryview]) -> str | None:
    """Write a kernel's sections; a note if that was not possible."""
    try:
        name = _file_name(build_id)
        data = _encode(build_id, sections)
        with _directory(create=True) as directory:
            _write(directory, name, data)
            _prune(directory)
        return None
    except (OSError, ValueError) as error:
        return f"type cache not written: {error}"


def _write(directory: int, name: str, data: bytes) -> None:
    """A reader sees a whole file or none."""
    new = NewFile(Place(Path(name), directory, name, None))
    try:
        with open(new.fd, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
            file.flush()
            new.publish()
    finally:
        new.discard()


def _prune(directory: int) -> None:
    """Keep the most recently used kernels, within bounds of number and size; drop what a killed writer left."""
    kept_files = kept_bytes = 0
    entries = []
    with os.scandir(directory) as found:
        for entry in found:
            if entry.name.endswith((_SUFFIX, *_UNFINISHED)):
                entries.append((entry.stat(follow_symlinks=False), entry.name))
    now = time.time()
    for status, name in sorted(entries, key=lambda entry: -entry[0].st_mtime):
        if name.endswith(_UNFINISHED):
            remove = now - status.st_mtime > _STALE_S
        else:
            kept_files, kept_bytes = kept_files + 1, kept_bytes + status.st_size
            remove = kept_files > _KEEP_FILES or kept_bytes > _KEEP_BYTES
        if remove:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
