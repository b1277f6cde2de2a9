"""The smallest memory that passes for a Linux kernel: page tables, ``init_uts_ns`` and a VMCOREINFO page.

Physical pages in a dict, laid out by the rules of x86_64 paging: enough for drgn to translate addresses, so that the
tests open what a kernel would leave behind, without a kernel.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

__all__ = ("PAGE", "PAGE_OFFSET", "RELEASE", "START_KERNEL_MAP", "FakeKernel", "kdump_file")

PAGE = 4096
HUGE = 2 << 20
START_KERNEL_MAP = 0xFFFFFFFF80000000
PAGE_OFFSET = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}
RELEASE = "7.3.4-fake"
_PRESENT, _HUGE_PAGE = 0x3, 0x80


@dataclass
class FakeKernel:
    """A kernel whose image is at physical ``base`` (2 MiB aligned) and whose RAM is ``ram``: (first, end) ranges."""

    ram: tuple[tuple[int, int], ...] = ((0, 8 << 20),)
    base: int = 2 << 20
    levels: int = 4
    release: str = RELEASE
    pages: dict[int, bytearray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.text = START_KERNEL_MAP + 0x1000000
        self.phys_base = self.base - 0x1000000
        #: Pages of the image: the top table, then init_uts_ns, then VMCOREINFO, then further tables.
        self._next = self.base + 3 * PAGE
        self.page(self.base)
        name = b"".join(
            s.encode().ljust(65, b"\0") for s in ("Linux", "fake", self.release, "#1 SMP", "x86_64", "(none)")
        )
        self.page(self.base + PAGE)[: len(name)] = name
        self._map(self.text, self.base)
        for first, end in self.ram:
            for physical in range(first, end, HUGE):
                self._map(PAGE_OFFSET[self.levels] + physical, physical)
        self.vmcoreinfo = self._vmcoreinfo()
        self.page(self.base + 2 * PAGE)[: len(self.vmcoreinfo)] = self.vmcoreinfo

    def page(self, physical: int) -> bytearray:
        """The page at a physical address, made of zeros if it is new."""
        return self.pages.setdefault(physical, bytearray(PAGE))

    def read(self, address: int, size: int) -> bytes | None:
        """Physical memory; what is in ``ram`` and was never written is zeros."""
        if not any(first <= address and address + size <= end for first, end in self.ram):
            return None
        hole = bytes(PAGE)
        first = address // PAGE * PAGE
        data = b"".join(self.pages.get(page, hole) for page in range(first, address + size, PAGE))
        return data[address - first : address - first + size]

    def image(self) -> bytes:
        """All RAM, one range after the other, as in a ``memory-backend-file``."""
        return b"".join(self.read(first, end - first) or b"" for first, end in self.ram)

    def segments(self) -> list[tuple[int, int, bytes]]:
        """What :func:`explorer.targets.dumps.elfcore.write_vmcore` takes: the pages there are, at their direct map."""
        offset = PAGE_OFFSET[self.levels]
        return [(physical, offset + physical, bytes(data)) for physical, data in self.pages.items()]

    def _map(self, virtual: int, physical: int) -> None:
        table = self.base
        for level in range(self.levels, 1, -1):
            index = virtual >> 12 + 9 * (level - 1) & 511
            (entry,) = struct.unpack_from("<Q", self.pages[table], 8 * index)
            if level == 2:
                entry = physical | _PRESENT | _HUGE_PAGE
            elif not entry:
                entry = self._next | _PRESENT
                self.page(self._next)
                self._next += PAGE
            struct.pack_into("<Q", self.pages[table], 8 * index, entry)
            table = entry & 0xFFFFFFFFFF000

    def _vmcoreinfo(self) -> bytes:
        lines = (
            f"OSRELEASE={self.release}",
            "BUILD-ID=" + "ab" * 20,
            "PAGESIZE=4096",
            f"SYMBOL(init_uts_ns)={self.text + PAGE:x}",
            "OFFSET(uts_namespace.name)=0",
            f"SYMBOL(swapper_pg_dir)={self.text:x}",
            f"SYMBOL(_stext)={self.text:x}",
            f"NUMBER(phys_base)={self.phys_base}",
            f"NUMBER(pgtable_l5_enabled)={int(self.levels == 5)}",
            "KERNELOFFSET=0",
        )
        return "\n".join(lines).encode() + b"\n"


def kdump_file(kernel: FakeKernel, machine: bytes = b"x86_64", status: int = 1, split: int = 0) -> bytes:
    """The kernel's pages as makedumpfile compresses them: headers, two bitmaps, descriptors, zlib pages."""
    max_mapnr = max(end for _, end in kernel.ram) // PAGE
    bitmap = bytearray((max_mapnr + 7) // 8)
    for physical in kernel.pages:
        bitmap[physical // PAGE // 8] |= 1 << physical // PAGE % 8
    bitmap += bytes(-len(bitmap) % PAGE)
    blocks = 2 * len(bitmap) // PAGE
    header = bytearray(PAGE)
    struct.pack_into("<8si", header, 0, b"KDUMP   ", 6)
    header[12 + 4 * 65 : 12 + 4 * 65 + len(machine)] = machine
    struct.pack_into("<IiiIII", header, 424, status, PAGE, 1, blocks, max_mapnr, 0)
    struct.pack_into("<i", header, 460, 1)
    sub = bytearray(PAGE)
    info = kernel.vmcoreinfo
    note = struct.pack("<III", 11, len(info), 0) + b"VMCOREINFO\0\0" + info + bytes(-len(info) % 4)
    extents = (PAGE + 512 + 24, len(info), PAGE + 512, len(note), 0, 0)
    struct.pack_into("<QiiQQ6Q", sub, 0, 0, 0, split, 0, max_mapnr, *extents)
    struct.pack_into("<QQQ", sub, 80, 0, max_mapnr, max_mapnr)
    sub[512 : 512 + len(note)] = note
    at = (2 + blocks) * PAGE + 24 * len(kernel.pages)
    descriptors, data = b"", b""
    for _, page in sorted(kernel.pages.items()):
        packed = zlib.compress(page)
        descriptors += struct.pack("<QIIQ", at + len(data), len(packed), 1, 0)
        data += packed
    return bytes(header + sub + bitmap + bitmap) + descriptors + data
