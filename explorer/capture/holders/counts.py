"""How many references a mount has: ``mnt_get_count()`` of fs/namespace.c, on all CPUs together.

A CPU alone may have a negative count: who drops a reference may run on another one than who took it.
"""

from __future__ import annotations

from explorer.capture.memory import Memory, RawMount, ReadError

from .layout import HolderLayout

__all__ = ("MountCounts",)

_INT = 1 << 32


class MountCounts:
    """Reads them. :param cpus: the possible CPUs; ``None`` if they are not known"""

    def __init__(self, memory: Memory, layout: HolderLayout, cpus: list[int] | None) -> None:
        self._memory = memory
        self._layout = layout
        self._cpus = cpus
        self._offsets: list[int] | None = None

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
        total = 0
        for offset in self._per_cpu_offsets():
            data = reader.read((mount.pcp + offset + decoder.base) % (1 << 64), decoder.span)
            gets, puts, count = decoder.decode(data)
            total += count if gets is None else gets - puts
        return _signed(total)

    def _per_cpu_offsets(self) -> list[int]:
        if self._offsets is None:
            if not self._cpus:
                raise ReadError("which CPUs there may be is not known")
            table = self._memory.symbols.symbol_address("__per_cpu_offset")
            if table is None:
                raise ReadError("the kernel's symbol table has no __per_cpu_offset")
            self._offsets = [self._memory.reader.read_u64(table + 8 * cpu) for cpu in self._cpus]
        return self._offsets


def _signed(value: int) -> int:
    """As the kernel's ``int``."""
    value %= _INT
    return value - _INT if value >= _INT // 2 else value
