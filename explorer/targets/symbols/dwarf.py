"""Load DWARF debug info for a kernel, after checking that the files belong to it.

drgn ignores a file whose build id does not match, with no more than a log line; a user who named the file
wants to hear why.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from drgn import MainModule, MissingDebugInfoError, Program

from explorer.targets.drgn_calls import capture_log, drgn_errors
from explorer.targets.dumps import open_file
from explorer.targets.errors import TargetError

__all__ = ("ElfFile", "debug_places", "load_dwarf", "read_elf")

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_NHDR = struct.Struct("<III")
_PT_NOTE = 4
_SHT_NOTE = 7
_ET_REL = 1
_NT_GNU_BUILD_ID = 3
_MAX_HEADERS = 4096
#: Bytes, in all areas: a vmlinux has less than a kilobyte.
_MAX_NOTES = 1 << 20


def debug_places() -> list[Path]:
    """Where the running kernel's vmlinux with debug info may be, by what distributions do."""
    release = platform.release()
    return [
        Path(f"/usr/lib/debug/boot/vmlinux-{release}"),
        Path(f"/usr/lib/debug/lib/modules/{release}/vmlinux"),
        Path(f"/lib/modules/{release}/build/vmlinux"),
        Path(f"/boot/vmlinux-{release}"),
    ]


class ElfFile:
    """What matters of an ELF file given as symbols: its build id in hex, and whether it is a module (``.ko``)."""

    def __init__(self, path: Path, build_id: str | None, *, is_module: bool) -> None:
        self.path = path
        self.build_id = build_id
        self.is_module = is_module


def read_elf(path: Path) -> ElfFile:
    """Read the build id note of a 64-bit little-endian ELF file.

    :raises TargetError: if the file cannot be read or is no such ELF file.
    """
    try:
        with open_file(path, "-s") as file:
            raw = file.read(_EHDR.size)
            if len(raw) < _EHDR.size or raw[:6] != b"\x7fELF\x02\x01":
                raise TargetError(
                    f"{path} is not a 64-bit little-endian ELF file: give a vmlinux or .ko with debug info"
                )
            header = _EHDR.unpack(raw)
            build_id = _find_build_id(file, _note_areas(file, header))
            return ElfFile(path, build_id, is_module=header[1] == _ET_REL)
    except OSError as error:
        raise TargetError(f"cannot read symbols from {path}: {error.strerror or error}") from error


def _find_build_id(file: BinaryIO, areas: list[tuple[int, int]]) -> str | None:
    left = _MAX_NOTES
    for offset, size in areas:
        notes = _at(file, offset, min(size, left))
        left -= len(notes)
        if found := _build_id(notes):
            return found
    return None


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset >= 1 << 63:
        return b""
    file.seek(offset)
    return file.read(min(size, _MAX_NOTES))


def _note_areas(file: BinaryIO, header: tuple[int, ...]) -> list[tuple[int, int]]:
    """(offset, size) of the note segments, then of the note sections (a .ko has no segments)."""
    phoff, shoff, phentsize, phnum, shentsize, shnum = header[5], header[6], *header[9:13]
    areas = []
    if phentsize == _PHDR.size:
        table = _at(file, phoff, min(phnum, _MAX_HEADERS) * _PHDR.size)
        for segment in _PHDR.iter_unpack(table[: len(table) // _PHDR.size * _PHDR.size]):
            if segment[0] == _PT_NOTE:
                areas.append((segment[2], segment[5]))
    if shentsize == _SHDR.size:
        table = _at(file, shoff, min(shnum, _MAX_HEADERS) * _SHDR.size)
        for section in _SHDR.iter_unpack(table[: len(table) // _SHDR.size * _SHDR.size]):
            if section[1] == _SHT_NOTE:
                areas.append((section[4], section[5]))
    return areas


def _build_id(notes: bytes) -> str | None:
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, kind = _NHDR.unpack_from(notes, at)
        name = at + _NHDR.size
        body = name + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0":
            return notes[body : body + size].hex() or None
        at = body + (size + 3 & ~3)
    return None


def load_dwarf(prog: Program, build_id: str, symbols: Sequence[Path], *, force: bool) -> None:
    """Load debug info: from the given files, or from where drgn finds it by itself.

    :param build_id: the kernel's own, from VMCOREINFO ("" if it has none).
    :param force: take a vmlinux of another build all the same.
    :raises TargetError: if a file is not what it should be, or none has debug info for the kernel.
    """
    files = [read_elf(path) for path in symbols]
    kernels = [file for file in files if not file.is_module]
    for file in kernels:
        if build_id and file.build_id != build_id and not force:
            raise TargetError(
                f"{file.path} has build id {file.build_id or '(none)'}, but the kernel has {build_id}: "
                "give the vmlinux of this very kernel, or say --force"
            )
    with capture_log(), drgn_errors("debug info cannot be loaded"):
        if force:
            for file in kernels:
                _main_module(prog).try_file(file.path, force=True)
        # What is found is loaded even when that of some modules is missing; what counts is judged below.
        with suppress(MissingDebugInfoError):
            prog.load_debug_info([str(file.path) for file in files], default=not files, main=not kernels)
    if _main_module(prog).wants_debug_file():
        if kernels:
            raise TargetError(
                f"{kernels[0].path} has no debug info: give a vmlinux with DWARF, or leave out -s to use BTF"
            )
        raise TargetError("no debug info was found for this kernel: give its vmlinux with -s, or use BTF")


def _main_module(prog: Program) -> MainModule:
    try:
        return prog.main_module()
    except LookupError:
        return prog.main_module("kernel", create=True)
