"""Kernel modules as files, built from nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ("module_bytes",)

_MODINFO = b"license=GPL\0vermagic=7.3.4 SMP \0name=tiny\0"


def module_bytes(
    *undefined: str,
    modinfo: bytes | None = _MODINFO,
    order: str = "<",
    defined: tuple[str, ...] = ("init_module",),
    symbol_table: bytes | None = None,
    symbols_at: Iterable[int] = (),
) -> bytes:
    """A relocatable ELF file with nothing but symbols and .modinfo.

    :param symbol_table: names of symbols, in place of those that follow from the others
    :param symbols_at: where in it undefined symbols begin
    """
    names, symbols = b"\0", bytes(24)
    for name in [*defined, *undefined]:
        section = 0 if name in undefined else 1
        symbols += struct.pack(f"{order}IBBHQQ", len(names), 0x10, 0, section, 0, 0)
        names += name.encode() + b"\0"
    names = names if symbol_table is None else symbol_table
    symbols += b"".join(struct.pack(f"{order}IBBHQQ", at, 0x10, 0, 0, 0, 0) for at in symbols_at)
    parts = [(b".symtab", 2, symbols, 2), (b".strtab", 3, names, 0)]
    if modinfo is not None:
        parts.insert(0, (b".modinfo", 1, modinfo, 0))
        parts[1] = (b".symtab", 2, symbols, 3)
    section_names, headers, body, at = b"\0", bytes(64), b"", 64
    for title, kind, content, link in [*parts, (b".shstrtab", 3, b"", 0)]:
        content = content if title != b".shstrtab" else section_names + b".shstrtab\0"
        headers += struct.pack(
            f"{order}IIQQQQIIQQ", len(section_names), kind, 0, 0, at, len(content), link, 0, 1, 0
        )
        section_names += title + b"\0"
        body, at = body + content, at + len(content)
    count = len(parts) + 2
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    head = struct.pack(
        f"{order}16sHHIQQQIHHHHHH", ident, 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, count, count - 1
    )
    return head + body + headers
