"""Physical memory in a file, range by range: what LiME writes, and cores of hypervisors that know of nothing else."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import BinaryIO, NamedTuple

import drgn

from explorer.targets.dumps.containers import data_extents
from explorer.targets.dumps.extents import Extents

__all__ = ("FileRanges", "Part")

_PAGE = 4096


class Part(NamedTuple):
    """So many bytes of physical memory, and where in the file they are."""

    address: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        return self.address + self.size


class FileRanges:
    """Memory that lies in a file in parts.

    :raises ValueError: if two parts hold the same address
    """

    def __init__(self, file: BinaryIO, parts: Iterable[Part]) -> None:
        self._file = file
        self._parts = sorted(part for part in parts if part.size)
        self._starts = [part.address for part in self._parts]
        for one, other in zip(self._parts, self._parts[1:], strict=False):
            if one.end > other.address:
                raise ValueError(f"{other.address:#x} is in it twice")

    def own(self) -> Callable[[], None]:
        """Go on when the file that was given is closed; returns what ends that."""
        self._file = os.fdopen(os.dup(self._file.fileno()), "rb")
        return self._file.close

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sum(part.size for part in self._parts)

    def read(self, address: int, size: int) -> bytes | None:
        """A :class:`~explorer.targets.vmcoreinfo.PhysicalRead`; parts that adjoin are one to it."""
        data = []
        at = max(bisect_right(self._starts, address) - 1, 0)
        while size > 0:
            part = self._parts[at] if at < len(self._parts) else None
            if part is None or not part.address <= address < part.end:
                return None
            count = min(size, part.end - address)
            piece = os.pread(self._file.fileno(), count, part.offset + address - part.address)
            if len(piece) != count:
                return None
            data.append(piece)
            address, size, at = address + count, size - count, at + 1
        return b"".join(data)

    def stored(self) -> list[tuple[int, int]]:
        """(first, end) physical addresses, whole pages, of what is no hole of the file."""
        pages = []
        for part in self._parts:
            shift = part.address - part.offset
            for first, end in data_extents(self._file.fileno(), part.offset, part.offset + part.size):
                low = max((first + shift) // _PAGE * _PAGE, part.address)
                high = min(-(-(end + shift) // _PAGE) * _PAGE, part.end)
                pages.append((low, high))
        whole = ((-(-first // _PAGE) * _PAGE, end // _PAGE * _PAGE) for first, end in Extents(pages))
        return [(first, end) for first, end in whole if first < end]

    def add_to(self, prog: drgn.Program) -> None:
        """Let a program read it; whatever else is physical memory faults."""
        for first, end in Extents((part.address, part.end) for part in self._parts):
            prog.add_memory_segment(first, end - first, self._reader(), True)

    def _reader(self) -> Callable[[int, int, int, bool], bytes]:
        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            try:
                data = self.read(address, count)
            except OSError as error:
                raise drgn.FaultError(error.strerror or "cannot be read", address) from error
            if data is None:
                raise drgn.FaultError("beyond the end of the file", address)
            return data

        return read


class Ranged(NamedTuple):
    """What such a file holds, and how much of the memory that it names is missing at its end."""

    ranges: FileRanges
    memory: int
    missing: int
    #: Within a range or a header; nothing says how many ranges there should be.
    is_cut: bool
    #: Written while the kernel ran: what is in it need not be of one moment.
    taken_live: bool
