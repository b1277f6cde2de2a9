"""Every ``struct fs_struct`` once; on a live kernel under its own sequence count.

Mirrors fs/fs_struct.c: writers hold ``fs->seq``; a reader that sees the same even count before and after has
seen one state.
"""

from __future__ import annotations

from typing import NamedTuple

from .layout import Layout
from .reader import MemoryReader, ReadError

__all__ = ("FsReader", "RawFs")

_LIVE_ATTEMPTS = 16
_MAX_USERS = 1 << 23  # twice PID_MAX_LIMIT


class RawFs(NamedTuple):
    """The members of an ``fs_struct``; ``root_mnt`` and ``pwd_mnt`` are ``struct vfsmount *``."""

    address: int
    users: int
    seq: int
    umask: int
    in_exec: int
    root_mnt: int
    root_dentry: int
    pwd_mnt: int
    pwd_dentry: int
    unstable: bool


class FsReader:
    """Reads fs_structs. :param live: the kernel runs: read until two reads in a row agree"""

    def __init__(self, reader: MemoryReader, layout: Layout, live: bool) -> None:
        self._reader = reader
        self._decoder = layout.fs_struct
        self._live = live

    def read_fs(self, address: int) -> RawFs:
        """One fs_struct. :raises ReadError: if it cannot be read"""
        where, span = address + self._decoder.base, self._decoder.span
        data = self._reader.read(where, span)
        unstable = False
        if self._live:
            data, unstable = self._settle(where, span, data)
        fs = RawFs._make((address, *self._decoder.decode(data), unstable))
        if not 0 <= fs.users <= _MAX_USERS or not 0 <= fs.umask <= 0o7777:
            # Freed, and the slab memory reused; or a pointer that never was one.
            raise ReadError(f"users is {fs.users} and umask {fs.umask:#o}: no fs_struct")
        return fs

    def _settle(self, where: int, span: int, data: bytes) -> tuple[bytes, bool]:
        """Read again until no writer was at work in between; the reference count may move freely."""
        for _ in range(_LIVE_ATTEMPTS):
            again = self._reader.read(where, span)
            before, after = self._decoder.decode(data)[1:], self._decoder.decode(again)[1:]
            data = again
            if before == after and not after[0] & 1:
                return data, False
        return data, True
