"""Reads kernel memory: counted, with every pointer tested for plausibility, and every fault recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import drgn

from explorer.model import CaptureError

__all__ = ("ErrorLog", "MemoryReader", "ReadError", "is_kernel_pointer")

_LOWEST_KERNEL_ADDRESS = 0xFF00_0000_0000_0000  # 5-level paging's kernel half begins here
_HIGHEST_KERNEL_ADDRESS = 0xFFFF_FFFF_FFFF_F000  # the last page is where ERR_PTR() values point


class ReadError(Exception):
    """A value could not be read from kernel memory; the message says where and why."""


def is_kernel_pointer(value: int) -> bool:
    """Whether ``value`` can be a pointer into the x86_64 kernel: in the upper half, and no ``ERR_PTR()``.

    A fault cannot be relied on instead: dumps whose program headers have ``p_vaddr == p_paddr`` read the
    BIOS interrupt table at address zero.
    """
    return _LOWEST_KERNEL_ADDRESS <= value < _HIGHEST_KERNEL_ADDRESS


class MemoryReader:
    """Virtual memory of one kernel, through drgn.

    ``reads`` and ``bytes_read`` count what it cost: the price of a capture is its reads.
    """

    __slots__ = ("_c_string", "_read", "bytes_read", "reads")

    def __init__(self, prog: drgn.Program) -> None:
        self._read = prog.read
        self._c_string = prog.read_c_string
        self.reads = 0
        self.bytes_read = 0

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at ``address``.

        :raises ReadError: for a pointer that cannot be one, and for memory that is not there
        """
        if not _LOWEST_KERNEL_ADDRESS <= address < _HIGHEST_KERNEL_ADDRESS:
            raise ReadError(f"0x{address:x} is no kernel pointer")
        self.reads += 1
        self.bytes_read += size
        try:
            data: bytes = self._read(address, size)
        except drgn.FaultError as fault:
            raise ReadError(f"{size} bytes at 0x{address:x}: {fault}") from fault
        return data

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_c_string(self, address: int, max_size: int) -> bytes:
        """The bytes before the first NUL, at most ``max_size`` of them."""
        if not is_kernel_pointer(address):
            raise ReadError(f"0x{address:x} is no kernel pointer")
        self.reads += 1
        try:
            text: bytes = self._c_string(address, max_size=max_size)
        except drgn.FaultError as fault:
            raise ReadError(f"a string at 0x{address:x}: {fault}") from fault
        self.bytes_read += len(text)
        return text


class ErrorLog:
    """What could not be read: the snapshot's ``errors``.

    Bounded: a dump can be damaged in more places than anyone wants to read of.
    """

    LIMIT = 10_000

    def __init__(self) -> None:
        self.entries: list[CaptureError] = []
        self.dropped = 0

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

    @contextmanager
    def guard(self, where: str, what: str) -> Iterator[None]:
        """Turn a :class:`ReadError` in the block into an entry, and go on behind it."""
        try:
            yield
        except ReadError as error:
            self.add(where, what, str(error))

    def finish(self) -> list[CaptureError]:
        """The entries, with one more that says how many were dropped, if any were."""
        if self.dropped:
            why = f"{self.dropped} more errors were not listed"
            self.entries.append(CaptureError(where="capture", what="errors", why=why))
            self.dropped = 0
        return self.entries
