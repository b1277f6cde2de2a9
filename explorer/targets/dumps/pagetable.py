"""x86_64 page tables, walked without drgn: does a VMCOREINFO text describe this memory?

Several kernels may have left their VMCOREINFO in memory, and a raw image may be laid out in several ways.
The kernel's own page tables decide: through the right ones, ``init_uts_ns`` holds the release that the
text announces, and the direct map lists the RAM there is. Four and five levels, pages of 4 KiB, 2 MiB and
1 GiB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from explorer.targets.errors import TargetError
from explorer.targets.spec import Progress
from explorer.targets.vmcoreinfo import PhysicalRead, VmcoreInfo, find_vmcoreinfo, parse_found

__all__ = ("FOUND", "describes_memory", "direct_map_ranges", "find_kernel", "top_table", "translate")

#: The note for the user where :func:`find_kernel` was needed.
FOUND = "VMCOREINFO found in memory at physical address {:#x}"

_START_KERNEL_MAP = 0xFFFFFFFF80000000
_PRESENT, _HUGE = 0x1, 0x80
_ADDRESS = 0x000FFFFFFFFFF000
_ENTRIES = 512
_TABLE_SIZE = 4096
_UTS_FIELD = 65
#: Of ``uts_namespace.name``, where VMCOREINFO does not say (until 5.10): at first, or behind a ``kref``.
_UTS_OFFSETS = (0, 4)
#: 1024 GiB of direct map without 1 GiB pages need as many tables of 2 MiB pages.
_MAX_TABLES = 1 << 14


def _levels(info: VmcoreInfo) -> int:
    return 5 if info.numbers.get("pgtable_l5_enabled") else 4


def top_table(info: VmcoreInfo) -> int:
    """The physical address of ``swapper_pg_dir``; any number, where a text lies."""
    return info.symbols["swapper_pg_dir"] - _START_KERNEL_MAP + info.numbers.get("phys_base", 0)


def translate(read: PhysicalRead, info: VmcoreInfo, virtual: int) -> int | None:
    """The physical address behind a kernel virtual address; ``None``: not mapped, or a table is missing."""
    table = top_table(info)
    for level in range(_levels(info), 0, -1):
        shift = 12 + 9 * (level - 1)
        data = read(table + 8 * (virtual >> shift & _ENTRIES - 1), 8) if 0 <= table <= _ADDRESS else None
        if data is None:
            return None
        entry = int.from_bytes(data, "little")
        if not entry & _PRESENT:
            return None
        if level == 1 or (level <= 3 and entry & _HUGE):
            mask = (1 << shift) - 1
            return entry & _ADDRESS & ~mask | virtual & mask
        table = entry & _ADDRESS
    return None


def describes_memory(read: PhysicalRead, info: VmcoreInfo) -> bool:
    """True if following the page tables to ``init_uts_ns`` finds "Linux" and the release of the text."""
    uts = info.symbols.get("init_uts_ns")
    if uts is None or "phys_base" not in info.numbers:
        return False
    known = info.offsets.get("uts_namespace.name")
    expected = [b"Linux", info.osrelease.encode("ascii", "replace")]
    return any(
        [_uts_field(read, info, uts + offset, index) for index in (0, 2)]
        == expected  # sysname, nodename, release
        for offset in (_UTS_OFFSETS if known is None else (known,))
    )


def _uts_field(read: PhysicalRead, info: VmcoreInfo, name: int, index: int) -> bytes:
    physical = translate(read, info, name + index * _UTS_FIELD)
    data = read(physical, _UTS_FIELD) if physical is not None else None
    return data.split(b"\0", 1)[0] if data is not None else b""


def find_kernel(
    read: PhysicalRead, ranges: Iterable[tuple[int, int]], name: str, progress: Progress
) -> tuple[VmcoreInfo, int]:
    """Search memory for the VMCOREINFO that is true of it, and return it with its physical address.

    Raises :class:`TargetError` if there is none. ``ranges`` as in
    :func:`~explorer.targets.vmcoreinfo.find_vmcoreinfo`.
    """
    releases = []
    for address, info in parse_found(find_vmcoreinfo(read, ranges, progress)):
        if describes_memory(read, info):
            return info, address
        releases.append(info.osrelease)
    if releases:
        raise TargetError(
            f"{name}: VMCOREINFO of Linux {releases[0]} found in memory, but its page tables lead nowhere: "
            "a leftover of an earlier boot, or memory is missing; give the right one with --vmcoreinfo FILE"
        )
    raise TargetError(
        f"{name}: no VMCOREINFO in memory: the kernel has not booted that far, is not Linux, "
        "or lacks CONFIG_VMCORE_INFO; give it with --vmcoreinfo FILE"
    )


def direct_map_ranges(
    read: PhysicalRead, info: VmcoreInfo, budget: Iterator[int] | None = None
) -> list[tuple[int, int]] | None:
    """(first, end) physical addresses that the kernel maps one to one: its RAM, to 2 MiB.

    The direct map is the lowest region of the kernel's half (mm/kaslr.c keeps that order); it ends with
    the first page whose distance from its physical address differs. ``None`` if a table cannot be read.

    :param budget: has an item for each table that may be read
    """
    base: int | None = None
    ranges: list[tuple[int, int]] = []
    for leaf in _kernel_leaves(read, info, budget or iter(range(_MAX_TABLES))):
        if leaf is None:
            return None
        virtual, physical, size = leaf
        if base is None:
            base = virtual - physical
        if virtual - physical != base:
            break
        if ranges and ranges[-1][1] == physical:
            ranges[-1] = (ranges[-1][0], physical + size)
        else:
            ranges.append((physical, physical + size))
    return ranges


def _kernel_leaves(
    read: PhysicalRead, info: VmcoreInfo, budget: Iterator[int]
) -> Iterator[tuple[int, int, int] | None]:
    """(virtual, physical, size) of each 1 GiB or 2 MiB mapped in the kernel's half, lowest first.

    2 MiB mapped by single pages count as mapped if any page is. Yields ``None`` for a table that cannot
    be read. Virtual addresses are negative here: the kernel's half ends at 0.
    """
    levels = _levels(info)
    span = 1 << (12 + 9 * levels)
    return _leaves(read, (top_table(info), levels, -span), -span // 2, budget)


def _leaves(
    read: PhysicalRead, where: tuple[int, int, int], lowest: int, budget: Iterator[int]
) -> Iterator[tuple[int, int, int] | None]:
    """The leaves below one table; ``where``: its physical address, its level, what its first entry maps."""
    table, level, start = where
    data = read(table, _TABLE_SIZE) if 0 <= table <= _ADDRESS and next(budget, None) is not None else None
    if data is None:
        yield None
        return
    shift = 12 + 9 * (level - 1)
    for index, (entry,) in enumerate(struct.iter_unpack("<Q", data)):
        virtual = start + (index << shift)
        physical = entry & _ADDRESS
        if not entry & _PRESENT or virtual < lowest:
            continue
        if level == 1:
            inside = virtual & (1 << 21) - 1
            yield virtual - inside, physical - inside, 1 << 21
            return
        if level <= 3 and entry & _HUGE:
            yield virtual, physical & -(1 << shift), 1 << shift
        else:
            yield from _leaves(read, (physical, level - 1, virtual), lowest, budget)
