"""VMCOREINFO: the text in which a kernel describes itself to whoever reads its memory.

``crash_save_vmcoreinfo_init()`` (kernel/vmcore_info.c) fills one page with ``KEY=value`` lines. A dump
carries it as an ELF note; a guest without ``-device vmcoreinfo`` and a raw memory image have it only in
memory, where :func:`find_vmcoreinfo` looks for it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from explorer.targets.errors import TargetError
from explorer.targets.spec import Progress, no_progress

__all__ = (
    "MAX_VMCOREINFO",
    "PhysicalRead",
    "VmcoreInfo",
    "find_vmcoreinfo",
    "parse_found",
    "starts_in",
    "text_at",
)

#: The kernel limits its text to one page (``VMCOREINFO_BYTES``); a crash kernel may append a few lines.
MAX_VMCOREINFO = 64 * 1024

_PAGE = 4096
_CHUNK = 8 << 20
#: The text has a page to itself (``vmcoreinfo_data``). In the note's buffer (``vmcoreinfo_note``) the note's header
#: and its name are in front.
_IN_NOTE = 24
#: Different texts, and bytes of them, that are looked at: 2 s of parsing. A host may hold those of a thousand guests.
_MAX_TEXTS = 1 << 13
_MAX_TEXTS_SIZE = 16 << 20
#: Pages that are tried and cannot be read, 256 MB or 1 s of them: then the rest is not tried.
_MAX_UNREADABLE = 1 << 16
_START = b"OSRELEASE="
_NEEDED = (b"\nPAGESIZE=4096\n", b"\nSYMBOL(swapper_pg_dir)=", b"\nSYMBOL(_stext)=")
_TEXT = re.compile(rb"[\n\x20-\x7e]*")
_LINE = re.compile(r"(?:(SYMBOL|NUMBER|OFFSET|SIZE|LENGTH)\(([^()]+)\)|([A-Z][A-Z0-9_-]*))=(.*)")
_RELEASE = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?")
#: ``__NEW_UTS_LEN``: what ``uname -r`` can hold.
_RELEASE_LENGTH = 64


class PhysicalRead(Protocol):
    """Reads physical memory: ``size`` bytes at ``address``, or ``None`` if any of them is not there."""

    def __call__(self, address: int, size: int, /) -> bytes | None: ...


class VmcoreInfo(NamedTuple):
    """Parsed VMCOREINFO. A value that is absent or unreadable is absent from its dict, never a zero."""

    raw: bytes
    osrelease: str
    #: Lower-case hex; ``None`` where the kernel has none, or writes garbage.
    build_id: str | None
    page_size: int
    symbols: dict[str, int]
    numbers: dict[str, int]
    offsets: dict[str, int]
    sizes: dict[str, int]
    lengths: dict[str, int]
    #: How far KASLR moved the kernel's virtual addresses (``KERNELOFFSET``).
    kernel_offset: int
    #: When the kernel crashed by its own clock, in seconds since 1970 (``CRASHTIME``); ``None``: it did not, or not so
    #: that it could say.
    crash_time: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> VmcoreInfo:
        """Parse the text. Raises :class:`TargetError` if it does not describe an x86_64 kernel."""
        if len(raw) > MAX_VMCOREINFO:
            raise TargetError(f"VMCOREINFO of {len(raw)} bytes is too long to be true (damaged dump?)")
        tables: dict[str, dict[str, int]] = {
            name: {} for name in ("SYMBOL", "NUMBER", "OFFSET", "SIZE", "LENGTH")
        }
        plain: dict[str, str] = {}
        for line in raw.split(b"\0", 1)[0].decode("ascii", "replace").split("\n"):
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            table, name, key, value = match.groups()
            if key is not None:
                plain.setdefault(key, value)
            elif (number := _number(value, hexadecimal=table == "SYMBOL")) is not None:
                tables[table].setdefault(name, number)
        info = cls(
            raw=raw,
            osrelease=plain.get("OSRELEASE", ""),
            build_id=_build_id(plain),
            page_size=_number(plain.get("PAGESIZE", ""), hexadecimal=False) or 0,
            symbols=tables["SYMBOL"],
            numbers=tables["NUMBER"],
            offsets=tables["OFFSET"],
            sizes=tables["SIZE"],
            lengths=tables["LENGTH"],
            kernel_offset=_number(plain.get("KERNELOFFSET", ""), hexadecimal=True) or 0,
            crash_time=_number(plain.get("CRASHTIME", ""), hexadecimal=False) or None,
        )
        if (
            not 0 < len(info.osrelease) <= _RELEASE_LENGTH
            or info.page_size != _PAGE
            or "swapper_pg_dir" not in info.symbols
        ):
            raise TargetError(
                "VMCOREINFO lacks a valid OSRELEASE, PAGESIZE=4096 or SYMBOL(swapper_pg_dir): "
                "not an x86_64 Linux kernel, or damaged (give the right one with --vmcoreinfo)"
            )
        return info


def _number(text: str, *, hexadecimal: bool) -> int | None:
    """``NUMBER()`` is decimal or 0x-prefixed, perhaps negative; ``SYMBOL()``, ``KERNELOFFSET`` bare hex."""
    if len(text) > 40:
        return None
    try:
        return int(text, 16 if hexadecimal else 0)
    except ValueError:
        return None


def _build_id(plain: dict[str, str]) -> str | None:
    """``BUILD-ID``, unless the kernel is one of the few stable releases that write garbage there.

    Commit 905415ff3ffb ("lib/buildid: harden build ID parsing logic") was backported without the commits
    it needs.
    """
    text = plain.get("BUILD-ID", "").lower()
    if not re.fullmatch(r"(?:[0-9a-f]{2}){4,32}", text):
        return None
    match = _RELEASE.match(plain.get("OSRELEASE", ""))
    if match is not None:
        branch = (int(match[1]), int(match[2]))
        patch = int(match[3] or 0)
        first, fixed = _GARBAGE_BUILD_ID.get(branch, (0, 0))
        if first <= patch < fixed:
            return None
    return text


#: Branch -> first broken release, first fixed one (branches that ended broken have no fixed one).
_GARBAGE_BUILD_ID = {
    (5, 15): (168, 1 << 31),
    (6, 1): (113, 119),
    (6, 6): (55, 63),
    (6, 10): (14, 1 << 31),
    (6, 11): (3, 10),
}


def text_at(data: bytes | mmap.mmap, start: int) -> bytes | None:
    """The VMCOREINFO text at ``data[start:]``, or ``None`` if what is there is something else."""
    match = _TEXT.match(data, start, start + _PAGE)
    end = match.end() if match is not None else start
    text = data[start : data.rfind(b"\n", start, end) + 1]
    return text if all(needle in text for needle in _NEEDED) else None


def find_vmcoreinfo(
    read: PhysicalRead, ranges: Iterable[tuple[int, int]], progress: Progress = no_progress
) -> Iterator[tuple[int, bytes]]:
    """Yield (physical address, text) of everything in memory that looks like VMCOREINFO.

    There is more than one: the kernel's own page, the copy inside its ELF note, and stale ones (an
    earlier boot, a file in the page cache). :func:`explorer.targets.dumps.pagetable.describes_memory` tells
    which is true.

    :param ranges: (first, end) physical addresses of RAM, page aligned; all are searched, so leave out what the target
        only claims to have.
    """
    total = sum(end - first for first, end in ranges) if isinstance(ranges, Sequence) else None
    done = found = unreadable = 0
    seen: set[bytes] = set()
    for first, end in ranges:
        for address in range(first, end, _CHUNK):
            size = min(_CHUNK, end - address)
            # A text may lie across two chunks: read one page more than is searched.
            data = read(address, min(size + _PAGE, end - address))
            if not data:
                data, missing = _readable_pages(read, address, size)
                unreadable += missing
                if unreadable > _MAX_UNREADABLE:
                    return
            for position in _starts(data, address, size):
                text = text_at(data, position)
                if text is None or text in seen:
                    continue
                seen.add(text)
                found += len(text)
                if len(seen) > _MAX_TEXTS or found > _MAX_TEXTS_SIZE:
                    return
                yield address + position, text
            done += size
            progress("looking for VMCOREINFO in memory", done, total)


def _starts(data: bytes, address: int, size: int) -> Iterator[int]:
    """Where in the first ``size`` bytes of ``data``, read at ``address``, a text begins where the kernel puts one."""
    return (at for at in starts_in(data, _PAGE, address) if at < size)


def starts_in(data: bytes, each: int, address: int = 0) -> Iterator[int]:
    """Where in ``data`` a text seems to begin, of pages of which ``each`` bytes are there, the first at ``address``."""
    position = data.find(_START)
    while position >= 0:
        inside = (address + position) % each
        if inside in (0, _IN_NOTE):
            yield position
        position = data.find(_START, position + (_IN_NOTE if inside < _IN_NOTE else each) - inside)


def parse_found(found: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, VmcoreInfo]]:
    """What :func:`find_vmcoreinfo` found, parsed. What cannot be is passed over: any process can hold such a text."""
    for address, text in found:
        try:
            info = VmcoreInfo.parse(text)
        except TargetError:
            continue
        yield address, info


def _readable_pages(read: PhysicalRead, address: int, size: int) -> tuple[bytes, int]:
    """``size`` bytes at ``address`` with zeros for the pages that cannot be read, and the number of these."""
    hole = bytes(_PAGE)
    pages = [read(page, _PAGE) or hole for page in range(address, address + size, _PAGE)]
    return b"".join(pages), sum(page is hole for page in pages)
