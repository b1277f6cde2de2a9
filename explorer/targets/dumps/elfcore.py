"""ELF vmcores: check one before drgn opens it, and write a small one.

drgn maps whatever a program header claims and finds out at the first read; a user should hear of a
truncated or foreign dump at once. The layout is that of elf(5); ``e_phnum == PN_XNUM`` moves the count to
section 0.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from explorer.targets.addresses import is_kernel_pointer
from explorer.targets.dumps.containers import data_extents
from explorer.targets.dumps.extents import Extents
from explorer.targets.errors import TargetError
from explorer.targets.vmcoreinfo import PhysicalRead

if TYPE_CHECKING:
    import drgn

__all__ = (
    "ElfCore",
    "Segment",
    "check_elf_header",
    "hide_absent",
    "is_core",
    "rarely_read",
    "read_elf_core",
    "segment_reader",
    "stored_ranges",
    "write_vmcore",
)

ELF_MAGIC = b"\x7fELF"
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_NHDR = struct.Struct("<III")
_ET_NAMES = {1: "an object file or kernel module", 2: "an executable", 3: "a program or shared library"}
_ET_CORE = 4
_EM_X86_64 = 62
_MACHINES = {
    3: "i386", 8: "MIPS", 20: "PowerPC", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "arm64",
    243: "RISC-V", 258: "LoongArch",
}  # fmt: skip
_PT_LOAD, _PT_NOTE = 1, 4
_PN_XNUM = 0xFFFF
#: makedumpfile sets this in e_flags when it ran out of space (``DUMP_ELF_INCOMPLETE``).
_DUMP_ELF_INCOMPLETE = 0x1
_MAX_SEGMENTS = 1 << 20
_MAX_NOTES_SIZE = 64 << 20
#: In all: the kernel and QEMU write one or two for each of at most 8192 CPUs.
_MAX_NOTES = 1 << 16
_PAGE = 4096
#: Bytes of a segment that may well be read by nobody.
LARGE = 1 << 20


class Segment(NamedTuple):
    """One ``PT_LOAD``: where it is in memory, and where in the file."""

    virtual_address: int
    physical_address: int
    memory_size: int
    file_offset: int
    file_size: int


class ElfCore(NamedTuple):
    """What the headers and notes of an ELF vmcore say."""

    segments: tuple[Segment, ...]
    #: The VMCOREINFO note, or ``None``: a QEMU dump of a guest without ``-device vmcoreinfo``.
    vmcoreinfo: bytes | None
    #: QEMU wrote it (it leaves a note per CPU).
    from_qemu: bool
    #: It has no other note, as what :func:`write_vmcore` wrote: a slice. Whoever else writes dumps notes each CPU.
    is_slice: bool
    #: makedumpfile ran out of space while writing it, and says so.
    incomplete: bool
    #: Bytes of memory that the segments name, and those that the writer left out of the file (``p_filesz`` below
    #: ``p_memsz``), or that the file should hold and does not: it is cut off, or was never written whole.
    memory: int
    left_out: int
    cut_off: int
    #: (virtual address, physical address, bytes) of both: to be read by nobody, least of all as zeros.
    absent: tuple[tuple[int, int, int], ...]

    @property
    def is_physical(self) -> bool:
        """It holds physical memory alone, as VirtualBox writes it: all virtual addresses are 0.

        If all of it is one segment at 0, nothing else in the headers tells it from the core dump of a process.
        """
        return bool(self.segments) and not any(part.virtual_address for part in self.segments)

    @property
    def is_process(self) -> bool:
        """Of a process, which has no physical addresses, and nothing at 0."""
        parts = self.segments
        return (
            not self.from_qemu and not any(part.physical_address for part in parts) and not self.is_physical
        )


def check_elf_header(head: bytes, name: str) -> None:
    """Raise :class:`TargetError` unless ``head`` (64 bytes or more) begins an x86_64 ELF core file."""
    if len(head) < _EHDR.size:
        raise TargetError(f"{name}: truncated: an ELF header of {len(head)} bytes (64 are needed)")
    little = head[5] != 2
    kind, machine = struct.unpack_from("<HH" if little else ">HH", head, 16)
    if kind != _ET_CORE:
        what = _ET_NAMES.get(kind, f"an ELF file of type {kind}")
        raise TargetError(
            f"{name}: {what}, not a vmcore; a vmlinux with debug info goes with -s, beside a target"
        )
    if machine != _EM_X86_64:
        arch = _MACHINES.get(machine, f"ELF machine {machine}")
        raise TargetError(f"{name}: a dump of an {arch} kernel; only x86_64 is supported")
    if head[4] != 2 or not little:
        raise TargetError(f"{name}: not a 64-bit little-endian ELF file; only x86_64 is supported")


def is_core(head: bytes) -> bool:
    """Whether an ELF file that begins so is a core file, of whatever machine."""
    return head[16:18] in (bytes((_ET_CORE, 0)), bytes((0, _ET_CORE)))


def read_elf_core(file: BinaryIO, name: str, present: Extents | None = None) -> ElfCore:
    """Read and check the headers of an ELF vmcore. Memory that they promise need not be in the file.

    What is beyond ``p_filesz`` is no zeros, whoever wrote the dump: makedumpfile leaves pages out like that, and
    nobody else who writes dumps of kernels makes such a segment.

    :param present: which bytes of the file are there; ``None``: all of them
    :raises TargetError: if the headers are not there or damaged, or not those of an x86_64 core file
    """
    fd = file.fileno()
    flags, segments, notes = _read_headers(fd, name)
    if not segments:
        raise TargetError(f"{name}: an ELF core file without memory (no PT_LOAD segment)")
    if sum(size for _, size in notes) > _MAX_NOTES_SIZE:
        raise TargetError(f"{name}: damaged: its notes claim more than {_MAX_NOTES_SIZE >> 20} MB")
    vmcoreinfo, others = _read_notes(os.pread(fd, size, offset) for offset, size in notes)
    there = present or Extents.of_file(fd)
    stored = [_stored(segment, there) for segment in segments]
    memory = sum(segment.memory_size for segment in segments)
    left_out = sum(max(segment.memory_size - segment.file_size, 0) for segment in segments)
    held = sum(end - first for parts in stored for first, end in parts)
    return ElfCore(
        tuple(part for segment, parts in zip(segments, stored, strict=True) for part in _cut(segment, parts)),
        vmcoreinfo,
        b"QEMU" in others,
        vmcoreinfo is not None and not others,
        bool(flags & _DUMP_ELF_INCOMPLETE),
        memory,
        left_out,
        memory - left_out - held,
        tuple(
            absent
            for segment, parts in zip(segments, stored, strict=True)
            for absent in _absent(segment, parts)
        ),
    )


def rarely_read(file: BinaryIO, name: str) -> tuple[int, int]:
    """(first, end) of the large segments that the file ends with. Only headers and notes of it need be there.

    :raises TargetError: as :func:`read_elf_core` does
    """
    segments = sorted(_read_headers(file.fileno(), name)[1], key=lambda part: part.file_offset)
    first = end = max((part.file_offset + part.file_size for part in segments), default=0)
    while segments and segments[-1].file_size >= LARGE:
        first = segments.pop().file_offset
    return first, end


def _read_headers(fd: int, name: str) -> tuple[int, list[Segment], list[tuple[int, int]]]:
    """The flags of the ELF header, the segments, and (offset, size) of the notes."""
    file_size = os.fstat(fd).st_size
    head = os.pread(fd, _EHDR.size, 0)
    check_elf_header(head, name)
    (_, _, _, _, _, phoff, shoff, flags, _, phentsize, phnum, _, _, _) = _EHDR.unpack(head)
    if phnum == _PN_XNUM:
        section = os.pread(fd, _SHDR.size, shoff) if shoff < file_size else b""
        if len(section) < _SHDR.size:
            raise TargetError(f"{name}: truncated: its section header, which counts the segments, is missing")
        phnum = _SHDR.unpack(section)[7]
    if phnum == 0 and _is_xen(fd, shoff, head):
        raise TargetError(
            f"{name}: a dump that Xen made (xl dump-core): let kdump within the guest write one"
        )
    if phentsize != _PHDR.size or not 0 < phnum <= _MAX_SEGMENTS:
        raise TargetError(f"{name}: damaged ELF header ({phnum} program headers of {phentsize} bytes)")
    _need(name, "program headers", phoff + phnum * phentsize, file_size)
    table = os.pread(fd, phnum * phentsize, phoff)
    segments: list[Segment] = []
    notes: list[tuple[int, int]] = []
    for kind, _, offset, vaddr, paddr, filesz, memsz, _ in _PHDR.iter_unpack(table):
        if kind == _PT_NOTE:
            _need(name, "notes", offset + filesz, file_size)
        if kind == _PT_LOAD:
            if max(vaddr, paddr if paddr != (1 << 64) - 1 else 0) + memsz > 1 << 64 or filesz > memsz > 0:
                raise TargetError(f"{name}: damaged: a segment at {vaddr:#x} of {memsz:#x} bytes cannot be")
            segments.append(Segment(vaddr, paddr, memsz, offset, filesz))
        elif kind == _PT_NOTE:
            notes.append((offset, filesz))
    return flags, segments, notes


def _is_xen(fd: int, shoff: int, head: bytes) -> bool:
    """Whether memory is in a section, as only Xen has it: ``.xen_pages``."""
    count, names = struct.unpack_from("<HH", head, 60)
    section = os.pread(fd, _SHDR.size, shoff + names * _SHDR.size) if names < count else b""
    if len(section) < _SHDR.size:
        return False
    _, _, _, _, offset, size, *_ = _SHDR.unpack(section)
    return b"\0.xen_pages\0" in os.pread(fd, min(size, _PAGE), offset)


def _stored(segment: Segment, there: Extents) -> list[tuple[int, int]]:
    """(first, end) of what the file holds of a segment, from its start."""
    start = segment.file_offset
    size = min(segment.file_size, segment.memory_size)
    return [(first - start, end - start) for first, end in there.within(start, start + size)]


def _cut(segment: Segment, stored: list[tuple[int, int]]) -> Iterator[Segment]:
    """The segment as it is in the file: in pieces, if something between them is not."""
    for first, end in stored:
        yield Segment(
            segment.virtual_address + first,
            segment.physical_address + first,
            end - first,
            segment.file_offset + first,
            end - first,
        )


def _absent(segment: Segment, stored: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    for first, end in Extents(stored).missing(0, segment.memory_size):
        yield segment.virtual_address + first, segment.physical_address + first, end - first


def hide_absent(prog: drgn.Program, core: ElfCore) -> None:
    """Let memory that the file does not hold fault: drgn would take zeros for it, or end at the end of the file.

    Physical memory that another segment holds stays there (the kernel's text is in two of them).
    """
    if not core.absent:
        return
    import drgn  # who only looks at headers has no use for it

    def fault(address: int, count: int, offset: int, physical: bool) -> bytes:
        raise drgn.FaultError("not in the dump", address)

    held = Extents(
        (part.physical_address, part.physical_address + part.memory_size) for part in core.segments
    )
    unknown = (1 << 64) - 1
    physical = Extents(
        (address, address + size)
        for _, start, all_of_it in core.absent
        if start <= unknown - all_of_it
        for address, size in ((low, high - low) for low, high in held.missing(start, start + all_of_it))
    )
    for first, end in physical:
        prog.add_memory_segment(first, end - first, fault, physical=True)
    virtual = Extents(
        (address, address + size) for address, _, size in core.absent if is_kernel_pointer(address)
    )
    mapped = Extents(
        (part.virtual_address, part.virtual_address + part.memory_size) for part in core.segments
    )
    for start, stop in virtual:
        for first, end in mapped.missing(start, stop):
            prog.add_memory_segment(first, end - first, fault)


def segment_reader(file: BinaryIO, core: ElfCore) -> PhysicalRead:
    """Physical memory of a vmcore, before drgn has it."""
    parts = sorted((part for part in core.segments if part.file_size), key=lambda part: part.physical_address)
    starts = [part.physical_address for part in parts]
    fd = file.fileno()

    def read(address: int, size: int) -> bytes | None:
        index = bisect_right(starts, address) - 1
        if index < 0 or address + size > starts[index] + parts[index].file_size:
            return None
        return os.pread(fd, size, parts[index].file_offset + address - starts[index])

    return read


def stored_ranges(file: BinaryIO, core: ElfCore) -> list[tuple[int, int]]:
    """(first, end) physical addresses of what the file holds: without its holes, and nothing of it twice.

    A segment for each gigabyte of the same megabyte would make a dump of any size of a small file.
    """
    ranges: list[tuple[int, int]] = []
    searched = 0
    for part in sorted(core.segments, key=lambda part: part.file_offset):
        reached, end = max(part.file_offset, searched), part.file_offset + part.file_size
        shift = part.physical_address - part.file_offset
        for first, last in data_extents(file.fileno(), reached, end):
            # Whole pages of memory, wherever the blocks of the file system lie.
            start = max(reached, first - (first - part.file_offset) % _PAGE)
            reached = min(end, last + -(last - part.file_offset) % _PAGE)
            if start < reached:
                ranges.append((start + shift, reached + shift))
        searched = max(searched, end)
    return ranges


def _need(name: str, what: str, end: int, file_size: int) -> None:
    if end > file_size:
        raise TargetError(
            f"{name}: truncated: its {what} should reach byte {end}, but the file ends at {file_size} "
            f"({end - file_size} bytes are missing), and without them nothing can be read"
        )


def _read_notes(chunks: Iterable[bytes]) -> tuple[bytes | None, set[bytes]]:
    """The VMCOREINFO note, and the names of all others."""
    vmcoreinfo: bytes | None = None
    others: set[bytes] = set()
    every = (note for chunk in chunks for note in _iter_notes(chunk))
    for note_name, description in islice(every, _MAX_NOTES):
        if note_name == b"VMCOREINFO":
            vmcoreinfo = description
        else:
            others.add(note_name)
    return vmcoreinfo, others


def _iter_notes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, description) of each note; stops at the first that does not fit (kernels pad with zeros)."""
    offset = 0
    while True:
        if offset + _NHDR.size > len(data):
            return
        name_size, description_size, _ = _NHDR.unpack_from(data, offset)
        name_start = offset + _NHDR.size
        start = name_start + (name_size + 3 & ~3)
        if start + description_size > len(data) or not name_size:
            return
        yield data[name_start : name_start + name_size].rstrip(b"\0"), data[start : start + description_size]
        offset = start + (description_size + 3 & ~3)


def write_vmcore(
    target: str | os.PathLike[str] | BinaryIO, vmcoreinfo: bytes, segments: Iterable[tuple[int, int, bytes]]
) -> int:
    """Write an ELF vmcore that drgn, crash and makedumpfile open, and return its size in bytes.

    :param vmcoreinfo: the text of the kernel's VMCOREINFO.
    :param segments: (physical address, virtual address, bytes), page aligned, in any order; adjoining
        ones become one ``PT_LOAD``. The virtual address is that of the direct map: drgn reads it without
        page tables, so with any other (0, say) a NULL pointer would read memory instead of faulting.
    """
    if isinstance(target, str | os.PathLike):
        with Path(target).open("wb") as file:
            return write_vmcore(file, vmcoreinfo, segments)
    runs = _merge(segments)
    sizes = [sum(map(len, pages)) for _, _, pages in runs]
    # The large ones, which hold types and symbols, come last: who has these already reads none of them.
    places = sorted(range(len(runs)), key=lambda at: sizes[at] >= LARGE)
    note = _NHDR.pack(len(b"VMCOREINFO\0"), len(vmcoreinfo), 0) + b"VMCOREINFO\0\0"
    note += vmcoreinfo + bytes(-len(vmcoreinfo) % 4)
    phnum = 1 + len(runs)
    extended = phnum >= _PN_XNUM
    note_offset = _EHDR.size + phnum * _PHDR.size + (_SHDR.size if extended else 0)
    offset = note_offset + len(note) + _PAGE - 1 & -_PAGE
    headers = [_PHDR.pack(_PT_NOTE, 0, note_offset, 0, 0, len(note), len(note), 4), *[b""] * len(runs)]
    for at in places:
        physical, virtual, _ = runs[at]
        headers[1 + at] = _PHDR.pack(_PT_LOAD, 7, offset, virtual, physical, sizes[at], sizes[at], _PAGE)
        offset += sizes[at]
    ident = ELF_MAGIC + bytes((2, 1, 1)) + bytes(9)
    shoff = note_offset - _SHDR.size if extended else 0
    count = _PN_XNUM if extended else phnum
    section_size, sections = (_SHDR.size, 1) if extended else (0, 0)
    target.write(
        _EHDR.pack(
            ident, _ET_CORE, _EM_X86_64, 1, 0, _EHDR.size, shoff, 0, _EHDR.size, _PHDR.size, count,
            section_size, sections, 0,
        )
    )  # fmt: skip
    target.write(b"".join(headers))
    if extended:
        target.write(_SHDR.pack(0, 0, 0, 0, 0, 0, 0, phnum, 0, 0))
    target.write(note + bytes(-(note_offset + len(note)) % _PAGE))
    for at in places:
        for page in runs[at][2]:  # zstandard's writer has no writelines()
            target.write(page)
    return offset


def _merge(segments: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, list[bytes]]]:
    """Sort by physical address and join neighbours that are neighbours in both address spaces."""
    runs: list[tuple[int, int, list[bytes]]] = []
    end = -1
    for physical, virtual, data in sorted(segments, key=lambda segment: segment[0]):
        if physical % _PAGE or virtual % _PAGE or len(data) % _PAGE or not data:
            raise ValueError(f"segment at {physical:#x} is not made of whole pages")
        if physical < end:
            raise ValueError(f"segment at {physical:#x} overlaps the one before it")
        if physical == end and virtual - runs[-1][1] == physical - runs[-1][0]:
            runs[-1][2].append(data)
        else:
            runs.append((physical, virtual, [data]))
        end = physical + len(data)
    return runs
