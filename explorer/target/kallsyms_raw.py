"""kallsyms as they lie in a kernel's memory, read in a few large pieces; what drgn does symbol by symbol.

Mirrors kernel/kallsyms.c: a name is a length (two bytes from 128 on) and so many tokens of ``kallsyms_token_table``;
an address is a distance from where the distance itself is stored (7.x), or, before that, from
``kallsyms_relative_base`` where it is negative, and absolute (per-CPU) where it is not.
"""

from __future__ import annotations

from array import array
from operator import add
from typing import NamedTuple

import drgn

__all__ = ("RawSymbols", "read_raw_symbols")

_NAMES = ("num_syms", "names", "token_table", "token_index", "offsets")
_MAX_SYMBOLS = 4_000_000
_MAX_NAMES = 64 << 20
_MAX_TOKENS = 1 << 16
_NR_TOKENS = 256
_LONG = 0x80


class RawSymbols(NamedTuple):
    """Symbols in the kernel's order, a column each."""

    addresses: list[int]
    names: list[bytes]
    letters: bytes
    """The types, as nm(1) has them."""


def read_raw_symbols(prog: drgn.Program, symbols: dict[str, int]) -> RawSymbols | None:
    """All symbols; ``None`` if this kernel keeps them in a way that is not known here.

    :param symbols: ``SYMBOL(name)`` of VMCOREINFO
    """
    try:
        count_at, names_at, table_at, index_at, offsets_at = (symbols[f"kallsyms_{name}"] for name in _NAMES)
        base_at = symbols.get("kallsyms_relative_base")
        count = prog.read_u32(count_at)
        if not 0 < count <= _MAX_SYMBOLS or not 0 < table_at - names_at <= _MAX_NAMES:
            return None
        if not 0 < index_at - table_at <= _MAX_TOKENS:
            return None
        offsets = array("i", prog.read(offsets_at, 4 * count))
        tokens = _tokens(prog.read(table_at, index_at - table_at), prog.read(index_at, 2 * _NR_TOKENS))
        names = _names(prog.read(names_at, table_at - names_at), count, tokens)
        base = None if base_at is None else prog.read_u64(base_at)
    except (KeyError, IndexError, ValueError, drgn.FaultError):
        return None
    if base is None:
        addresses = list(map(add, offsets, range(offsets_at, offsets_at + 4 * count, 4)))
    else:
        addresses = [offset if offset >= 0 else base - 1 - offset for offset in offsets]
    return RawSymbols(addresses, [name[1:] for name in names], bytes([name[0] for name in names]))


def _tokens(table: bytes, index: bytes) -> list[bytes]:
    return [table[start : table.index(0, start)] for start in array("H", index)]


def _names(data: bytes, count: int, tokens: list[bytes]) -> list[bytes]:
    """Type letter and name of each symbol; raises IndexError where the data end too early, or a name is empty."""
    names: list[bytes] = []
    token, join, at = tokens.__getitem__, b"".join, 0
    append = names.append
    for _ in range(count):
        length = data[at]
        at += 1
        if length & _LONG:
            length = length & ~_LONG | data[at] << 7
            at += 1
        end = at + length
        append(join(map(token, data[at:end])))
        at = end
    if at > len(data) or b"" in names:
        raise IndexError("the names end too early")
    return names
