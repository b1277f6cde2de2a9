"""Mutators of memory as other tools leave it: LiME, cores without virtual addresses, crash folders, bzip2 and lz4."""

from __future__ import annotations

import bz2
import random
import struct
from collections.abc import Callable

import lz4.frame

from tests.foreign import lime_header

from .bases import SMALLEST, Bases
from .formats import EDGES, FileCase, mutate_bytes, set_fields

__all__ = ("FOREIGN_MUTATORS",)

_LIME_HEADER = 32
_LIME_FIELDS = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8))
#: Names that kdump-tools and kdump give, and what they are not given to.
_NAMES = (
    "dump.1",
    "dump-incomplete",
    "dmesg.1",
    "vmcore",
    "vmcore.flat",
    "vmcore-dmesg.txt",
    "x" * 200,
    "a\x1b[31m",
)


def _info(bases: Bases, rng: random.Random) -> bytes | None:
    """Mostly given: a slice need not hold the page with it."""
    return bases.vmcoreinfo(SMALLEST) if rng.random() < 0.7 else None


def _lime(bases: Bases, rng: random.Random) -> FileCase:
    """Headers of ranges at the edges; ranges doubled, dropped, in another order; the file cut."""
    content = bases.lime()
    heads, at = [], 0
    while at < len(content):
        first, last = struct.unpack_from("<QQ", content, at + 8)
        heads.append(at)
        at += _LIME_HEADER + last + 1 - first
    match rng.randrange(5):
        case 0:
            fields = [(head + offset, size) for head in heads for offset, size in _LIME_FIELDS]
            content = set_fields(content, fields, rng)
        case 1:
            ends = [*heads[1:], len(content)]
            parts = [content[first:end] for first, end in zip(heads, ends, strict=True)]
            rng.shuffle(parts)
            if rng.random() < 0.5:
                parts[rng.randrange(len(parts))] = rng.choice(parts)
            content = b"".join(parts)
        case 2:
            content = content[: rng.choice((rng.randrange(100), rng.randrange(len(content)), -20))]
        case 3:
            low = rng.choice(EDGES)
            high = min(low + rng.choice((1, 4096, 1 << 40)), 2**64)
            content += rng.choice((1, 1000)) * (lime_header(low, high) + b"x")
        case _:
            content = mutate_bytes(content, rng)
    return FileCase(content, ".lime", vmcoreinfo=_info(bases, rng))


def _physical_core(bases: Bases, rng: random.Random) -> FileCase:
    """Program headers and notes of a core that has no virtual addresses."""
    content = bases.physical_core()
    count = struct.unpack_from("<H", content, 56)[0]
    fields = [
        (64 + 56 * at + offset, size)
        for at in range(count)
        for offset, size in ((0, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8))
    ]
    if rng.random() < 0.7:
        content = set_fields(content, fields, rng)
    elif rng.random() < 0.7:
        content = mutate_bytes(content, rng, 0, 64 + 56 * count + 2048)
    else:
        content = content[: rng.randrange(len(content))]
    return FileCase(content, ".core", vmcoreinfo=_info(bases, rng))


def _crash_folder(bases: Bases, rng: random.Random) -> FileCase:
    """A dump, damaged or not, among files with all names that such a folder may have."""
    names = rng.sample(_NAMES, rng.randint(1, 4))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: b"[    0.000000] Linux version\n",
        bases.kdump,
        bases.flattened,
        lambda: bases.elf(SMALLEST),
        lambda: bz2.compress(bases.kdump()[: 1 << 20], 1),
        lambda: mutate_bytes(bases.kdump(), rng),
    )
    # Mostly one dump: more than one is refused.
    contents = [rng.choice(kinds)(), *(rng.choice(kinds[: rng.choice((2, 7))])() for _ in names[1:])]
    return FileCase(b"", "", beside=tuple(zip(names, contents, strict=True)))


def _bzip2_and_lz4(bases: Bases, rng: random.Random) -> FileCase:
    """Of a snapshot or a dump: damaged, cut, doubled, or much of nothing."""
    plain = rng.choice((bases.snapshot_json(SMALLEST), bases.elf(SMALLEST)[: 1 << 20]))
    if rng.random() < 0.1:
        plain = rng.choice((b"", b'{"schema_version":1', b"\x7fELF")) + bytes(
            rng.choice((0, 1 << 20, 64 << 20))
        )
    pack = rng.choice((lambda data: bz2.compress(data, 1), lz4.frame.compress))
    content: bytes = pack(plain)
    if rng.random() < 0.7:
        content = mutate_bytes(content, rng)
    if rng.random() < 0.1:
        content = pack(content)
    if rng.random() < 0.1:
        content += rng.choice((content, pack(b"") * 70_000, bytes(100)))
    return FileCase(content, ".lz4")


FOREIGN_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {
    "lime": _lime,
    "physical-core": _physical_core,
    "crash-folder": _crash_folder,
    "bzip2-lz4": _bzip2_and_lz4,
}
