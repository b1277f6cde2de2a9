"""Read BTF (BPF Type Format), the type information that a Linux kernel carries in its own memory.

Pure Python over bytes: nothing here knows drgn or a kernel. The layout is that of ``include/uapi/linux/btf.h``; the
bytes may come out of a damaged dump, so every offset, count and chain is checked and everything that is
wrong ends in a :class:`BtfError`.
"""

from __future__ import annotations

import enum
import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from .btf_index import ID_BITS, BtfIndex, Words, hashed_offsets, words_of

__all__ = (
    "BTF_MAGIC",
    "Btf",
    "BtfError",
    "BtfType",
    "Kind",
    "Member",
)

BTF_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")

#: Chains of typedefs, qualifiers and arrays are a handful of links in a real kernel.
MAX_CHAIN = 64
#: Headers that are kept: a capture asks for some thousands, again and again.
_MAX_HEADS = 1 << 14
#: Bytes in which nearly every name ends.
_USUAL_NAME = 64
#: A type id fits in 27 bits of an index entry; the kernel's own limit (BTF_MAX_TYPE) is 20.
_MAX_TYPES = (1 << 24) - 1


class BtfError(ValueError):
    """The bytes are not BTF, or are damaged; the message says where."""


class Kind(enum.IntEnum):
    """``BTF_KIND_*`` of ``include/uapi/linux/btf.h``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


#: Words that follow the three of ``struct btf_type``: (fixed, per vlen), by kind.
_TRAILER = {
    Kind.INT: (1, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.DECL_TAG: (1, 0),
    Kind.ENUM64: (0, 3),
}
_FIXED = [_TRAILER.get(kind, (0, 0))[0] for kind in Kind]
_PER_VLEN = [_TRAILER.get(kind, (0, 0))[1] for kind in Kind]
_LAST_KIND = max(Kind)
_MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
_BY_SIZE = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.FLOAT, Kind.ENUM64})
_NOT_LOOKED_UP = (int(Kind.DECL_TAG), int(Kind.TYPE_TAG))


class BtfType(NamedTuple):
    """One ``struct btf_type``: ``ref`` is its ``size`` or ``type`` word, ``word`` where its trailer starts."""

    kind: Kind
    kind_flag: bool
    vlen: int
    name: str | None
    ref: int
    word: int


class Member(NamedTuple):
    """One member of a struct or union; offset and size in bits, ``bit_size`` 0 when it is no bit-field."""

    name: str | None
    type_id: int
    bit_offset: int
    bit_size: int


class Btf:
    """The types of one BTF section: a whole one (vmlinux), or the split one of a module over its base.

    :param data: the raw section.
    :param base: the BTF that ids and strings below ours refer to.
    :param index: an index of exactly these bytes, from an earlier scan.
    :ivar end_id: one past the last type id; a split BTF goes on there.
    :raises BtfError: for a bad header or a damaged type section.
    """

    def __init__(
        self, data: bytes | memoryview, *, base: Btf | None = None, index: BtfIndex | None = None
    ) -> None:
        view = memoryview(data)
        types, strings = _sections(view)
        self.data = view
        self.base = base
        self.start_id: int = base.end_id if base else 1
        self.start_str: int = base.end_str if base else 0
        self._strings = strings
        self.end_str: int = self.start_str + len(strings)
        self._words = words_of(types)
        self._heads: dict[int, BtfType] = {}
        if index is None:
            index = _scan(self._words, self.start_id)
        elif len(index.starts) and index.starts[-1] + 3 > len(self._words):
            raise BtfError("BTF index does not belong to these types")
        self.index = index
        self.end_id: int = self.start_id + len(index.starts)

    @cached_property
    def strings(self) -> bytes:
        """All of them: two megabytes, for who searches them, which a cache with hashes spares."""
        return bytes(self._strings)

    def string(self, offset: int) -> str:
        """The string at ``name_off``; an empty one means *no name*."""
        if offset < self.start_str:
            assert self.base is not None
            return self.base.string(offset)
        start = offset - self.start_str
        head = bytes(self._strings[start : start + _USUAL_NAME])
        if (end := head.find(b"\0")) >= 0:
            return head[:end].decode("utf-8", "backslashreplace")
        end = self.strings.find(b"\0", start)
        if end < 0:
            raise BtfError(f"BTF string offset {offset:#x} is outside the string section")
        return self.strings[start:end].decode("utf-8", "backslashreplace")

    def type(self, type_id: int) -> BtfType:
        """The header of a type (id 0 is ``void``)."""
        known = self._heads.get(type_id)
        if known is not None:
            return known
        if type_id < self.start_id:
            if self.base is not None:
                return self.base.type(type_id)
            if type_id == 0:
                return BtfType(Kind.VOID, False, 0, None, 0, 0)
        if not self.start_id <= type_id < self.end_id:
            raise BtfError(f"BTF type id {type_id} is out of range (there are {self.end_id})")
        word = self.index.starts[type_id - self.start_id]
        try:
            name_off, info, ref = self._words[word : word + 3]
            kind = Kind(info >> 24 & 0x1F)
        except ValueError:
            raise BtfError(f"BTF type {type_id} is not where the index says") from None
        head = BtfType(kind, bool(info >> 31), info & 0xFFFF, self.string(name_off) or None, ref, word + 3)
        if len(self._heads) < _MAX_HEADS:
            self._heads[type_id] = head
        return head

    def owner(self, type_id: int) -> Btf:
        """The BTF (this one or one of its bases) whose section holds the type."""
        if type_id < self.start_id and self.base is not None:
            return self.base.owner(type_id)
        return self

    def _trailer(self, type_id: int, *kinds: Kind) -> tuple[BtfType, Sequence[int]]:
        head = self.type(type_id)
        if head.kind not in kinds:
            raise BtfError(f"BTF type {type_id} is {head.kind.name}, not {'/'.join(k.name for k in kinds)}")
        size = _FIXED[head.kind] + _PER_VLEN[head.kind] * head.vlen
        trailer = self.owner(type_id)._words[head.word : head.word + size]
        if len(trailer) != size:
            raise BtfError(f"BTF type {type_id} runs past the end of the type section")
        return head, trailer

    def members(self, type_id: int) -> list[Member]:
        """The members of a struct or union, in order; bit-fields of both encodings (``kind_flag`` or not)."""
        head, words = self._trailer(type_id, Kind.STRUCT, Kind.UNION)
        members = []
        for at in range(0, len(words), 3):
            offset = words[at + 2]
            bit_size = 0
            if head.kind_flag:
                bit_size, offset = offset >> 24, offset & 0xFFFFFF
            members.append(Member(self.string(words[at]) or None, words[at + 1], offset, bit_size))
        return members if head.kind_flag else [self._plain_member(member) for member in members]

    def _plain_member(self, member: Member) -> Member:
        """Without ``kind_flag`` a bit-field hides in its integer's own encoding."""
        stripped = self.strip(member.type_id)
        target = self.type(stripped)
        if target.kind is not Kind.INT:
            return member
        _, offset, bits = self.int_encoding(stripped)
        if bits == target.ref * 8 and not offset:
            return member
        return member._replace(bit_offset=member.bit_offset + offset, bit_size=bits)

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """Names and values of an ENUM or ENUM64; signed when its ``kind_flag`` says so."""
        head, words = self._trailer(type_id, Kind.ENUM, Kind.ENUM64)
        if head.kind is Kind.ENUM:
            values = list(words[1::2])
            bits = 32
        else:
            values = [low | high << 32 for low, high in zip(words[1::3], words[2::3], strict=True)]
            bits = 64
        if head.kind_flag:
            values = [value - (1 << bits) if value >> (bits - 1) else value for value in values]
        names = words[:: _PER_VLEN[head.kind]]
        return [(self.string(name), value) for name, value in zip(names, values, strict=True)]

    def parameters(self, type_id: int) -> tuple[list[tuple[str | None, int]], bool]:
        """Names and type ids of a FUNC_PROTO's parameters, and whether ``...`` ends them."""
        _, words = self._trailer(type_id, Kind.FUNC_PROTO)
        found = [(self.string(words[at]) or None, words[at + 1]) for at in range(0, len(words), 2)]
        variadic = bool(found) and found[-1] == (None, 0)
        return (found[:-1] if variadic else found), variadic

    def array_of(self, type_id: int) -> tuple[int, int]:
        """Element type id and number of elements of an ARRAY."""
        _, words = self._trailer(type_id, Kind.ARRAY)
        return words[0], words[2]

    def int_encoding(self, type_id: int) -> tuple[int, int, int]:
        """``BTF_INT_*`` flags (1 signed, 2 char, 4 bool), bit offset and number of bits of an INT."""
        _, words = self._trailer(type_id, Kind.INT)
        return words[0] >> 24 & 0xF, words[0] >> 16 & 0xFF, words[0] & 0xFF

    def variables(self, type_id: int) -> list[tuple[int, int, int]]:
        """(VAR type id, offset in bytes, size in bytes) of a DATASEC."""
        _, words = self._trailer(type_id, Kind.DATASEC)
        return [(words[at], words[at + 1], words[at + 2]) for at in range(0, len(words), 3)]

    def strip(self, type_id: int) -> int:
        """Follow typedefs, qualifiers and type tags to the type below them."""
        for _ in range(MAX_CHAIN):
            head = self.type(type_id)
            if head.kind not in _MODIFIERS:
                return type_id
            type_id = head.ref
        raise BtfError(f"BTF type {type_id} is a cycle of typedefs or qualifiers")

    def size_of(self, type_id: int) -> int:
        """The size in bytes of a type, as C's ``sizeof``; 0 for void, functions and incomplete types."""
        count = 1
        for _ in range(MAX_CHAIN):
            head = self.type(type_id)
            if head.kind in _BY_SIZE:
                return count * head.ref
            if head.kind is Kind.PTR:
                return count * 8
            if head.kind is Kind.ARRAY:
                type_id, length = self.array_of(type_id)
                count *= length
            elif head.kind in _MODIFIERS or head.kind is Kind.VAR:
                type_id = head.ref
            else:
                return 0
        raise BtfError(f"BTF type {type_id} is a cycle of arrays or typedefs")

    def find(self, name: str, kinds: Collection[int]) -> list[int]:
        """Ids of this section's own types of that name and of these kinds, lowest first."""
        mask = (1 << ID_BITS) - 1
        entries = self._entries(name, self.index.names, Kind.FUNC not in kinds)
        found = [entry & mask for entry in entries if entry >> ID_BITS & 0x1F in kinds]
        if any(self.type(type_id).name != name for type_id in found):
            raise BtfError(f"BTF index is damaged: another type stands where {name} should")
        return found

    def find_enumerator(self, name: str) -> list[int]:
        """Ids of this section's own enums that have an enumerator of that name, lowest first."""
        return [entry & 0xFFFFFFFF for entry in self._entries(name, self.index.enumerators, True)]

    def _entries(self, name: str, index: Words, is_hashed: bool) -> list[int]:
        """A split section may name its own types with its base's strings: search those too."""
        if is_hashed and self.base is None and len(self.index.hashes):
            return self._at(hashed_offsets(self._strings, self.index.hashes, name), index)
        found: list[int] = []
        level: Btf | None = self
        while level is not None and name:
            found += self._at(level._string_offsets(name), index)
            level = level.base
        return found

    @staticmethod
    def _at(offsets: Iterable[int], index: Words) -> list[int]:
        found = []
        for offset in offsets:
            at = bisect_left(index, offset << 32)
            while at < len(index) and index[at] >> 32 == offset:
                found.append(index[at])
                at += 1
        return found

    def _string_offsets(self, name: str) -> list[int]:
        """Where a whole string stands: BTF's writers store each string once per section."""
        try:
            needle = b"\0" + name.encode() + b"\0"
        except UnicodeEncodeError:
            return []
        at = self.strings.find(needle)
        offsets = [] if at < 0 else [self.start_str + at + 1]
        # The first string of a split section has no NUL before it.
        if self.base is not None and self.strings.startswith(needle[1:]):
            offsets.append(self.start_str)
        return offsets


def _sections(view: memoryview) -> tuple[memoryview, memoryview]:
    """The type and string sections, by ``struct btf_header``."""
    if len(view) < _HEADER.size:
        raise BtfError(f"BTF is cut short: {len(view)} bytes")
    magic, version, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(view)
    if magic != BTF_MAGIC:
        raise BtfError(f"not little-endian BTF: magic {magic:#06x} instead of {BTF_MAGIC:#06x}")
    if version != 1:
        raise BtfError(f"BTF version {version} is not known")
    if header < _HEADER.size or header > len(view):
        raise BtfError(f"BTF header length {header} is out of range")
    if type_off % 4 or type_len % 4:
        raise BtfError("BTF type section is not aligned to 4 bytes")
    if header + type_off + type_len > len(view) or header + str_off + str_len > len(view):
        raise BtfError("BTF sections run past the end of the data")
    types = view[header + type_off : header + type_off + type_len]
    strings = view[header + str_off : header + str_off + str_len]
    if str_len and strings[-1] != 0:
        raise BtfError("BTF string section does not end with a NUL")
    return types, strings


def _scan(words: Words, start_id: int) -> BtfIndex:
    """One pass over the type headers (0.1 s for the 121,000 types of a vmlinux)."""
    starts = array("I")
    names: list[int] = []
    enumerators: list[int] = []
    at, end, type_id = 0, len(words), start_id
    enum, enum64 = int(Kind.ENUM), int(Kind.ENUM64)
    add_start, add_name = starts.append, names.append
    fixed, per_vlen, skipped = _FIXED, _PER_VLEN, _NOT_LOOKED_UP
    last = int(_LAST_KIND)
    try:
        while at < end:
            name, info = words[at], words[at + 1]
            kind = info >> 24 & 0x1F
            if not 0 < kind <= last:
                raise BtfError(f"BTF type {type_id} has unknown kind {kind}")
            add_start(at)
            if name and kind not in skipped:
                add_name(name << 32 | kind << ID_BITS | type_id)
            size = fixed[kind] + per_vlen[kind] * (info & 0xFFFF)
            if kind in (enum, enum64):
                entries = words[at + 3 : at + 3 + size : per_vlen[kind]]
                enumerators.extend([entry << 32 | type_id for entry in entries])
            at += 3 + size
            type_id += 1
    except IndexError:
        raise BtfError("BTF type section ends inside a type") from None
    if at != end:
        raise BtfError("BTF type section ends inside a type")
    if type_id > _MAX_TYPES:
        raise BtfError(f"BTF has too many types: {type_id}")
    names.sort()
    enumerators.sort()
    return BtfIndex(starts, array("Q", names), array("Q", enumerators))
