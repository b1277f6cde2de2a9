"""The pages of a slice, by the kernel's addresses, to be changed before they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from explorer.targets import VmcoreInfo
from explorer.targets.dumps import translate
from explorer.targets.symbols import KernelTypes

__all__ = ("SliceMemory",)

_PAGE = 4096


@dataclass
class SliceMemory:
    """Pages of a slice that can be changed."""

    prog: drgn.Program
    types: KernelTypes
    pages: dict[int, bytearray]
    direct_map: int
    info: VmcoreInfo
    translated: dict[int, int | None] = field(default_factory=dict)
    done: dict[int, bytearray] = field(default_factory=dict)
    """For each page, a 1 for every byte that needs no more looking at."""

    def physical(self, virtual: int) -> int | None:
        """``None``: not mapped."""
        if self.direct_map <= virtual < self.direct_map + (1 << 46):
            return virtual - self.direct_map
        page = virtual & -_PAGE
        if page not in self.translated:
            self.translated[page] = translate(self._read_table, self.info, page)
        physical = self.translated[page]
        return None if physical is None else physical + virtual % _PAGE

    def _read_table(self, address: int, size: int) -> bytes | None:
        page = self.pages.get(address & -_PAGE)
        return None if page is None else bytes(page[address % _PAGE : address % _PAGE + size])

    def pieces(self, virtual: int, size: int) -> Iterator[tuple[int, int, int]]:
        """(physical page, offset, size) of each part of a range that is in the slice."""
        end = virtual + size
        while virtual < end:
            count = min(end - virtual, _PAGE - virtual % _PAGE)
            physical = self.physical(virtual)
            if physical is not None and physical & -_PAGE in self.pages:
                yield physical & -_PAGE, virtual % _PAGE, count
            virtual += count

    def read(self, virtual: int, size: int) -> bytes:
        return b"".join(
            bytes(self.pages[page][at : at + count]) for page, at, count in self.pieces(virtual, size)
        )

    def protect(self, virtual: int, size: int) -> None:
        """These bytes are the kernel's own."""
        for page, at, count in self.pieces(virtual, size):
            self.done.setdefault(page, bytearray(_PAGE))[at : at + count] = b"\1" * count

    def write(self, virtual: int, data: bytes) -> None:
        for page, at, count in self.pieces(virtual, len(data)):
            self.pages[page][at : at + count], data = data[:count], data[count:]
            self.done.setdefault(page, bytearray(_PAGE))[at : at + count] = b"\1" * count
