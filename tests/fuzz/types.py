"""Mutators of BTF: words of it, members without a name, and BTF that is read from the kernel's memory."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
from collections.abc import Callable, Collection

from explorer.targets.symbols import typecache
from explorer.targets.symbols.btf import Btf, BtfError, Kind
from explorer.targets.symbols.btf_index import bytes_of, hash_names

from .bases import SMALLEST, Bases
from .formats import EDGES, FileCase, mutate_part, set_fields

__all__ = ("TYPE_MUTATORS",)

#: As a cache calls the fields of a ``BtfIndex``.
_FIELDS = ("starts", "names", "enums", "hashes")


def _btf(bases: Bases, rng: random.Random) -> FileCase:
    """The kernel's BTF: as the cache keeps it, with the index to it or with one made anew."""
    path, content = bases.cache_file(SMALLEST)
    sections: dict[str, bytes | memoryview] = dict(typecache._decode(content, path.stem))
    raw = bytearray(sections["btf"])
    if rng.random() < 0.2:
        raw = bytearray(set_fields(bytes(raw), [(0, 2), (2, 1), *((at, 4) for at in range(4, 24, 4))], rng))
    else:
        types = struct.unpack_from("<I", raw, 12)[0]
        for _ in range(1 << rng.randint(0, 12)):
            at = 24 + rng.randrange(types) // 4 * 4
            word = struct.unpack_from("<I", raw, at)[0]
            new = rng.choice(
                (*EDGES[:9], word + 1, word - 1, word ^ 1 << rng.randrange(32), rng.randrange(30_000))
            )
            struct.pack_into("<I", raw, at, new & 0xFFFFFFFF)
    sections["btf"] = bytes(raw)
    if rng.random() < 0.7:
        with contextlib.suppress(BtfError):  # then it keeps the index of the sound one
            sections |= _index_of(bytes(raw), sections)
    return FileCase(typecache._encode(path.stem, sections), "", cache_of=SMALLEST)


def _index_of(raw: bytes, known: Collection[str]) -> dict[str, bytes]:
    """The sections of a cache that are an index to this BTF. :raises BtfError: if none can be made"""
    btf = Btf(raw)
    index = btf.index._replace(hashes=hash_names(btf.strings, btf.index))
    found = {f"btf_{name}": bytes_of(words) for name, words in zip(_FIELDS, index, strict=True)}
    assert found.keys() <= set(known)
    return found


def _btf_anonymous(bases: Bases, rng: random.Random) -> FileCase:
    """Members without a name that are other structs: each of those may have such members too."""
    path, content = bases.cache_file(SMALLEST)
    sections: dict[str, bytes | memoryview] = dict(typecache._decode(content, path.stem))
    raw = bytearray(sections["btf"])
    btf, types = Btf(bytes(raw)), struct.unpack_from("<HBBI", raw)[3] + struct.unpack_from("<I", raw, 8)[0]
    structs = [
        (type_id, head)
        for type_id in range(btf.start_id, btf.end_id)
        if (head := btf.type(type_id)).kind is Kind.STRUCT and head.vlen >= 2
    ]
    size = rng.choice((8, 64, 256))
    chain = [found for found in structs if size <= found[1].ref < 2 * size][: rng.choice((3, 12, 60))]
    chain.sort(key=lambda found: -found[1].ref)
    roots = [
        found for found in structs if found[1].name in ("task_struct", "mount", "fs_struct", "dentry", "rq")
    ]
    for (_, head), following in itertools.pairwise(chain):
        below = following if rng.random() < 0.99 else rng.choice(chain)
        for member in range(2):
            struct.pack_into("<III", raw, types + 4 * (head.word + 3 * member), 0, below[0], 0)
    for _, head in rng.sample(roots, 1) if chain else ():
        at = types + 4 * (head.word + 3 * rng.randrange(head.vlen))
        struct.pack_into("<III", raw, at, 0, chain[0][0], 0)
    sections["btf"] = bytes(raw)
    sections |= _index_of(bytes(raw), sections)
    return FileCase(typecache._encode(path.stem, sections), "", cache_of=SMALLEST)


def _btf_in_dump(bases: Bases, rng: random.Random) -> FileCase:
    """BTF in the kernel's memory, read without a cache."""
    return FileCase(mutate_part(bases, rng, b"\x9f\xeb\x01\x00\x18\x00\x00\x00"), ".elf", ("--no-cache",))


TYPE_MUTATORS: dict[str, Callable[[Bases, random.Random], FileCase]] = {
    "btf": _btf,
    "btf-anonymous": _btf_anonymous,
    "btf-in-dump": _btf_in_dump,
}
