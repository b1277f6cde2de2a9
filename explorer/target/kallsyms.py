"""The core kernel's symbols, out of its own kallsyms, in a table that a cache can keep.

drgn decompresses kallsyms in C; that costs 0.1 to 0.9 s for each attach. The :class:`SymbolTable` made of it is a
handful of arrays: addresses relative to ``_stext`` (so that it fits the same kernel at another KASLR offset), and
names. Kernels before 6.15 also have per-CPU symbols at low addresses, which are offsets and never relocated.
"""

from __future__ import annotations

import gc
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

from drgn import Program, ProgramFlags, Symbol, SymbolBinding, SymbolKind
from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

from explorer.target.btf import bytes_of, words_of
from explorer.target.drgn_calls import drgn_errors
from explorer.target.errors import TargetError
from explorer.target.kallsyms_raw import RawSymbols, read_raw_symbols

__all__ = ("SymbolTable", "TableSymbol", "load_symbols", "vmcoreinfo", "vmcoreinfo_symbol")

#: Everything below is an offset (per-CPU, or a constant), not a kernel address.
_KERNEL = 1 << 47
#: Added to the distance from ``_stext``: keeps all kernel addresses above all absolute symbols.
_BIAS = 1 << 48
_ADDRESSES = (1 << 64) - 1
_BINDINGS = tuple(SymbolBinding)
_KINDS = tuple(SymbolKind)
_SYMBOL = re.compile(r"^SYMBOL\(([\w.]+)\)=([0-9a-fA-F]{1,16})$", re.MULTILINE)
_SECTIONS = ("sym_offsets", "sym_starts", "sym_by_name", "sym_rank", "sym_names", "sym_kinds")
_GLOBAL = _BINDINGS.index(SymbolBinding.GLOBAL)


def _type(binding: SymbolBinding, kind: SymbolKind) -> int:
    return _BINDINGS.index(binding) << 4 | _KINDS.index(kind)


#: What drgn makes of the letters of nm(1).
_TYPES = {
    **dict.fromkeys(b"DRB", _type(SymbolBinding.GLOBAL, SymbolKind.OBJECT)),
    **dict.fromkeys(b"drb", _type(SymbolBinding.UNKNOWN, SymbolKind.OBJECT)),
    ord("T"): _type(SymbolBinding.GLOBAL, SymbolKind.FUNC),
    ord("t"): _type(SymbolBinding.UNKNOWN, SymbolKind.FUNC),
    ord("A"): _type(SymbolBinding.GLOBAL, SymbolKind.UNKNOWN),
    ord("V"): _type(SymbolBinding.WEAK, SymbolKind.OBJECT),
    ord("W"): _type(SymbolBinding.WEAK, SymbolKind.UNKNOWN),
}


class TableSymbol(NamedTuple):
    """One symbol; ``size`` is the distance to the next address that has one (0 for the last)."""

    name: str
    address: int
    size: int
    binding: SymbolBinding
    kind: SymbolKind


class SymbolTable:
    """Symbols by name and by address: binary search over arrays, no Python object per symbol.

    :param base: the address of ``_stext`` in this program.
    :param sections: the arrays, as :attr:`sections` gives them.
    :raises ValueError: if the arrays do not belong together.
    """

    def __init__(self, base: int, sections: Mapping[str, bytes | memoryview]) -> None:
        missing = [name for name in _SECTIONS if name not in sections]
        if missing:
            raise ValueError(f"symbol table without {missing[0]}")
        self.sections = {name: sections[name] for name in _SECTIONS}
        self._base = base
        self._offsets = words_of(sections["sym_offsets"], "Q")  # by address
        self._rank = words_of(sections["sym_rank"])  # by address: place among the names
        self._kinds = bytes(sections["sym_kinds"])  # by address: binding << 4 | kind
        self._by_name = words_of(sections["sym_by_name"])  # by name: place among the addresses
        self._starts = words_of(sections["sym_starts"])  # by name: where the name starts in the blob
        self._names = bytes(sections["sym_names"])
        lengths = {len(self._rank), len(self._kinds), len(self._by_name), len(self._starts)}
        if lengths != {len(self._offsets)} or self._names[-1:] not in (b"", b"\0"):
            raise ValueError("symbol table arrays differ in length")

    @classmethod
    def build(cls, base: int, symbols: Iterable[Symbol]) -> SymbolTable:
        """Make the table of drgn's symbols (0.3 s for 150,000)."""
        # By identity: hashing 200,000 enum members costs more than decompressing kallsyms.
        bindings = {id(binding): place << 4 for place, binding in enumerate(_BINDINGS)}
        kinds = {id(kind): place for place, kind in enumerate(_KINDS)}
        by_address = sorted(
            (_store(symbol.address, base), symbol.name, bindings[id(symbol.binding)] | kinds[id(symbol.kind)])
            for symbol in symbols
        )
        return cls._of_sorted(
            base,
            [offset for offset, _, _ in by_address],
            [name.encode("utf-8", "surrogateescape") for _, name, _ in by_address],
            bytes([kind for _, _, kind in by_address]),
        )

    @classmethod
    def build_raw(cls, base: int, symbols: RawSymbols) -> SymbolTable | None:
        """The same table of the kernel's own; ``None`` if a symbol is of a type that drgn's would have to say."""
        if symbols.letters.translate(None, bytes(_TYPES)):
            return None
        kinds = symbols.letters.translate(bytes(_TYPES.get(letter, 0) for letter in range(256)))
        bias = _BIAS - base
        places = [
            address if address < _KERNEL else max(address + bias, _KERNEL) for address in symbols.addresses
        ]
        by_address = sorted(zip(places, symbols.names, kinds, strict=True))
        offsets, names, ordered = zip(*by_address, strict=True)
        return cls._of_sorted(base, offsets, names, bytes(ordered))

    @classmethod
    def _of_sorted(
        cls, base: int, offsets: Sequence[int], names: Sequence[bytes], kinds: bytes
    ) -> SymbolTable:
        count = len(offsets)
        order = sorted(range(count), key=names.__getitem__)
        rank = array("I", bytes(4 * count))
        for place, at in enumerate(order):
            rank[at] = place
        blob = [names[at] for at in order]
        ends = accumulate(map(len, blob), lambda position, length: position + length + 1, initial=0)
        starts = array("I", islice(ends, count))
        return cls(
            base,
            {
                "sym_offsets": bytes_of(array("Q", offsets)),
                "sym_starts": bytes_of(starts),
                "sym_by_name": bytes_of(array("I", order)),
                "sym_rank": bytes_of(rank),
                "sym_names": b"\0".join([*blob, b""]),
                "sym_kinds": kinds,
            },
        )

    def __len__(self) -> int:
        return len(self._offsets)

    def find(self, name: str) -> list[TableSymbol]:
        """All symbols of that name, in order of address."""
        key = name.encode("utf-8", "surrogateescape")
        places = range(len(self._starts))
        at = bisect_left(places, key, key=self._name)
        found = []
        while at < len(places) and self._name(at) == key:
            place = self._by_name[at]
            if place < len(places):  # else a damaged cache: it knows one symbol less
                found.append(self._symbol(place))
            at += 1
        return found

    def at(self, address: int) -> TableSymbol | None:
        """The symbol whose span holds the address; of aliases, a global one."""
        wanted = _store(address, self._base)
        last = bisect_right(self._offsets, wanted) - 1
        if last < 0:
            return None
        first = bisect_left(self._offsets, self._offsets[last])
        best = next((at for at in range(first, last + 1) if self._kinds[at] >> 4 == _GLOBAL), first)
        symbol = self._symbol(best)
        return symbol if symbol.address <= address < symbol.address + symbol.size else None

    def all(self) -> list[TableSymbol]:
        """Every symbol, in order of address (slow: for drgn's ``Program.symbols()``)."""
        return [self._symbol(at) for at in range(len(self))]

    def _name(self, place: int) -> bytes:
        if place >= len(self._starts):
            return b""  # a damaged cache; checking every number of it at each start would cost more than opening it
        start = self._starts[place]
        return self._names[start : self._names.find(b"\0", start)]

    def _symbol(self, at: int) -> TableSymbol:
        offset = self._offsets[at]
        following = bisect_right(self._offsets, offset)
        size = max(self._offsets[following] - offset, 0) if following < len(self._offsets) else 0
        if offset < _KERNEL <= offset + size:
            size = 0  # the last absolute symbol: the next is a kernel address
        binding, kind = self._kinds[at] >> 4, self._kinds[at] & 0xF
        return TableSymbol(
            self._name(self._rank[at]).decode("utf-8", "surrogateescape"),
            offset if offset < _KERNEL else (offset - _BIAS + self._base) & _ADDRESSES,
            size,
            _BINDINGS[binding % len(_BINDINGS)],
            _KINDS[kind % len(_KINDS)],
        )

    def __call__(self, prog: Program, name: str | None, address: int | None, one: bool) -> list[Symbol]:
        """The signature of ``Program.register_symbol_finder()``."""
        if name is not None:
            found = self.find(name)
            if address is not None:
                found = [
                    symbol for symbol in found if symbol.address <= address < symbol.address + symbol.size
                ]
            found.sort(key=lambda symbol: symbol.binding is not SymbolBinding.GLOBAL)
        elif address is not None:
            symbol = self.at(address)
            found = [symbol] if symbol else []
        else:
            found = self.all()
        return [Symbol(*symbol) for symbol in (found[:1] if one else found)]


def _store(address: int, base: int) -> int:
    return address if address < _KERNEL else max(address - base + _BIAS, _KERNEL)


def vmcoreinfo(prog: Program) -> str:
    """The text of VMCOREINFO.

    :raises TargetError: if the program has none.
    """
    try:
        return str(prog["VMCOREINFO"].string_(), "ascii", "replace")
    except LookupError:
        raise TargetError(
            "the target has no VMCOREINFO: it is not a Linux kernel, or not completely dumped"
        ) from None


def vmcoreinfo_symbol(text: str, name: str) -> int | None:
    """``SYMBOL(name)`` of VMCOREINFO."""
    match = re.search(rf"^SYMBOL\({re.escape(name)}\)=([0-9a-fA-F]{{1,16}})$", text, re.MULTILINE)
    return int(match[1], 16) if match else None


def load_symbols(prog: Program) -> SymbolTable:
    """Read kallsyms out of the kernel (or /proc/kallsyms, for the running one as root).

    :raises TargetError: if the kernel has none, or they cannot be read.
    """
    info = vmcoreinfo(prog)
    base = vmcoreinfo_symbol(info, "_stext")
    remedy = "give a vmlinux with -s"
    if base is None:
        raise TargetError(f"VMCOREINFO does not say where _stext is, so symbols cannot be placed: {remedy}")
    if not prog.flags & ProgramFlags.IS_LIVE:
        raw = _load_raw(prog, info, base)
        if raw is not None:
            return raw
    with drgn_errors(f"kallsyms cannot be read (that needs Linux 6.0 or newer; else {remedy})"):
        symbols = load_vmlinux_kallsyms(prog)(prog, None, None, False)
        # In here: a damaged name is no UTF-8, and drgn finds that out when it is asked for.
        placed = any(symbol.name == "_stext" and symbol.address == base for symbol in symbols)
        table = SymbolTable.build(base, symbols)
    if not placed:
        raise TargetError(
            f"kallsyms disagrees with VMCOREINFO about _stext (kptr_restrict, or damage): {remedy}"
        )
    return table


def _load_raw(prog: Program, info: str, base: int) -> SymbolTable | None:
    """Read at once, a third of the time drgn takes; ``None`` for whatever is not as expected: drgn knows more."""
    collecting = gc.isenabled()
    gc.disable()  # it would look through half a million objects again and again, none of them garbage
    try:
        places = {match[1]: int(match[2], 16) for match in _SYMBOL.finditer(info)}
        symbols = read_raw_symbols(prog, places)
        table = None if symbols is None else SymbolTable.build_raw(base, symbols)
        if table is None or all(symbol.address != base for symbol in table.find("_stext")):
            return None
        return table
    finally:
        if collecting:
            gc.enable()
