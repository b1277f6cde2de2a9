"""The core kernel's symbols, out of its own kallsyms, in a table that a cache can keep.

drgn decompresses kallsyms in C; that costs 0.1 to 0.9 s for each attach. The :class:`SymbolTable` is a handful of
arrays: addresses relative to ``_stext`` (so that it fits the same kernel at another KASLR offset), and names, which
stay compressed as the kernel has them: a search expands the few that it looks at. Kernels before 6.15 also have
per-CPU symbols at low addresses, which are offsets and never relocated.
"""

from __future__ import annotations

import gc
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from drgn import Program, ProgramFlags, Symbol, SymbolBinding, SymbolKind

from explorer.targets.addresses import is_kernel_pointer
from explorer.targets.drgn_calls import drgn_errors
from explorer.targets.errors import TargetError
from explorer.targets.symbols.btf_index import bytes_of, words_of
from explorer.targets.symbols.kallsyms_raw import NR_TOKENS, RawSymbols, expand, read_raw_symbols

__all__ = ("SymbolTable", "TableSymbol", "letter_means", "load_symbols", "vmcoreinfo", "vmcoreinfo_symbol")

#: Everything below is an offset (per-CPU, or a constant), not a kernel address.
_KERNEL = 1 << 47
#: Added to the distance from ``_stext``: keeps all kernel addresses above all absolute symbols.
_BIAS = 1 << 48
_ADDRESSES = (1 << 64) - 1
_BINDINGS = tuple(SymbolBinding)
_KINDS = tuple(SymbolKind)
_SYMBOL = re.compile(r"^SYMBOL\(([\w.]+)\)=([0-9a-fA-F]{1,16})$", re.MULTILINE)
_SECTIONS = ("sym_addresses", "sym_names", "sym_starts", "sym_tokens", "sym_kinds", "sym_by_name")
#: Names that are kept expanded: those in the middle are looked at by every search.
_MAX_EXPANDED = 1 << 14
#: Symbols at one address that are looked at for the best name: markers of empty sections are some dozens.
_MAX_ALIASES = 256
#: Names that begin alike, and are looked through for one: ``name`` among all ``name.llvm.123``.
_MAX_SUFFIXED = 1 << 13
_MAX_NAME = 0x7FFF
_MAX_TEXT = 256 << 20  # bytes of all names: a distribution's kernel has six million


def letter_means(letter: int) -> tuple[SymbolBinding, SymbolKind]:
    """What drgn makes of a letter of nm(1)."""
    lower = letter | 0x20
    if letter == ord("u"):
        binding = SymbolBinding.UNIQUE
    elif lower in b"vw":
        binding = SymbolBinding.WEAK
    else:
        binding = SymbolBinding.GLOBAL if chr(letter).isupper() else SymbolBinding.UNKNOWN
    kind = SymbolKind.UNKNOWN
    if lower in b"bcdgrv":
        kind = SymbolKind.OBJECT
    elif lower == ord("t"):
        kind = SymbolKind.FUNC
    return binding, kind


def _type_of(letter: int) -> int:
    binding, kind = letter_means(letter)
    return _BINDINGS.index(binding) << 4 | _KINDS.index(kind)


_TYPES = bytes(map(_type_of, range(NR_TOKENS)))


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
        self._addresses = words_of(sections["sym_addresses"], "Q")  # ascending
        self._names = memoryview(sections["sym_names"])
        self._starts = words_of(sections["sym_starts"])  # by address: where the name starts
        self._tokens = bytes(sections["sym_tokens"]).split(b"\0")
        self._kinds = bytes(sections["sym_kinds"])  # by first letter: binding << 4 | kind
        self._by_name = words_of(sections["sym_by_name"])  # by name: place among the addresses
        self._expanded: dict[int, bytes] = {}
        lengths = {len(self._starts), len(self._by_name)}
        if lengths != {len(self._addresses)}:
            raise ValueError("symbol table arrays differ in length")
        if len(self._tokens) != NR_TOKENS or len(self._kinds) != NR_TOKENS:
            raise ValueError("symbol table arrays have a wrong length")

    @classmethod
    def build(cls, base: int, symbols: Iterable[Symbol]) -> SymbolTable:
        """Make the table of drgn's symbols (0.3 s for 150,000): their names are not compressed."""
        # By identity: hashing 200,000 enum members costs more than decompressing kallsyms.
        bindings = {id(binding): place << 4 for place, binding in enumerate(_BINDINGS)}
        kinds = {id(kind): place for place, kind in enumerate(_KINDS)}
        by_address = sorted(
            (
                _store(symbol.address, base),
                symbol.name.encode("utf-8", "surrogateescape")[: _MAX_NAME - 1],
                bindings[id(symbol.binding)] | kinds[id(symbol.kind)],
            )
            for symbol in symbols
        )
        types = sorted({kind for _, _, kind in by_address})
        letters = {kind: bytes([letter]) for letter, kind in enumerate(types, start=1)}
        names, starts = bytearray(), array("I")
        for _, name, kind in by_address:
            starts.append(len(names))
            length = len(name) + 1
            names += bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
            names += letters[kind] + name
        order = array("I", sorted(range(len(by_address)), key=lambda at: by_address[at][1]))
        return cls(
            base,
            {
                "sym_addresses": bytes_of(array("Q", [address for address, _, _ in by_address])),
                "sym_names": bytes(names),
                "sym_starts": bytes_of(starts),
                "sym_tokens": b"\0".join([b"", *(bytes([code]) for code in range(1, NR_TOKENS))]),
                "sym_kinds": bytes([0, *types]).ljust(NR_TOKENS, b"\0"),
                "sym_by_name": bytes_of(order),
            },
        )

    @classmethod
    def of_raw(cls, base: int, symbols: RawSymbols) -> SymbolTable:
        """The table of the kernel's own; where it does not give the order of the names, it is made here (0.2 s)."""
        order = symbols.order
        if order is None:
            names = list(_expand_all(symbols))
            order = array("I", sorted(range(len(names)), key=names.__getitem__))
        bias = _BIAS - base
        places = (
            address if address < _KERNEL else max(address + bias, _KERNEL) for address in symbols.addresses
        )
        return cls(
            base,
            {
                "sym_addresses": bytes_of(array("Q", places)),
                "sym_names": symbols.names,
                "sym_starts": bytes_of(symbols.starts),
                "sym_tokens": b"\0".join(symbols.tokens),
                "sym_kinds": _TYPES,
                "sym_by_name": bytes_of(order),
            },
        )

    def __len__(self) -> int:
        return len(self._addresses)

    def find(self, name: str) -> list[TableSymbol]:
        """All symbols of that name, in order of address."""
        key = name.encode("utf-8", "surrogateescape")
        places = range(len(self._by_name))
        found = []
        first = bisect_left(places, key, key=self._ordered)
        for place in range(first, min(len(places), first + _MAX_SUFFIXED)):
            own = self._ordered(place)
            if own == key:
                found.append(self._symbol(self._by_name[place]))
            elif not own.startswith(key + b"."):
                break  # a kernel built with LTO has name.llvm.123 among them: it sorts without what follows the dot
        return found

    def at(self, address: int) -> TableSymbol | None:
        """The symbol whose span holds the address; of aliases, a global one."""
        wanted = _store(address, self._base)
        last = bisect_right(self._addresses, wanted) - 1
        if last < 0:
            return None
        first = bisect_left(self._addresses, self._addresses[last])
        aliases = [self._symbol(at) for at in range(first, min(last + 1, first + _MAX_ALIASES))]
        symbol = min(aliases, key=lambda alias: (alias.binding is not SymbolBinding.GLOBAL, alias.name))
        return symbol if symbol.address <= address < symbol.address + symbol.size else None

    def all(self) -> list[TableSymbol]:
        """Every symbol, in order of address (slow: for drgn's ``Program.symbols()``)."""
        return [self._symbol(at) for at in range(len(self))]

    def _ordered(self, place: int) -> bytes:
        """The name at a place in the order of names."""
        name = self._expanded.get(place)
        if name is None:
            name = self._text(self._by_name[place])[1:]
            if len(self._expanded) < _MAX_EXPANDED:
                self._expanded[place] = name
        return name

    def _text(self, at: int) -> bytes:
        """Letter and name; empty in a damaged cache: checking all its numbers at each start would cost more."""
        return expand(self._names, self._starts[at], self._tokens) if at < len(self._starts) else b""

    def _symbol(self, at: int) -> TableSymbol:
        text = self._text(at)
        offset = self._addresses[at] if at < len(self._addresses) else 0
        following = bisect_right(self._addresses, offset)
        size = max(self._addresses[following] - offset, 0) if following < len(self._addresses) else 0
        if offset < _KERNEL <= offset + size:
            size = 0  # the last absolute symbol: the next is a kernel address
        what = self._kinds[text[0]] if text else 0
        return TableSymbol(
            text[1:].decode("utf-8", "surrogateescape"),
            offset if offset < _KERNEL else (offset - _BIAS + self._base) & _ADDRESSES,
            size,
            _BINDINGS[(what >> 4) % len(_BINDINGS)],
            _KINDS[(what & 0xF) % len(_KINDS)],
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


def _expand_all(symbols: RawSymbols) -> Iterator[bytes]:
    """Every name. :raises ValueError: if they are longer, all together, than those of any kernel"""
    total = 0
    for start in symbols.starts:
        name = expand(symbols.names, start, symbols.tokens)[1:]
        total += len(name)
        if total > _MAX_TEXT:
            raise ValueError(f"the names of kallsyms have more than {_MAX_TEXT >> 20} MiB")
        yield name


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


def load_symbols(prog: Program, otherwise: Callable[[], SymbolTable | None] = lambda: None) -> SymbolTable:
    """Read kallsyms out of the kernel; of a running one of before 6.0, from /proc/kallsyms, which takes root.

    :param otherwise: called for the running one before that: perhaps it has been read already
    :raises TargetError: if the kernel has none, or they cannot be read.
    """
    info = vmcoreinfo(prog)
    base = vmcoreinfo_symbol(info, "_stext")
    remedy = "give a vmlinux with -s"
    if base is None or not is_kernel_pointer(base):
        raise TargetError(f"VMCOREINFO does not say where _stext is, so symbols cannot be placed: {remedy}")
    raw = _load_raw(prog, info, base)
    if raw is not None:
        return raw
    if not prog.flags & ProgramFlags.IS_LOCAL:  # not for drgn either: a damaged table keeps it busy for ever
        raise TargetError(
            f"kallsyms cannot be read: it is damaged, not in the dump, or older than Linux 6.0; "
            f"bring the kernel's System.map (--symbols-file), or {remedy}"
        )
    held = otherwise()
    if held is not None:
        return held
    from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

    with drgn_errors(f"kallsyms cannot be read ({remedy})"):
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
    """Read at once, a tenth of the time drgn takes; ``None`` for whatever is not as expected."""
    collecting = gc.isenabled()
    gc.disable()  # it would look through all those names again and again, none of them garbage
    try:
        places = {match[1]: int(match[2], 16) for match in _SYMBOL.finditer(info)}
        for symbols in read_raw_symbols(prog, places):
            table = SymbolTable.of_raw(base, symbols)
            if any(symbol.address == base for symbol in table.find("_stext")):
                return table
        return None
    except ValueError:
        return None
    finally:
        if collecting:
            gc.enable()
