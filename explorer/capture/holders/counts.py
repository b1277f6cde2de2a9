"""How many references a mount has: ``mnt_get_count()`` of fs/namespace.c, on all CPUs together.

A CPU alone may have a negative count: who drops a reference may run on another one than who took it.
"""

from __future__ import annotations

from collections.abc import Collection

from explorer.capture.memory import Memory, RawMount, ReadError

from .layout import HolderLayout

__all__ = ("MountCounts",)

_INT = 1 << 32


class MountCounts:
    """Reads them. :param per_cpu: ``__per_cpu_offset`` of the possible CPUs; empty if they are not known"""

    def __init__(self, memory: Memory, layout: HolderLayout, per_cpu: Collection[int]) -> None:
        self._memory = memory
        self._layout = layout
        self._per_cpu = per_cpu

    def count(self, mount: RawMount) -> int | None:
        """The references of a mount; ``None``, with an error entry, if they cannot be read."""
        with self._memory.errors.guard(mount.name, "mnt_count"):
            return self._count(mount)
        return None

    def _count(self, mount: RawMount) -> int:
        reader, decoder = self._memory.reader, self._layout.pcp
        if decoder is None:
            return _signed(reader.read_u32(mount.address + (self._layout.mount_count or 0)))
        if mount.pcp is None:
            raise ReadError("mnt_pcp is not there")
        if not self._per_cpu:
            raise ReadError("which CPUs there may be is not known")
        total = 0
        for offset in self._per_cpu:
            gets, puts, count = reader.decode(decoder, (mount.pcp + offset) % (1 << 64))
            total += count if gets is None else gets - puts
        return _signed(total)


def _signed(value: int) -> int:
    """As the kernel's ``int``."""
    value %= _INT
    return value - _INT if value >= _INT // 2 else value
