"""Read a kernel module's file: undefined symbols and .modinfo, out of a relocatable ELF file that may be compressed.

The layout is that of elf(5). Nothing in the file is believed: every offset is checked against the file's size, every
table has a greatest size, and what is wrong is said in one line.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from explorer.model import ModuleFile, kernel_text
from explorer.targets.dumps import COMPRESSED, Format, decompress, open_file, sniff
from explorer.targets.errors import TargetError

__all__ = ("read_module_file",)

_ET_REL = 1
_SHT_SYMTAB, _SHT_NOBITS = 2, 8
_SHN_UNDEF, _SHN_XINDEX = 0, 0xFFFF
#: The largest module of a distribution has 30 MB with debug info; its symbols have 2 MB.
_MAX_FILE = 1 << 30
_MAX_SECTIONS = 1 << 17
_MAX_TABLE = 64 << 20
_MAX_MODINFO = 1 << 20
#: Undefined symbols; the most that a module of Debian's has are 637 (btrfs). Each name costs up to ``_MAX_NAME``, also
#: where names lie in one another.
_MAX_UNDEFINED = 1 << 16
_MAX_NAME = 512
_HEAD = 4096
_ENDINGS = (".xz", ".zst", ".gz", ".ko")


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    type: int
    offset: int
    size: int
    link: int


class _Elf:
    """A 64-bit relocatable ELF file, either byte order."""

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file, self._label = file, label
        self._size = os.fstat(file.fileno()).st_size
        head = os.pread(file.fileno(), 64, 0)
        if len(head) < 64 or head[:4] != b"\x7fELF":
            raise self.fault("not an ELF file; give a kernel module, NAME.ko, or one compressed")
        if head[4] != 2 or head[5] not in (1, 2):
            raise self.fault("not a 64-bit ELF file: only modules of 64-bit kernels can be read")
        self.order = "<" if head[5] == 1 else ">"
        fields = struct.unpack(f"{self.order}16sHHIQQQIHHHHHH", head)
        if fields[1] != _ET_REL:
            raise self.fault("an ELF file, but not a relocatable one: no kernel module")
        self.sections = self._sections(fields[6], fields[11], fields[12])
        names_index = self.sections[0].link if fields[13] == _SHN_XINDEX else fields[13]
        self._names = self.content(self._section(names_index), _MAX_TABLE)

    def fault(self, what: str) -> TargetError:
        return TargetError(f"{self._label}: {what}")

    def _sections(self, offset: int, entry: int, count: int) -> list[_Section]:
        form = struct.Struct(f"{self.order}IIQQQQIIQQ")
        if entry != form.size:
            raise self.fault("damaged: its section headers have the wrong size")
        if count == 0:  # more than fit: the first section has the number
            count = form.unpack(self._read(offset, form.size))[5]
        if not 0 < count <= _MAX_SECTIONS:
            raise self.fault(f"damaged: {count} sections")
        table = self._read(offset, count * form.size)
        return [
            _Section(name, kind, at, size, link)
            for name, kind, _, _, at, size, link, _, _, _ in form.iter_unpack(table)
        ]

    def _section(self, index: int) -> _Section:
        if index >= len(self.sections):
            raise self.fault(f"damaged: there is no section {index}")
        return self.sections[index]

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise self.fault("truncated or damaged: it points beyond its end")
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise self.fault("it became shorter while it was read")
        return data

    def content(self, section: _Section, limit: int) -> bytes:
        """The bytes of a section."""
        if section.size > limit:
            raise self.fault(f"damaged: a section of {section.size} bytes where {limit} would be many")
        return b"" if section.type == _SHT_NOBITS else self._read(section.offset, section.size)

    def find(self, name: bytes) -> _Section | None:
        """The first section of that name."""
        for section in self.sections:
            if _string(self._names, section.name) == name:
                return section
        return None

    def undefined(self) -> list[str]:
        """Names of the undefined symbols, sorted. :raises TargetError: if the file has no symbol table"""
        tables = [section for section in self.sections if section.type == _SHT_SYMTAB]
        if len(tables) != 1:
            raise self.fault(f"{len(tables)} symbol tables, where a kernel module has one")
        names = self.content(self._section(tables[0].link), _MAX_TABLE)
        form = struct.Struct(f"{self.order}IBBHQQ")
        symbols = self.content(tables[0], _MAX_TABLE)
        symbols = symbols[: len(symbols) - len(symbols) % form.size]
        found = set()
        for name, _, _, section, _, _ in form.iter_unpack(symbols):
            if section == _SHN_UNDEF and name:
                found.add(_string(names, name))
                if len(found) > _MAX_UNDEFINED:
                    raise self.fault(f"damaged: more than {_MAX_UNDEFINED} undefined symbols")
        return sorted(map(kernel_text, found))


def _string(table: bytes, offset: int) -> bytes:
    """The NUL-terminated string at ``offset``, cut where it is absurd; empty outside the table."""
    return table[offset : offset + _MAX_NAME].partition(b"\0")[0]


def read_module_file(path: Path) -> ModuleFile:
    """Read ``NAME.ko``, ``.ko.xz``, ``.ko.zst`` or ``.ko.gz``; the content decides, not the name.

    :raises TargetError: if it cannot be read, is damaged, or is no kernel module
    """
    label = str(path)
    try:
        with open_file(path, "ko") as file:
            if os.fstat(file.fileno()).st_size > _MAX_FILE:
                raise TargetError(f"{label}: larger than 1 GB: no kernel module")
            form = sniff(os.pread(file.fileno(), _HEAD, 0))
            if form not in COMPRESSED:
                return _read_elf(path, _Elf(file, label))
            with decompress(file, Format(form), label, limit=_MAX_FILE) as plain:
                return _read_elf(path, _Elf(plain, label))
    except OSError as error:
        raise TargetError(f"{label}: {error.strerror or error}") from error


def _read_elf(path: Path, elf: _Elf) -> ModuleFile:
    section = elf.find(b".modinfo")
    if section is None:
        raise elf.fault("an object file, but no kernel module: it has no .modinfo")
    info: dict[bytes, bytes] = {}
    for entry in elf.content(section, _MAX_MODINFO).split(b"\0"):
        key, equals, value = entry.partition(b"=")
        if equals:
            info.setdefault(key, value[:_MAX_NAME])
    name = info.get(b"name")
    return ModuleFile(
        path=str(path),
        name=_stem(path) if name is None else kernel_text(name),
        vermagic=kernel_text(info[b"vermagic"]).strip() if b"vermagic" in info else None,
        license=kernel_text(info[b"license"]) if b"license" in info else None,
        undefined=elf.undefined(),
    )


def _stem(path: Path) -> str:
    name = path.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
