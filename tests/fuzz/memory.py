"""Mutators of memory: what damage, a bug or an attacker leaves in a dump's pages."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

import drgn

from tests.holes import pages_of, structures

from .bases import WarmKernel

__all__ = ("MEMORY_MUTATORS", "Patch", "apply_patches")

_PAGE = 4096
_WORD = struct.Struct("<Q")
#: 64 TiB: with four levels of page tables, vmalloc space is behind it.
_DIRECT_MAP_SIZE = 1 << 46
_KERNEL_HALF = 0xFF00_0000_0000_0000
HOSTILE = (
    b"\x1b]0;owned\x07",
    b"\x1b[2J\x1b[31m",
    b"\x9b31m",
    b"=HYPERLINK(1)",
    b"@SUM(A1)",
    b"\t=1+1",
    b"\r\n\r\n",
    "\u202egnp.exe".encode(),
    "\u2066\u2069".encode(),
    b"[red]x[/red]",
    b"{0.__class__}",
    b"%s%n%x",
    b"../../etc/x",
    b"\xff\xfe\x80",
    b"<script>alert(1)",
    b"\x00",
    b"\\x1b[31m",
    b"a" * 255,
)


class Patch(NamedTuple):
    """Bytes that a reader shall see instead; ``None`` for the data: memory that is not there."""

    address: int
    size: int
    data: bytes | None
    physical: bool


def apply_patches(prog: drgn.Program, patches: list[Patch], direct_map: int) -> None:
    """Lay patches over a program's memory: what is in the direct map, over both of its addresses."""
    for patch in patches:
        read = _reader(patch)
        prog.add_memory_segment(patch.address, patch.size, read, patch.physical)
        if patch.physical:
            prog.add_memory_segment(direct_map + patch.address, patch.size, read, False)
        elif direct_map <= patch.address < direct_map + _DIRECT_MAP_SIZE:
            prog.add_memory_segment(patch.address - direct_map, patch.size, read, True)


def _reader(patch: Patch) -> Callable[[int, int, int, bool], bytes]:
    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        if patch.data is None:
            raise drgn.FaultError("not in the dump", address)
        return patch.data[offset : offset + count]

    return read


def _page(kernel: WarmKernel, address: int) -> bytearray:
    return bytearray(kernel.prog.read(address, _PAGE, True))


def _flip(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Bits of a few pages."""
    patches = []
    for address in rng.sample(kernel.pages, rng.randint(1, 8)):
        page = _page(kernel, address)
        for _ in range(1 << rng.randint(0, 6)):
            page[rng.randrange(_PAGE)] ^= 1 << rng.randrange(8)
        patches.append(Patch(address, _PAGE, bytes(page), True))
    return patches


def _zero(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Pages, or parts of them, that are zeros: what makedumpfile excluded."""
    patches = []
    for address in rng.sample(kernel.pages, 1 << rng.randint(0, 5)):
        start = rng.choice((0, 0, rng.randrange(_PAGE)))
        patches.append(Patch(address + start, _PAGE - start, bytes(_PAGE - start), True))
    return patches


def _missing(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Pages that are not there; or all from one on: a dump cut short."""
    if rng.random() < 0.3:
        first = rng.choice(kernel.pages)
        end = kernel.pages[-1] + _PAGE
        return [Patch(first, end - first, None, True)]
    return [Patch(address, _PAGE, None, True) for address in rng.sample(kernel.pages, 1 << rng.randint(0, 6))]


def _holes(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Pages that are not there, of those that tasks, fs_structs, mounts and what belongs to these lie on."""
    found = structures(kernel.prog, kernel.snapshot)
    pages = set()
    for _ in range(1 << rng.randint(0, 5)):
        name = rng.choice(sorted(name for name, addresses in found.items() if addresses))
        pages.add(rng.choice(pages_of(kernel.prog, name, rng.choice(found[name]))))
    return [Patch(page, _PAGE, None, False) for page in sorted(pages)]


def _crosslink(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Pointers of any structure, exchanged for other pointers or for their own address."""
    patches = []
    for address in rng.sample(kernel.pages, 1 << rng.randint(0, 5)):
        page = _page(kernel, address)
        words = [at for at in range(0, _PAGE, 8) if _WORD.unpack_from(page, at)[0] >= _KERNEL_HALF]
        if len(words) < 2:
            continue
        for at in rng.sample(words, min(len(words), 1 << rng.randint(0, 4))):
            own = kernel.direct_map + address + at
            other = _WORD.unpack_from(page, rng.choice(words))[0]
            value = rng.choice((own, own - 8, other, other, other + 8, _WORD.unpack_from(page, at)[0] ^ 8))
            _WORD.pack_into(page, at, value & (1 << 64) - 1)
        patches.append(Patch(address, _PAGE, bytes(page), True))
    return patches


def _linker(group: str) -> Callable[[WarmKernel, random.Random], list[Patch]]:
    """Pointers of one kind: rings of several, to itself, exchanged, or no pointers at all."""

    def link(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
        lists = kernel.sites[group]
        if not lists:
            return _crosslink(kernel, rng)
        patches = []
        for _ in range(rng.randint(1, 4)):
            sites = rng.choice(lists)
            ring = rng.sample(sites, min(len(sites), rng.randint(1, 4)))
            odd = (0, 1, 2**64 - 14, 0x4141414141414141, rng.getrandbits(64), rng.choice(sites).node)
            for at, site in enumerate(ring):
                node = ring[(at + 1) % len(ring)].node
                value = node if rng.random() < 0.7 else rng.choice((*odd, node ^ 1 << rng.randrange(48)))
                patches.append(Patch(site.address, 8, _WORD.pack(value), False))
        return patches

    return link


def _structure_words(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Any word of a task, mount, dentry, fs_struct, namespace or workqueue."""
    patches = []
    for _ in range(1 << rng.randint(0, 5)):
        site = rng.choice(rng.choice(kernel.sites["holders"]))
        size = rng.choice((1, 2, 4, 8))
        value = rng.choice((0, 1, 2**64 - 1, 2**63, 2**31, rng.getrandbits(64), site.node))
        at = site.address + rng.randrange(0, 512) // size * size
        patches.append(Patch(at, size, _WORD.pack(value)[:size], False))
    return patches


def _hostile_names(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Names of tasks and path components that are made to hurt a terminal, a spreadsheet or a parser."""
    patches = []
    for site in rng.sample(kernel.sites["comm"][0], 16):
        name = (rng.choice(HOSTILE) + bytes(rng.randrange(256) for _ in range(16)))[:16]
        patches.append(Patch(site.address, 16, name if rng.random() < 0.1 else name[:15] + b"\0", False))
    for site in rng.sample(kernel.sites["names"][0], 8):
        name = rng.choice(HOSTILE)[:24]
        patches.append(Patch(site.node, len(name), name, False))
        length = rng.choice((len(name), len(name), 0, 255, 256, 2**32 - 1))
        patches.append(Patch(site.address, 4, struct.pack("<I", length), False))
    return patches


MEMORY_MUTATORS: dict[str, Callable[[WarmKernel, random.Random], list[Patch]]] = {
    "page-flip": _flip,
    "page-zero": _zero,
    "page-missing": _missing,
    "holes": _holes,
    "crosslink": _crosslink,
    "list-pointers": _linker("list-pointers"),
    "dentry-parents": _linker("dentry-parents"),
    "mount-parents": _linker("mount-parents"),
    "overmounts": _linker("overmounts"),
    "rb-trees": _linker("rb-trees"),
    "fs-pointers": _linker("fs-pointers"),
    "structure-words": _structure_words,
    "hostile-names": _hostile_names,
}
