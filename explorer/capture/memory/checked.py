"""Whether what is read in a short way is what drgn reads: everything twice, and compared.

The short ways are the direct map as physical memory, and whole pages of it. The long one is drgn's read of the same
virtual address, by way of the kernel's page tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import drgn

from .decode import Decoder
from .reader import MemoryReader

__all__ = ("CheckedReader",)

_T = TypeVar("_T")
_MOST_NAMED = 20


class CheckedReader(MemoryReader):
    """As its base, at more than twice the price. For tests: memory must not change meanwhile."""

    __slots__ = ("_prog", "compared", "differing", "unreachable")

    def __init__(self, prog: drgn.Program) -> None:
        super().__init__(prog)
        self._prog = prog
        self.compared = 0
        """Reads that were made both ways."""
        self.unreachable = 0
        """And those that cannot be: page tables are not in the dump."""
        self.differing: list[str] = []
        """Where the two were not the same."""

    def read(self, address: int, size: int) -> bytes:
        return self._compare(address, super().read(address, size))

    def record_reader(
        self, decoder: Decoder, record: Callable[[tuple[Any, ...]], _T], tail: tuple[Any, ...] = ()
    ) -> Callable[[int], _T]:
        read = super().record_reader(decoder, record, tail)

        def read_record(address: int) -> _T:
            self.read(address + decoder.base, decoder.span)
            return read(address)

        return read_record

    def direct_page(self, address: int) -> bytes | None:
        page = super().direct_page(address)
        return None if page is None else self._compare(address, page)

    def _compare(self, address: int, data: bytes) -> bytes:
        try:
            same = self._prog.read(address, len(data)) == data
        except drgn.FaultError:
            self.unreachable += 1
            return data
        self.compared += 1
        if not same and len(self.differing) < _MOST_NAMED:
            self.differing.append(f"{len(data)} bytes at 0x{address:x}")
        return data
