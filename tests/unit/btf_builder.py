"""Write BTF by hand, for tests: one method per kind, each returns the new type's id."""

from __future__ import annotations

import struct

from explorer.targets.symbols.btf import BTF_MAGIC, Btf, Kind

__all__ = ("BtfBuilder",)

_NO_ENTRIES: tuple[tuple[int, ...], ...] = ()


class BtfBuilder:
    """A BTF section under construction; with ``base``, the split one of a module."""

    def __init__(self, base: Btf | None = None) -> None:
        self.base = base
        self._types = bytearray()
        self._start_str = base.end_str if base else 0
        self._strings = bytearray(b"" if base else b"\0")
        self._offsets: dict[str, int] = {}
        self._next = base.end_id if base else 1

    def string(self, text: str) -> int:
        if not text:
            return 0
        if self.base is not None:
            shared = self.base.strings.find(b"\0" + text.encode() + b"\0")
            if shared >= 0:
                return shared + 1
        if text not in self._offsets:
            self._offsets[text] = self._start_str + len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def add(
        self,
        kind: int,
        name: str = "",
        ref: int = 0,
        *,
        flag: bool = False,
        vlen: int = 0,
        words: tuple[int, ...] = (),
    ) -> int:
        """Any type, well-formed or not: ``words`` is what follows ``struct btf_type``."""
        info = flag << 31 | kind << 24 | vlen
        self._types += struct.pack(f"<III{len(words)}I", self.string(name), info, ref, *words)
        self._next += 1
        return self._next - 1

    def integer(
        self, name: str, size: int = 4, *, signed: bool = False, boolean: bool = False, bits: int = 0
    ) -> int:
        encoding = (1 if signed else 0) | (4 if boolean else 0)
        return self.add(Kind.INT, name, size, words=(encoding << 24 | (bits or size * 8),))

    def array(self, element: int, length: int) -> int:
        return self.add(Kind.ARRAY, words=(element, element, length))

    def struct(
        self,
        name: str,
        size: int,
        members: list[tuple[str, int, int]],
        *,
        bit_fields: bool = False,
        kind: int = Kind.STRUCT,
    ) -> int:
        """``members`` are (name, type, offset in bits); with ``bit_fields`` the offset's top byte is a bit size."""
        words = [word for member, ref, offset in members for word in (self.string(member), ref, offset)]
        return self.add(kind, name, size, flag=bit_fields, vlen=len(members), words=tuple(words))

    def enum(self, name: str, values: dict[str, int], *, signed: bool = False, size: int = 4) -> int:
        words = [word for key, value in values.items() for word in (self.string(key), value & 0xFFFFFFFF)]
        return self.add(Kind.ENUM, name, size, flag=signed, vlen=len(values), words=tuple(words))

    def enum64(self, name: str, values: dict[str, int], *, signed: bool = False) -> int:
        words = [
            word
            for key, value in values.items()
            for word in (self.string(key), value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)
        ]
        return self.add(Kind.ENUM64, name, 8, flag=signed, vlen=len(values), words=tuple(words))

    def function(self, name: str, returns: int, parameters: list[tuple[str, int]]) -> int:
        words = [word for parameter, ref in parameters for word in (self.string(parameter), ref)]
        proto = self.add(Kind.FUNC_PROTO, "", returns, vlen=len(parameters), words=tuple(words))
        return self.add(Kind.FUNC, name, proto)

    def section(self) -> bytes:
        header = struct.pack(
            "<HBBIIIII", BTF_MAGIC, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )
        return header + bytes(self._types) + bytes(self._strings)

    def btf(self) -> Btf:
        return Btf(self.section(), base=self.base)
