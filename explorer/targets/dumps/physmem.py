"""A raw image of physical memory: QEMU's ``memory-backend-file``, ``pmemsave``, or what a hypervisor or
probe saved.

Such an image has no header. VMCOREINFO in it says what the kernel is, and the kernel's direct map says
where RAM is: on a PC there is a hole below 4 GiB, and an image made of RAM alone continues above it. The
layout is the one under which the direct map ends where the image ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import drgn

from explorer.targets.drgn_calls import capture_log, drgn_errors, new_program
from explorer.targets.dumps.containers import (
    COMPRESSED,
    RANGED,
    data_extents,
    decompress,
    open_file,
    sniff,
)
from explorer.targets.dumps.pagetable import FOUND, describes_memory, direct_map_ranges
from explorer.targets.errors import TargetError
from explorer.targets.spec import Progress
from explorer.targets.vmcoreinfo import PhysicalRead, VmcoreInfo, find_vmcoreinfo, parse_found

__all__ = ("PhysmemImage", "open_physmem")

_4G = 1 << 32
_PAGE = 4096
#: RAM below 4 GiB on QEMU's machines: q35 2 GiB, i440fx 3 or 3.5 GiB, q35 when it all fits 2.75 GiB,
#: microvm 3 GiB.
_BELOW_4G = (2 << 30, 3 << 30, 7 << 29, 11 << 28, 1 << 30)
#: Other sizes that are tried, if the kernel or its page tables lie above the hole.
_STEP = 64 << 20
_MAX_LAYOUTS = 256
_MAX_KERNELS = 64
#: Page tables that are read to choose a layout, over all kernels and layouts: those of 64 TiB in pages of 1 GiB, or of
#: 1 TiB in pages of 2 MiB, fifty times. Wrong layouts lead nowhere soon.
_MAX_TABLES = 1 << 16


@dataclass
class PhysmemImage:
    """An open image."""

    prog: drgn.Program
    vmcoreinfo: VmcoreInfo
    notes: list[str]
    release: Callable[[], None]


@dataclass(frozen=True)
class _Layout:
    """Which addresses the image holds: all from 0, or those below ``below_4g`` and those from 4 GiB on."""

    size: int
    below_4g: int | None

    def parts(self) -> list[tuple[int, int, int]]:
        """(physical address, size, offset in the image)."""
        if self.below_4g is None:
            return [(0, self.size, 0)]
        return [(0, self.below_4g, 0), (_4G, self.size - self.below_4g, self.below_4g)]

    def end(self) -> int:
        address, size, _ = self.parts()[-1]
        return address + size

    def __str__(self) -> str:
        if self.below_4g is None:
            return "offsets in the image are physical addresses"
        return f"the first {self.below_4g / (1 << 30):g} GiB of the image are below 4 GiB, the rest above"


def open_physmem(
    path: Path, given: VmcoreInfo | None, below_4g: int | None, progress: Progress
) -> PhysmemImage:
    """Open a raw image. Raises :class:`TargetError` if no kernel, or no layout that suits it, is found.

    :param below_4g: bytes of the image that lie below the hole, if the user knows; else it is found out.
    """
    name = f"physmem:{path}"
    file = open_file(path)
    notes: list[str] = []
    try:
        form = sniff(os.pread(file.fileno(), _PAGE, 0))
        if form in COMPRESSED:
            packed = file
            with packed:
                file = decompress(packed, form, name, progress)
            notes.append(f"decompressed {os.fstat(file.fileno()).st_size / 1e9:.1f} GB to a temporary file")
        form = sniff(os.pread(file.fileno(), _PAGE, 0))
        if form in RANGED:
            raise TargetError(
                f"{name}: a {form.value} file, which says where its memory lies: give it without physmem:"
            )
        size = os.fstat(file.fileno()).st_size // _PAGE * _PAGE
        if size == 0:
            raise TargetError(f"{name}: less than a page of memory")
        info, note, layout = _find_kernel(
            file.fileno(), name, given, _layouts(size, below_4g, name), progress
        )
        prog = new_program(info)
        with capture_log(), drgn_errors(f"{name}: cannot be opened"):
            for address, length, offset in layout.parts():
                prog.add_memory_segment(address, length, _segment_read(file, offset), True)
            prog.set_linux_kernel_custom(info.raw, is_live=False)
    except BaseException:
        file.close()
        raise
    return PhysmemImage(prog, info, [*notes, *note, str(layout)], file.close)


def _layouts(size: int, below_4g: int | None, name: str) -> list[_Layout]:
    if below_4g is not None:
        if not (0 < below_4g <= _4G and below_4g % _PAGE == 0):
            raise TargetError(
                f"{name}: --ram-below-4g must be whole pages, up to 4 GiB; it is {below_4g} bytes"
            )
        return [_Layout(size, below_4g if below_4g < size else None)]
    limits = dict.fromkeys((*_BELOW_4G, *range(_STEP, _4G, _STEP)))
    return [_Layout(size, None), *(_Layout(size, limit) for limit in limits if limit < size)]


def _find_kernel(
    fd: int, name: str, given: VmcoreInfo | None, layouts: list[_Layout], progress: Progress
) -> tuple[VmcoreInfo, list[str], _Layout]:
    """The kernel, a note on where it was found, and the layout under which it makes sense."""
    releases = []
    budget = iter(range(_MAX_TABLES))
    for offset, info in _kernels(fd, given, layouts[0].size, progress):
        layout = _choose_layout(fd, info, layouts, budget)
        if layout is not None:
            return info, [] if given is not None else [FOUND.format(_address(layout, offset))], layout
        releases.append(info.osrelease)
        if len(releases) >= _MAX_KERNELS:
            break
    if releases:
        raise TargetError(
            f"{name}: Linux {releases[0]}, but its page tables lead nowhere in this image: it is cut short, "
            "or RAM continues above a hole of unusual size (say how much lies below 4 GiB with --ram-below-4g)"
        )
    raise TargetError(
        f"{name}: no VMCOREINFO: not the memory of a booted x86_64 Linux with CONFIG_VMCORE_INFO; "
        "give it with --vmcoreinfo FILE"
    )


def _kernels(
    fd: int, given: VmcoreInfo | None, size: int, progress: Progress
) -> Iterator[tuple[int, VmcoreInfo]]:
    """(offset in the image, parsed text) of each kernel that may be in the image."""
    if given is not None:
        yield 0, given
        return

    def read(offset: int, count: int) -> bytes | None:
        data = os.pread(fd, count, offset)
        return data if len(data) == count else None

    # A guest's memory file is as large as its RAM, and mostly a hole until that is used.
    data = [
        (first // _PAGE * _PAGE, min(size, -(-end // _PAGE) * _PAGE))
        for first, end in data_extents(fd, 0, size)
    ]
    yield from parse_found(find_vmcoreinfo(read, data, progress))


def _choose_layout(
    fd: int, info: VmcoreInfo, layouts: list[_Layout], budget: Iterator[int]
) -> _Layout | None:
    """The layout under which the direct map ends with the image; else one in which it fits; else ``None``.

    :param budget: has an item for each page table that may still be read
    """
    within: _Layout | None = None
    pending = list(layouts)
    tried: set[_Layout] = set()
    while pending and len(tried) < _MAX_LAYOUTS:
        layout = pending.pop(0)
        if layout in tried:
            continue
        tried.add(layout)
        read = _reader(fd, layout)
        if not describes_memory(read, info):
            continue
        mapped = direct_map_ranges(read, info, budget)
        if not mapped:
            continue
        end = max(last for _, last in mapped)
        if end == layout.end() and _holes_agree(mapped, layout):
            return layout
        if layouts[0].below_4g is None and _4G < end < _4G + layout.size:
            # What is mapped above 4 GiB tells exactly how much of the image is below.
            pending.insert(0, _Layout(layout.size, layout.size - (end - _4G)))
        if end <= layout.end() and within is None:
            within = layout
    return within


def _holes_agree(mapped: list[tuple[int, int]], layout: _Layout) -> bool:
    """Every mapped range must be in the image."""
    parts = [(address, address + size) for address, size, _ in layout.parts()]
    return all(any(first <= low and high <= last for first, last in parts) for low, high in mapped)


def _address(layout: _Layout, offset: int) -> int:
    return next(
        address + offset - start for address, size, start in layout.parts() if start <= offset < start + size
    )


def _reader(fd: int, layout: _Layout) -> PhysicalRead:
    parts = layout.parts()

    def read(address: int, size: int) -> bytes | None:
        for first, length, offset in parts:
            if first <= address and address + size <= first + length:
                data = os.pread(fd, size, offset + address - first)
                return data if len(data) == size else None
        return None

    return read


def _segment_read(file: BinaryIO, base: int) -> Callable[[int, int, int, bool], bytes]:
    """What drgn calls for a segment. pread, not mmap: a file that shrinks must not kill the process."""

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            data = os.pread(file.fileno(), count, base + offset)
        except OSError as error:
            raise drgn.FaultError(error.strerror or "cannot be read", address) from error
        if len(data) != count:
            raise drgn.FaultError("beyond the end of the image", address + len(data))
        return data

    return read
