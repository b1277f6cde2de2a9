"""Every ``struct fs_struct`` once; on a live kernel under its own sequence count.

Mirrors fs/fs_struct.c: writers hold ``fs->seq``; a reader that sees the same even count before and after has
seen one state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from explorer.capture.memory import PAGE, Memory, RawFs, ReadError, new_raw_fs

__all__ = ("FsReader",)

_LIVE_ATTEMPTS = 16
_MAX_USERS = 1 << 23  # twice PID_MAX_LIMIT
_USERS, _UMASK = RawFs._fields.index("users"), RawFs._fields.index("umask")
_SEQ = 2  # of a RawFs: from there on, a writer is counted


def _checked(fs: RawFs) -> RawFs:
    users, umask = fs.users, fs.umask
    if not (users is None or 0 <= users <= _MAX_USERS) or not (umask is None or 0 <= umask <= 0o7777):
        # Freed, and the slab memory reused; or a pointer that never was one.
        raise ReadError(f"users is {users} and umask {umask or 0:#o}: no fs_struct")
    return fs


class FsReader:
    """Reads fs_structs. Of a kernel that runs, until two reads in a row agree."""

    def __init__(self, memory: Memory) -> None:
        self._reader = memory.reader
        self._decoder = memory.layout.fs_struct
        self._read_fs = memory.reader.record_reader(self._decoder, new_raw_fs, tail=(False,))
        self._live = memory.live

    def read_fs(self, address: int) -> RawFs:
        """One fs_struct. :raises ReadError: if it cannot be read"""
        return _checked(self._read_settled(address) if self._live else self._read_fs(address))

    def read_many(
        self, addresses: Iterable[int], missing: Callable[[int, ReadError], None]
    ) -> dict[int, RawFs | None]:
        """Many of them, with one read for those in one page of the direct map, where nothing moves meanwhile.

        :param addresses: in ascending order
        :param missing: told of each that cannot be read, and why; it is ``None`` in the result
        """
        found: dict[int, RawFs | None] = {}
        reader, live = self._reader, self._live
        base, behind = self._decoder.base, PAGE - self._decoder.span
        unpack, arrange = self._decoder.parts((False,))
        page_at, page = -1, None
        for address in addresses:
            offset = (address + base) % PAGE
            if address + base - offset != page_at:
                page_at = address + base - offset
                page = None if live else reader.direct_page(page_at)
            try:
                if page is not None and offset <= behind:
                    values = arrange(unpack(page, offset), address)
                    found[address] = fs = new_raw_fs(values)
                    if not 0 <= values[_USERS] <= _MAX_USERS or not 0 <= values[_UMASK] <= 0o7777:
                        _checked(fs)
                else:
                    found[address] = self.read_fs(address)
            except ReadError as error:
                found[address] = self._recover(address, error)
                missing(address, error)
        return found

    def _recover(self, address: int, error: ReadError) -> RawFs | None:
        """What is there of one that could not be read at once."""
        try:
            values, unread = self._reader.recover_members(self._decoder, address, error)
            return _checked(new_raw_fs((address, *values, False))) if unread else None
        except ReadError:
            return None

    def _read_settled(self, address: int) -> RawFs:
        """Read again until no writer was at work in between; the reference count may move freely."""
        fs = self._read_fs(address)
        for _ in range(_LIVE_ATTEMPTS):
            before, fs = fs, self._read_fs(address)
            if before[_SEQ:] == fs[_SEQ:] and fs.seq is not None and not fs.seq & 1:
                return fs
        return fs._replace(unstable=True)
