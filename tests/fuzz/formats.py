"""Mutators of files: headers, records, documents and caches, as a broken disk or a stranger would leave them."""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import random
import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import zstandard

from explorer.targets.symbols import typecache

from .bases import SMALLEST, Bases, flatten
from .memory import HOSTILE

__all__ = ("EDGES", "FILE_MUTATORS", "FileCase", "changed_json", "mutate_bytes", "mutate_part", "set_fields")

_PAGE = 4096
_ODD_TEXTS = ("0x", "0x" + "f" * 16, "0x" + "f" * 17, "0xzz", "٣", "x" * 70_000, "isolated", "\ud800")
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


class FileCase(NamedTuple):
    """A file to open, and what else the command line or the machine holds."""

    content: bytes
    suffix: str
    options: tuple[str, ...] = ()
    vmcoreinfo: bytes | None = None
    cache_of: str | None = None
    """``content`` is the type cache of this slice, which is what is opened."""
    beside: tuple[tuple[str, bytes], ...] = ()
    """The files of the folder that is opened."""


def mutate_bytes(data: bytes, rng: random.Random, low: int = 0, high: int | None = None) -> bytes:
    """Flip, set, cut, repeat or insert, within ``[low, high)``."""
    out = bytearray(data)
    end = min(len(out), high if high is not None else len(out))
    for _ in range(1 << rng.randint(0, 4)):
        if end <= low:
            break
        at = rng.randrange(low, end)
        match rng.randrange(6):
            case 0 | 1:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                size = rng.choice((1, 2, 4, 8))
                out[at : at + size] = struct.pack("<Q", rng.choice(EDGES))[:size][: len(out) - at]
            case 3:
                size = rng.randint(1, 64)
                out[at : at + size] = bytes(min(size, len(out) - at))
            case 4 if rng.random() < 0.2:
                del out[at : at + rng.randint(1, 64)]
            case _ if rng.random() < 0.2:
                out[at:at] = rng.choice(HOSTILE)
        end = min(end, len(out))
    return bytes(out[: rng.randrange(len(out) + 1)]) if rng.random() < 0.08 else bytes(out)


def set_fields(data: bytes, layout: list[tuple[int, int]], rng: random.Random) -> bytes:
    """Set whole fields, (offset, size) each, to values at the edges or near what they are."""
    out = bytearray(data)
    for offset, size in rng.sample(layout, rng.randint(1, min(3, len(layout)))):
        old = int.from_bytes(out[offset : offset + size], "little")
        new = rng.choice((*EDGES, old + 1, old - 1, old * 2, old ^ 1 << rng.randrange(size * 8)))
        out[offset : offset + size] = (new & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(out)


def _elf_headers(bases: Bases, rng: random.Random) -> FileCase:
    content = bases.elf(SMALLEST)
    phnum = struct.unpack_from("<H", content, 56)[0]
    header = [(4, 1), (5, 1), (16, 2), (18, 2), (32, 8), (40, 8), (48, 4), (54, 2), (56, 2), (60, 2)]
    segments = [
        (64 + 56 * at + offset, size)
        for at in range(phnum)
        for offset, size in ((0, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8))
    ]
    match rng.randrange(4):
        case 0:
            content = set_fields(content, header, rng)
        case 1:
            content = set_fields(content, segments, rng)
        case 2:
            content = mutate_bytes(content, rng, 0, 64 + 56 * phnum + 2048)
        case _:
            content = content[: rng.choice((rng.randrange(200), rng.randrange(len(content))))]
    return FileCase(content, ".elf")


def _kdump_headers(bases: Bases, rng: random.Random) -> FileCase:
    content = bases.kdump()
    blocks = struct.unpack_from("<I", content, 436)[0]
    descriptors = (2 + blocks) * _PAGE
    count = 1024
    match rng.randrange(5):
        case 0:
            layout = [(8, 4), (424, 4), (428, 4), (432, 4), (436, 4), (440, 4), (444, 4), (460, 4)]
            content = set_fields(content, layout, rng)
        case 1:
            content = set_fields(content, [(_PAGE + at, 8) for at in range(0, 104, 8)], rng)
        case 2:
            content = mutate_bytes(content, rng, 2 * _PAGE, descriptors)
        case 3:
            layout = [
                (descriptors + 24 * at + offset, size)
                for at in range(count)
                for offset, size in ((0, 8), (8, 4), (12, 4), (16, 8))
            ]
            content = set_fields(content, layout, rng)
        case _:
            content = mutate_bytes(content, rng)
    return FileCase(content, ".kdump")


def _flattened(bases: Bases, rng: random.Random) -> FileCase:
    content = bases.flattened()
    records, at = [], _PAGE
    while at + 16 <= len(content):
        records.append(at)
        at += 16 + max(0, struct.unpack_from(">q", content, at + 8)[0])
    out = bytearray(content)
    match rng.randrange(4):
        case 0:
            for at in rng.sample(records, rng.randint(1, 3)):
                value = rng.choice((*EDGES, rng.getrandbits(40)))
                struct.pack_into(">Q", out, at + rng.choice((0, 8)), value)
        case 1:
            out = bytearray(mutate_bytes(content, rng, 0, _PAGE))
        case 2:
            out = bytearray(mutate_bytes(content, rng))
        case _:
            del out[rng.randrange(len(out)) :]
    return FileCase(bytes(out), ".flat")


def _short(bases: Bases, rng: random.Random) -> FileCase:
    """A dump that lacks something: filtered, never written whole, cut off, also in what it is packed in.

    No byte that is there is changed: what is read of it is as it was, or missing.
    """
    content, suffix = rng.choice((_short_elf, _short_kdump))(bases, rng)
    if rng.random() < 0.4:
        content = flatten(content, rng.choice((_PAGE, 1 << 16)))
    if rng.random() < 0.6:
        content = _cut(content, rng)
    if rng.random() < 0.3:
        pack = rng.choice((zstandard.ZstdCompressor(level=1).compress, lambda data: gzip.compress(data, 1)))
        content = _cut(pack(content), rng)
    return FileCase(content, suffix)


def _cut(content: bytes, rng: random.Random) -> bytes:
    """Anywhere; mostly not far from the end, or little of the dump would ever be read."""
    lost = rng.choice((rng.randrange(200), rng.randrange(len(content) // 20), rng.randrange(len(content))))
    return content[: len(content) - min(lost, len(content) - 1)]


def _short_elf(bases: Bases, rng: random.Random) -> tuple[bytes, str]:
    """``makedumpfile -E``: the file holds less of a segment than the memory had, or makedumpfile says it gave up."""
    out = bytearray(bases.elf(SMALLEST))
    for number in range(struct.unpack_from("<H", out, 56)[0]):
        at = 64 + 56 * number
        kind, size = struct.unpack_from("<I28xQ", out, at)
        if kind == 1 and rng.random() < 0.1:
            kept = rng.choice((0, size - 1, size - _PAGE, rng.randrange(size)))
            struct.pack_into("<Q", out, at + 32, kept)
    struct.pack_into("<I", out, 48, rng.randrange(2))
    return bytes(out), ".elf"


def _short_kdump(bases: Bases, rng: random.Random) -> tuple[bytes, str]:
    """Descriptors, or what they lead to, were never written: zeros, which no zlib stream is."""
    out = bytearray(bases.kdump())
    descriptors = (2 + struct.unpack_from("<I", out, 436)[0]) * _PAGE
    count = int.from_bytes(out[descriptors // 2 + _PAGE : descriptors], "little").bit_count()
    for _ in range(rng.randrange(4)):
        first = descriptors + 24 * rng.randrange(count)
        some = 24 * rng.choice((1, rng.randrange(1, 200)))
        out[first : first + some] = bytes(len(out[first : first + some]))
    if rng.random() < 0.5:
        first = rng.randrange(descriptors + 24 * count, len(out))
        end = min(len(out), first + rng.choice((1, 40, _PAGE, 1 << 18)))
        out[first:end] = bytes(end - first)
    struct.pack_into("<I", out, 424, 1 | rng.choice((0, 8)))
    return bytes(out), ".kdump"


def _vmcoreinfo(bases: Bases, rng: random.Random) -> FileCase:
    info = bases.vmcoreinfo(SMALLEST)
    lines = info.splitlines(keepends=True)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        key, equals, _value = lines[at].partition(b"=")
        new = rng.choice(
            (b"0", b"-1", b"ffffffffffffffff", b"0x", b"9" * 30, b"\x1b[31m", rng.choice(HOSTILE))
        )
        lines[at] = rng.choice((b"", key + equals + new + b"\n", lines[at] * 2, lines[at][:-3]))
        if rng.random() < 0.2:
            lines.append(rng.choice(lines))
    text = b"".join(lines)
    if rng.random() < 0.3:
        text = mutate_bytes(text, rng)
    if rng.random() < 0.5:
        return FileCase(bases.elf(SMALLEST), ".elf", vmcoreinfo=text)
    # In the note, of the length it had.
    text = text[: len(info)].ljust(len(info), b"\0")
    return FileCase(bases.elf(SMALLEST).replace(info, text, 1), ".elf")


def _walk(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document[:50])
        if isinstance(document, list)
        else ()
    )
    found = [path] if path else []
    for key, value in items:
        found += _walk(value, (*path, key))
    return found


def _values(rng: random.Random) -> Any:
    text = rng.choice(HOSTILE).decode("utf-8", "surrogateescape")
    return rng.choice(
        (None, 0, -1, 2**70, 1.5, 1e308, float("nan"), True, "", text, [], {}, [[]], {"": text}, *_ODD_TEXTS)
    )


def _alike(value: Any, rng: random.Random) -> Any:
    """Another value of the same type: it passes validation, and is wrong."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return value
    if isinstance(value, int):
        return rng.choice((0, 1, -1, value + 1, 2**31, 2**63, 10**300))
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e308, float("inf"), float("nan")))
    if str(value).startswith("0x"):
        return rng.choice(("0x0", "0x1", "0x" + "f" * 16, f"0x{rng.getrandbits(64):x}"))
    return rng.choice(HOSTILE).decode("utf-8", "surrogateescape")


def _snapshot_tree(bases: Bases, rng: random.Random) -> FileCase:
    """Values of a snapshot, replaced, dropped, or moved to where they do not belong."""
    document = json.loads(bases.snapshot_json(rng.choice((SMALLEST, "isolated"))))
    paths = _walk(document)
    for _ in range(1 << rng.randint(0, 3)):
        *way, last = rng.choice(paths)
        holder = document
        try:
            for key in way:
                holder = holder[key]
            if rng.random() < 0.15:
                del holder[last]
            elif rng.random() < 0.2:
                other = document
                for key in rng.choice(paths):
                    other = other[key]
                other = copy.deepcopy(other)  # it may hold the holder
                holder[last] = other if rng.random() < 0.9 else [other] * 100
            elif rng.random() < 0.8:
                holder[last] = _alike(holder[last], rng)
            else:
                holder[last] = _values(rng)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken it away
    return FileCase(json.dumps(document).encode(), ".json", ("--no-cache",))


def _snapshot_bytes(bases: Bases, rng: random.Random) -> FileCase:
    content = bases.snapshot_json(SMALLEST)
    kind = rng.randrange(6)
    if kind == 3:
        content = mutate_bytes(content, rng)
    elif kind > 3:  # inside of strings and numbers
        out = bytearray(content)
        for match in rng.sample(list(re.finditer(rb"[a-z0-9]", content)), 4):
            out[match.start()] = rng.choice(b"abcdef0123456789")
        content = bytes(out)
    if kind == 0:
        content = b'{"schema_version":1,' + rng.choice((b'"a":[', b'{"x":', b"[")) * rng.randint(1, 200_000)
    elif kind == 1:
        content = re.sub(
            rb'"0x([0-9a-f]{4,16})"', lambda m: b'"0x' + m[1] * rng.randint(1, 3) + b'"', content
        )
    elif kind == 2:
        content = re.sub(rb":(\d+)", b":" + b"9" * rng.randint(1, 6000), content, count=3)
    return FileCase(content, ".json")


def _compressed(bases: Bases, rng: random.Random) -> FileCase:
    """A snapshot or a dump, compressed; then damaged, cut, doubled, or a bomb of zeros."""
    plain = rng.choice((bases.snapshot_json(SMALLEST), bases.elf(SMALLEST)[: 1 << 20]))
    if rng.random() < 0.1:
        plain = rng.choice((b"", b'{"schema_version":1', b"\x7fELF")) + bytes(
            rng.choice((0, 1 << 20, 64 << 20))
        )
    pack = rng.choice((zstandard.ZstdCompressor(level=1).compress, gzip.compress, lzma.compress))
    content = pack(plain[: 1 << 20] if pack is lzma.compress else plain)
    if rng.random() < 0.7:
        content = mutate_bytes(content, rng)
    if rng.random() < 0.1:
        content = pack(content)
    if rng.random() < 0.1:
        content += rng.choice((content, b"\x50\x2a\x4d\x18\x04\0\0\0abcd", bytes(100)))
    return FileCase(content, ".zst")


def _cache_bytes(bases: Bases, rng: random.Random) -> FileCase:
    _, content = bases.cache_file(SMALLEST)
    return FileCase(mutate_bytes(content, rng, 0, rng.choice((600, None))), "", cache_of=SMALLEST)


def _resealed(bases: Bases, rng: random.Random, wanted: Callable[[str], bool]) -> FileCase:
    """A cache whose sections are damaged and whose checksum is right: only the parsers stand in the way."""
    path, content = bases.cache_file(SMALLEST)
    sections: dict[str, bytes | memoryview] = dict(typecache._decode(content, path.stem))
    for name in rng.sample([name for name in sections if wanted(name)], 1):
        sections[name] = mutate_bytes(bytes(sections[name]), rng)
    return FileCase(typecache._encode(path.stem, sections), "", cache_of=SMALLEST)


def mutate_part(bases: Bases, rng: random.Random, start: bytes) -> bytes:
    """The smallest slice, damaged behind the first place that begins with ``start``."""
    content = bases.elf(SMALLEST)
    at = content.find(start)
    assert at >= 0
    for _ in range(rng.choice((1, 4, 16))):
        size = len(content)
        content = mutate_bytes(content, rng, at, at + rng.choice((64, _PAGE, 1 << 20)))
        content = content[:size].ljust(size, b"\0")
    return content


def _kallsyms(bases: Bases, rng: random.Random) -> FileCase:
    """Tables of kallsyms in the kernel's memory: around the token table, which begins with known tokens."""
    content = bases.elf(SMALLEST)
    kernel = bases.warm(SMALLEST)
    names = ("kallsyms_names", "kallsyms_num_syms", "kallsyms_token_table", "kallsyms_token_index")
    info = bases.vmcoreinfo(SMALLEST)
    found = [
        re.search(rb"SYMBOL\(%s\)=([0-9a-f]+)" % name.encode(), info) for name in (*names, "kallsyms_offsets")
    ]
    addresses = [int(match[1], 16) for match in found if match]
    for _ in range(rng.choice((1, 2, 8))):
        address = rng.choice(addresses) + rng.randrange(0, rng.choice((8, 512, 1 << 16)))
        page = kernel.prog.read(address & -_PAGE, _PAGE)
        at = content.find(page)
        if at >= 0:
            size = len(content)
            content = mutate_bytes(content, rng, at + address % _PAGE, at + address % _PAGE + 8)
            content = content[:size].ljust(size, b"\0")
    return FileCase(content, ".elf", ("--no-cache",))


def changed_json(plain: bytes, rng: random.Random) -> bytes:
    """Values of a document, replaced or dropped."""
    document = json.loads(plain)
    paths = _walk(document)
    for _ in range(rng.randint(1, 4) if paths else 0):
        *way, last = rng.choice(paths)
        holder = document
        try:
            for key in way:
                holder = holder[key]
            if rng.random() < 0.2:
                del holder[last]
            else:
                holder[last] = _alike(holder[last], rng) if rng.random() < 0.6 else _values(rng)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken it away
    return json.dumps(document).encode()


FILE_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {
    "elf-headers": _elf_headers,
    "kdump-headers": _kdump_headers,
    "flattened": _flattened,
    "short-dumps": _short,
    "vmcoreinfo": _vmcoreinfo,
    "snapshot-tree": _snapshot_tree,
    "snapshot-bytes": _snapshot_bytes,
    "compressed": _compressed,
    "cache-bytes": _cache_bytes,
    "cache-symbols": lambda bases, rng: _resealed(bases, rng, lambda name: name.startswith("sym_")),
    "cache-index": lambda bases, rng: _resealed(
        bases, rng, lambda name: not name.startswith("sym_") and name != "btf"
    ),
    "kallsyms": _kallsyms,
}
