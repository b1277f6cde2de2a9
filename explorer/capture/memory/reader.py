"""Reads kernel memory: counted, with every pointer tested for plausibility, and every fault recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice, repeat
from operator import floordiv
from typing import Any, TypeVar

import drgn

from explorer.model import CaptureError
from explorer.targets import HIGHEST_KERNEL_ADDRESS, LOWEST_KERNEL_ADDRESS, is_kernel_pointer

from .decode import Decoder

__all__ = ("PAGE", "ErrorLog", "LieApart", "MemoryReader", "ReadError", "is_kernel_pointer")

PAGE = 4096
_ADDRESS = (1 << 64) - 1
_FIRST_PIECE = 64  # most names are shorter


_T = TypeVar("_T")


class ReadError(Exception):
    """A value could not be read from kernel memory; the message says where and why."""


class LieApart:
    """Whether so many objects can lie at their addresses without lying in one another.

    A page of a dump made for it can hold hundreds of them. Two that begin in one stretch as long as an object
    overlap; those on both sides of its end are let pass. To be asked when their number has doubled, no oftener.

    :param size: of an object, in bytes
    """

    __slots__ = ("_asked", "_size", "_stretches")

    def __init__(self, size: int) -> None:
        self._size = size
        self._stretches: set[int] = set()
        self._asked = 0

    def holds(self, addresses: Collection[int]) -> bool:
        """Of these, which are those that it was asked of before, with more behind them."""
        self._stretches.update(map(floordiv, islice(addresses, self._asked, None), repeat(self._size)))
        self._asked = len(addresses)
        return len(self._stretches) == len(addresses)


class MemoryReader:
    """Virtual memory of one kernel, through drgn.

    ``reads`` and ``bytes_read`` count what it cost: the price of a capture is its reads.
    """

    __slots__ = ("_c_string", "_direct_end", "_direct_start", "_exact", "_read", "bytes_read", "reads")

    def __init__(self, prog: drgn.Program) -> None:
        self._read = prog.read
        self._c_string = prog.read_c_string
        self.reads = 0
        self.bytes_read = 0
        self._direct_start = self._direct_end = 0
        self._exact = False

    def read_strings_exactly(self) -> None:
        """Touch nothing behind the end of a string: for a slice, in which what was touched is kept."""
        self._exact = True

    def use_direct_map(self, start: int, end: int) -> None:
        """Let addresses from ``start`` up to ``end`` be read as physical memory from address 0 on.

        The kernel's direct map is that by definition (``__pa()``). It saves the walk through the page tables,
        which is most of the price of a short read; what fails is read again by way of them.
        """
        self._direct_start, self._direct_end = start, end

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at ``address``.

        :raises ReadError: for a pointer that cannot be one, and for memory that is not there
        """
        if not LOWEST_KERNEL_ADDRESS <= address < HIGHEST_KERNEL_ADDRESS:
            raise ReadError(f"0x{address & _ADDRESS:x} is no kernel pointer")
        self.reads += 1
        self.bytes_read += size
        if self._direct_start <= address < self._direct_end:
            try:
                direct: bytes = self._read(address - self._direct_start, size, True)
                return direct
            except drgn.FaultError:
                pass  # read below, which says what is wrong
        try:
            data: bytes = self._read(address, size)
        except drgn.FaultError as fault:
            raise ReadError(f"{size} bytes at 0x{address:x}: {fault}") from fault
        return data

    def decode(self, decoder: Decoder, address: int) -> tuple[Any, ...]:
        """The members of one structure, with one read. :raises ReadError: if it cannot be read at once"""
        return decoder.decode(self.read(address + decoder.base, decoder.span))

    def recover_members(
        self, decoder: Decoder, address: int, error: ReadError
    ) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """What is there of a structure that could not be read at once: a dump can lack a page in the middle of it.

        :param error: why it could not be read
        :return: as :meth:`Decoder.recover` has it
        :raises ReadError: ``error``, if nothing of it is there
        """

        def read(at: int, size: int) -> bytes | None:
            try:
                return self.read(at, size)
            except ReadError:
                return None

        values, unread = decoder.recover(read, address)
        if all(value is None for value in values):
            raise error
        return values, unread

    def read_members(
        self, decoder: Decoder, address: int
    ) -> tuple[tuple[Any, ...], tuple[int, ...], str | None]:
        """A structure, whole if it can be read, else what is there of it.

        :return: the values, the indices of those that are not there, and why they are not
        :raises ReadError: if nothing of it is there
        """
        try:
            return self.decode(decoder, address), (), None
        except ReadError as error:
            return *self.recover_members(decoder, address, error), str(error)

    def record_reader(
        self, decoder: Decoder, record: Callable[[tuple[Any, ...]], _T], tail: tuple[Any, ...] = ()
    ) -> Callable[[int], _T]:
        """A function that reads and decodes one structure by address, a hundred thousand of them.

        It raises :class:`ReadError` as :meth:`read` does; what it reads is not counted (:meth:`count`).

        :param record: makes a named tuple of (address, the decoder's values..., ``tail``...)
        """
        read, slowly, base, span = self._read, self.read, decoder.base, decoder.span
        first, last = self._direct_start - base, self._direct_end - base
        unpack, arrange = decoder.parts(tail)

        def read_record(address: int) -> _T:
            if first <= address < last:
                try:
                    data = read(address - first, span, True)
                except drgn.FaultError:
                    data = slowly(address + base, span)  # which says what is wrong
            else:
                data = slowly(address + base, span)
            return record(arrange(unpack(data), address))

        return read_record

    def count(self, reads: int, size: int) -> None:
        """So many reads of ``size`` bytes were made in bulk."""
        self.reads += reads
        self.bytes_read += reads * size

    def direct_page(self, address: int) -> bytes | None:
        """The page at a page's address; ``None`` outside the direct map, and for one that is not there whole."""
        if not self._direct_start <= address < self._direct_end:
            return None
        try:
            page: bytes = self._read(address - self._direct_start, PAGE, True)
        except drgn.FaultError:
            return None
        self.reads += 1
        self.bytes_read += PAGE
        return page

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_c_string(self, address: int, max_size: int) -> bytes:
        """The bytes before the first NUL, at most ``max_size`` of them.

        Read in pieces that end where a page does: no page is touched that the string does not reach.
        """
        if not is_kernel_pointer(address):
            raise ReadError(f"0x{address & _ADDRESS:x} is no kernel pointer")
        if self._exact:
            return self._read_c_string(address, max_size)
        text, size = b"", _FIRST_PIECE
        try:
            while len(text) < max_size:
                at = address + len(text)
                piece = self.read(at, min(size, PAGE - at % PAGE, max_size - len(text)))
                before, nul, _ = piece.partition(b"\0")
                text += before
                if nul:
                    return text
                size = PAGE
        except ReadError:
            return self._read_c_string(address, max_size)
        return text

    def _read_c_string(self, address: int, max_size: int) -> bytes:
        """Byte by byte: where memory ends within a page, too."""
        self.reads += 1
        try:
            text: bytes = self._c_string(address, max_size=max_size)
        except drgn.FaultError as fault:
            raise ReadError(f"a string at 0x{address:x}: {fault}") from fault
        self.bytes_read += len(text)
        return text


class _Guard:
    """No generator: since CPython 3.12 the frame of one that an error goes through is in a circle with that error."""

    __slots__ = ("_counted", "_log", "_what", "_where")

    def __init__(self, log: ErrorLog, where: str, what: str, counted: bool) -> None:
        """:param counted: it is no entry"""
        self._log, self._where, self._what, self._counted = log, where, what, counted

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ReadError):
            return False
        if self._counted:
            self._log.not_in_slice += 1
        else:
            self._log.add(self._where, self._what, str(error))
        return True


class ErrorLog:
    """What could not be read: the snapshot's ``errors``.

    Bounded: a dump can be damaged in more places than anyone wants to read of.
    """

    LIMIT = 10_000

    def __init__(self, is_slice: bool = False) -> None:
        """:param is_slice: the memory is what a capture read once, perhaps by an earlier version"""
        self.entries: list[CaptureError] = []
        self.dropped = 0
        self.not_in_slice = 0
        """Values that a slice has not, since nobody read them when it was made."""
        self.is_slice = is_slice

    @property
    def count(self) -> int:
        """How many values are missing so far."""
        return len(self.entries) + self.dropped

    def add(self, where: str, what: str, why: str) -> None:
        """Record one missing value.

        :param where: the object, such as ``task 12 (0xffff…)``
        :param what: the field that is missing
        :param why: the reason, in words
        """
        if len(self.entries) < self.LIMIT:
            self.entries.append(CaptureError(where=where, what=what, why=why))
        else:
            self.dropped += 1

    def guard(self, where: str, what: str) -> _Guard:
        """Turn a :class:`ReadError` in the block into an entry, and go on behind it."""
        return _Guard(self, where, what, False)

    def guard_newer(self, where: str, what: str) -> _Guard:
        """As :meth:`guard`, for what earlier versions did not read: what their slices lack is no fault, but counted."""
        return _Guard(self, where, what, self.is_slice)

    def finish(self) -> list[CaptureError]:
        """The entries, with one more that says how many were dropped, if any were."""
        if self.dropped:
            why = f"{self.dropped} more errors were not listed"
            self.entries.append(CaptureError(where="capture", what="errors", why=why))
            self.dropped = 0
        return self.entries
