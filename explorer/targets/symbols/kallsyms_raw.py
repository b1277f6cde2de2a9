"""kallsyms as they lie in a kernel's memory, read in a few large pieces and left compressed.

Mirrors kernel/kallsyms.c: a name is a length (two bytes from 128 on) and so many tokens of ``kallsyms_token_table``;
an address is a distance from where the distance itself is stored (7.x), from ``kallsyms_relative_base`` (6.16 to 6.19),
or, before that, from there where it is negative, and absolute (per-CPU) where it is not. No symbol tells the last two
apart: only one of them puts ``_stext`` where VMCOREINFO says. Since 6.2 the kernel also keeps its symbols in the order
of their names (``kallsyms_seqs_of_names``); no symbol and no VMCOREINFO says where, but it follows the addresses.
"""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from operator import add, le
from typing import NamedTuple

import drgn

__all__ = ("NR_TOKENS", "RawSymbols", "expand", "read_raw_symbols")

#: A name's tokens are bytes.
NR_TOKENS = 256

_NAMES = ("num_syms", "names", "token_table", "token_index", "offsets")
_MAX_SYMBOLS = 2_000_000  # a distribution's kernel has 200,000
_MAX_NAMES = 64 << 20
_MAX_TOKENS = 1 << 16
_PAGE = 4096
_MAX_NAME = 512  # KSYM_NAME_LEN: no token is longer, and no name has more of them
_LONG = 0x80
_SEQUENCE_BYTES = 3
#: How many neighbours in the kernel's own order are looked at before it is believed.
_PROBES = 1024


class RawSymbols(NamedTuple):
    """Symbols in the kernel's order, which is that of their addresses."""

    addresses: Sequence[int]
    names: bytes
    """The compressed names, one behind the other."""
    starts: array[int]
    """Where in ``names`` each begins, with its length."""
    tokens: list[bytes]
    order: array[int] | None
    """The symbols by name; ``None`` if the kernel does not say."""


def expand(names: bytes | memoryview, start: int, tokens: Sequence[bytes]) -> bytes:
    """The type letter and the name that begin at ``start`` of the compressed names; less, where these are damaged.

    At most 512 bytes, as the kernel has it.
    """
    if start >= len(names):
        return b""
    length, start = names[start], start + 1
    if length & _LONG:
        length, start = length & ~_LONG | (names[start] << 7 if start < len(names) else 0), start + 1
    return b"".join(map(tokens.__getitem__, names[start : start + min(length, _MAX_NAME)]))[:_MAX_NAME]


def read_raw_symbols(prog: drgn.Program, symbols: dict[str, int]) -> Iterator[RawSymbols]:
    """All symbols, once for each way in which a kernel may mean its offsets: one of them at most is right.

    None at all if this kernel keeps them in a way that is not known here, or they are damaged.

    :param symbols: ``SYMBOL(name)`` of VMCOREINFO
    """
    try:
        count_at, names_at, table_at, index_at, offsets_at = (symbols[f"kallsyms_{name}"] for name in _NAMES)
        base_at = symbols.get("kallsyms_relative_base")
        count = prog.read_u32(count_at)
        if not 0 < count <= _MAX_SYMBOLS or not 0 < table_at - names_at <= _MAX_NAMES:
            return
        if not 0 < index_at - table_at <= _MAX_TOKENS:
            return
        offsets = array("i", prog.read(offsets_at, 4 * count))
        tokens = _tokens(prog.read(table_at, index_at - table_at), prog.read(index_at, 2 * NR_TOKENS))
        data = _read_up_to(prog, names_at, table_at - names_at)
        starts, end = _starts(data, count)
        base = None if base_at is None else prog.read_u64(base_at)
    except (KeyError, IndexError, ValueError, drgn.FaultError):
        return
    raw = RawSymbols((), data[:end], starts, tokens, None)
    order_at = offsets_at + 4 * count if base_at is None else base_at + 8
    for addresses in _readings(offsets, offsets_at, base):
        if all(map(le, addresses, islice(addresses, 1, None))):
            order = raw.order or _read_order(prog, order_at, raw)
            raw = raw._replace(addresses=addresses, order=order)
            yield raw


def _readings(offsets: array[int], offsets_at: int, base: int | None) -> Iterator[list[int]]:
    """The addresses that the offsets may stand for; mirrors ``kallsyms_sym_address()``."""
    if base is None:
        yield list(map(add, offsets, range(offsets_at, offsets_at + 4 * len(offsets), 4)))
    else:
        # With CONFIG_KALLSYMS_ABSOLUTE_PERCPU, which went with the per-CPU symbols at low addresses.
        yield [offset if offset >= 0 else base - 1 - offset for offset in offsets]
        yield [base + (offset & 0xFFFFFFFF) for offset in offsets]


def _read_up_to(prog: drgn.Program, address: int, size: int) -> bytes:
    """``size`` bytes, or those before the first page that is not there: behind the names lie their markers, which a
    slice of memory need not have."""
    try:
        whole: bytes = prog.read(address, size)
    except drgn.FaultError:
        parts = []
        with contextlib.suppress(drgn.FaultError):
            for start in range(address & -_PAGE, address + size, _PAGE):
                first, end = max(start, address), min(start + _PAGE, address + size)
                parts.append(prog.read(first, end - first))
        return b"".join(parts)
    return whole


def _tokens(table: bytes, index: bytes) -> list[bytes]:
    return [table[start : table.index(0, start, start + _MAX_NAME)] for start in array("H", index)]


def _starts(data: bytes, count: int) -> tuple[array[int], int]:
    """Where each name starts, and all of them end; raises IndexError where they end too early, or one is empty."""
    starts = array("I")
    append, at = starts.append, 0
    for _ in repeat(None, count):
        append(at)
        length = data[at]
        if length & _LONG:
            at += 1
            length = length & ~_LONG | data[at] << 7
        if not length:
            raise IndexError("a name is empty")
        at += length + 1
    if at > len(data):
        raise IndexError("the names end too early")
    return starts, at


def _read_order(prog: drgn.Program, address: int, raw: RawSymbols) -> array[int] | None:
    """``kallsyms_seqs_of_names``, if that is what lies there: each symbol once, and names in order."""
    count = len(raw.starts)
    try:
        packed = prog.read(address, _SEQUENCE_BYTES * count)
    except drgn.FaultError:
        return None
    words = bytearray(4 * count)
    for place in range(_SEQUENCE_BYTES):  # the most significant byte first
        words[place + 1 :: 4] = packed[place::_SEQUENCE_BYTES]
    order = array("I", bytes(words))
    if sys.byteorder == "little":
        order.byteswap()
    if len(set(order)) != count or max(order) >= count:
        return None
    for place in range(0, count - 1, max(1, count // _PROBES)):
        first, second = (expand(raw.names, raw.starts[at], raw.tokens)[1:] for at in order[place : place + 2])
        if first > second:
            return None
    return order
