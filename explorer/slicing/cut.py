"""Cut a vmcore down to the pages a full capture touches.

The original is opened a second time as a kernel whose physical memory we serve ourselves, page by page, and
remember which pages were asked for, page tables included. What was touched is written as a small ELF vmcore that
drgn opens like any other. Nothing may come from a cache here: what is not read is not in the slice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import drgn

from explorer.capture import CaptureProgress, CaptureRequest, capture_snapshot
from explorer.capture.kernel import touch_log
from explorer.capture.memory import MemoryReader, ReadError
from explorer.model import Snapshot
from explorer.plugin import Plugin
from explorer.targets import OpenKernel, TargetError, drgn_errors
from explorer.targets.dumps import write_vmcore
from explorer.targets.symbols import KernelTypes, attach_types

__all__ = ("RecordedSlice", "Slice", "record", "record_slice")

_PAGE = 4096
_PHYSICAL_SPACE = 1 << 52
#: Without KASLR of memory regions, four levels of page tables: arch/x86/include/asm/page_64_types.h
_DIRECT_MAP_DEFAULT = 0xFFFF888000000000


@dataclass(frozen=True, slots=True)
class Slice:
    """A recorded slice: what was touched, and what it showed."""

    pages: dict[int, bytes]
    """Page by physical address."""
    vmcoreinfo: bytes
    direct_map: int
    """Virtual address of physical address 0 (``page_offset_base``)."""
    snapshot: Snapshot

    def write(self, out: BinaryIO) -> int:
        """Write the slice as an ELF vmcore; returns its size in bytes."""
        return write_vmcore(out, self.vmcoreinfo, self._segments())

    def _segments(self) -> Iterator[tuple[int, int, bytes]]:
        for address, page in self.pages.items():
            yield address, self.direct_map + address, page


class _PageRecorder:
    """Serves physical memory of another program, a page at a time, and keeps every page served."""

    def __init__(self, source: drgn.Program) -> None:
        self._source = source
        self.pages: dict[int, bytes] = {}
        self.touched: dict[int, bytearray] = {}
        """For each page, a 1 for every byte that was asked for."""
        self.reads: list[tuple[int, int]] = []
        """Physical address and size of each read, in order."""

    def read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        """The signature of ``Program.add_memory_segment()``'s callback."""
        self._note(address, count)
        first, last = address & -_PAGE, (address + count - 1) & -_PAGE
        if first == last:
            return self._page(first)[address - first : address - first + count]
        data = b"".join(self._page(page) for page in range(first, last + _PAGE, _PAGE))
        return data[address - first : address - first + count]

    def _note(self, address: int, count: int) -> None:
        self.reads.append((address, count))
        end = address + count
        while address < end:
            at = address % _PAGE
            size = min(end - address, _PAGE - at)
            marks = self.touched.setdefault(address - at, bytearray(_PAGE))
            marks[at : at + size] = b"\1" * size
            address += size

    def _page(self, address: int) -> bytes:
        page = self.pages.get(address)
        if page is None:
            page = self.pages[address] = self._source.read(address, _PAGE, True)
        return page


@dataclass(frozen=True, slots=True)
class RecordedSlice:
    """A slice with what is needed to change names in it."""

    piece: Slice
    prog: drgn.Program
    types: KernelTypes
    touched: dict[int, bytearray]
    reads: list[tuple[int, int]]


def record_slice(kernel: OpenKernel, progress: CaptureProgress, plugins: Sequence[Plugin] = ()) -> Slice:
    """Capture ``kernel`` once more through a recorder.

    :raises TargetError: if it cannot be read
    """
    recorded = record(kernel, progress, plugins)
    _touch_more(recorded)
    return recorded.piece


def record(kernel: OpenKernel, progress: CaptureProgress, plugins: Sequence[Plugin] = ()) -> RecordedSlice:
    """The same, byte by byte, and without more of the kernel's log than a capture reads.

    :raises TargetError: if it cannot be read
    """
    recorder = _PageRecorder(kernel.prog)
    vmcoreinfo = kernel.program.vmcoreinfo.raw
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    with drgn_errors(f"{kernel.source.target}: cannot be opened a second time"):
        prog.add_memory_segment(0, _PHYSICAL_SPACE, recorder.read, physical=True)
        prog.set_linux_kernel_custom(vmcoreinfo, is_live=False)
    types = attach_types(
        prog,
        mode="btf",
        use_cache=False,
        progress=lambda what: progress(what, 0, None),
        symbols_file=kernel.types.symbols_file,
    )
    request = dataclasses.replace(
        CaptureRequest.from_kernel(kernel, plugins), prog=prog, symbols=types, types=types.mode, direct=False
    )
    snapshot = capture_snapshot(request, progress)
    piece = Slice(recorder.pages, vmcoreinfo, _direct_map(prog, types), snapshot)
    return RecordedSlice(piece, prog, types, recorder.touched, recorder.reads)


def _touch_more(recorded: RecordedSlice) -> None:
    """The kernel's log belongs into a slice, although a capture of today does not read all of it."""
    try:
        touch_log(recorded.prog, MemoryReader(recorded.prog), recorded.types)
    except (ReadError, LookupError) as error:
        raise TargetError(
            f"the kernel's log cannot be read, without which no slice is made: {error}"
        ) from error


def _direct_map(prog: drgn.Program, types: KernelTypes) -> int:
    address = types.symbol_address("page_offset_base")
    if address is None:
        return _DIRECT_MAP_DEFAULT
    try:
        return int(prog.read_u64(address))
    except drgn.FaultError as fault:
        raise TargetError(
            f"page_offset_base cannot be read, without which no slice is made: {' '.join(str(fault).split())}"
        ) from fault
