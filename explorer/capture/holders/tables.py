"""The files of a task: its descriptors, the program it runs, what it has mapped.

Mirrors ``files_struct`` and ``fdtable`` (include/linux/fdtable.h), ``mm_struct.exe_file`` and ``.mm_mt``, or ``.mmap``
(include/linux/mm_types.h). Tasks that share a table or an address space have it read once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from explorer.capture.memory import AnyTask, Memory, ReadError, is_kernel_pointer

from .layout import HolderLayout
from .maple import maple_entries

__all__ = ("AddressSpace", "TaskFiles")

_MAX_FDS = 1 << 24  # sysctl_nr_open is a million
_MAX_MAPPINGS = 1_000_000  # by default a process has at most 65530 (vm.max_map_count)
_CHUNK = 4096  # bytes of an array of descriptors


class AddressSpace(NamedTuple):
    """An ``mm_struct``."""

    exe_file: int
    mappings: int
    """``mm_mt.ma_root``, or the first of the list"""


class TaskFiles:
    """Reads them for one kernel."""

    def __init__(self, memory: Memory, layout: HolderLayout) -> None:
        self._reader = memory.reader
        self._layout = layout

    def pointers(self, task: AnyTask) -> tuple[int, int]:
        """``files`` and ``mm`` of a task, 0 where it has none. :raises ReadError: if they cannot be read"""
        decoder = self._layout.task
        files, mm = self._reader.decode(decoder, task.address)
        return files, mm

    def descriptors(self, files: int) -> Iterator[tuple[int, int]]:
        """Number and ``struct file`` of every open descriptor. :raises ReadError: where they cannot be read"""
        layout, read = self._layout, self._reader.read
        table = self._reader.read_u64(files + layout.files_fdt)
        max_fds, array = self._reader.decode(layout.fdtable, table)
        if max_fds > _MAX_FDS:
            raise ReadError(f"the table of descriptors 0x{table:x} has {max_fds} places")
        for first in range(0, max_fds, _CHUNK // 8):
            count = min(max_fds - first, _CHUNK // 8)
            slots = struct.unpack(f"<{count}Q", read(array + 8 * first, 8 * count))
            for number, file in enumerate(slots, first):
                if file:
                    if not is_kernel_pointer(file):
                        raise ReadError(f"descriptor {number} is 0x{file:x}")
                    yield number, file

    def address_space(self, mm: int) -> AddressSpace:
        """:raises ReadError: if it cannot be read"""
        decoder = self._layout.mm
        return AddressSpace._make(self._reader.decode(decoder, mm))

    def mapped_files(self, space: AddressSpace) -> Iterator[int]:
        """The ``struct file`` of every mapping that has one. :raises ReadError: where they cannot be read"""
        for vma in self._mappings(space.mappings):
            file = self._reader.read_u64(vma + self._layout.vma_file)
            if is_kernel_pointer(file):
                yield file

    def _mappings(self, first: int) -> Iterator[int]:
        """Every ``vm_area_struct``."""
        layout, seen = self._layout, 0
        if layout.maple is not None:
            yield from maple_entries(self._reader, layout.maple, first)
        elif layout.vma_next is not None:
            while first:
                yield first
                first, seen = self._reader.read_u64(first + layout.vma_next), seen + 1
                if seen > _MAX_MAPPINGS:
                    raise ReadError("the list of mappings has no end")
