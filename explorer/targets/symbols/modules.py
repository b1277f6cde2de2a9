"""Loaded kernel modules: their address ranges, symbols and types.

Symbols come from each module's ``struct mod_kallsyms`` in two reads, types from the split BTF that hangs off
``btf_idr`` (``struct module.btf_data`` is freed once the module is up). Everything is read when it is first needed.
A module that is being unloaded, or is damaged, is left out with a note; walks are bounded.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from drgn import FaultError, Object, Program, SymbolBinding, SymbolKind

from explorer.targets.symbols.btf import Btf, BtfError
from explorer.targets.symbols.idr import for_each_idr_entry
from explorer.targets.symbols.kallsyms import TableSymbol

__all__ = ("LoadedModule", "ModuleTable")

MAX_MODULES = 4096
_MAX_SYMBOLS = 1 << 20
_MAX_STRINGS = 64 << 20
_MAX_BTF = 64 << 20
_MAX_NAME = 512  # KSYM_NAME_LEN
#: Bytes of symbols, their names and types, of all modules: those of every module of a distribution are 100 MB.
_MAX_READ = 256 << 20
#: What reading by damaged types raises, too: a structure lacks a member, or one is not what it should be.
_DAMAGED = (FaultError, LookupError, ValueError, AttributeError, TypeError)

_ELF64_SYM = struct.Struct("<IBBHQQ")
_SHN_UNDEF = 0
_BINDINGS = {0: SymbolBinding.LOCAL, 1: SymbolBinding.GLOBAL, 2: SymbolBinding.WEAK}
_KINDS = {0: SymbolKind.UNKNOWN, 1: SymbolKind.OBJECT, 2: SymbolKind.FUNC}


class LoadedModule(NamedTuple):
    """One ``struct module``; ``taints`` is the bit mask of ``TAINT_*``.

    :ivar ranges: (start, size in bytes) of its memory.
    :ivar percpu: the same of its per-CPU template, which lies in no address range of the module; or (0, 0).
    """

    address: int
    name: str
    ranges: tuple[tuple[int, int], ...]
    taints: int
    percpu: tuple[int, int] = (0, 0)

    def holds(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self.ranges)


class ModuleTable:
    """The modules of one program, read once; :meth:`forget` reads a running kernel's again.

    :ivar notes: what could not be read, one line each.
    """

    def __init__(self, prog: Program, vmlinux: Btf | None = None) -> None:
        self._prog = prog
        self._vmlinux = vmlinux
        self.notes: list[str] = []
        self._modules: list[LoadedModule] | None = None
        self._symbols: dict[LoadedModule, list[TableSymbol]] = {}
        self._btfs: dict[str, Btf] | None = None
        self._parsed: dict[tuple[str, int, int], Btf] = {}
        self._read = 0

    def forget(self) -> None:
        """Read the module list anew at the next use; what is known of a module that is still there stays."""
        self._modules = None
        self._btfs = None
        self._read = 0

    def _spend(self, size: int) -> None:
        """Before ``size`` bytes are read. In a dump made for it, thousands of modules have one long table."""
        self._read += size
        if self._read > _MAX_READ:
            raise ValueError(f"the tables of all modules have more than {_MAX_READ >> 20} MiB")

    def modules(self) -> list[LoadedModule]:
        """All loaded modules, in the kernel's order (newest first)."""
        if self._modules is None:
            self._modules = []  # what the walk itself looks up must not come back here
            self._modules = list(self._walk())
            self._symbols = {
                module: known for module, known in self._symbols.items() if module in self._modules
            }
        return self._modules

    def _walk(self) -> Iterator[LoadedModule]:
        try:
            head = self._prog["modules"].address_of_()
        except LookupError:
            return  # a kernel without CONFIG_MODULES
        seen = {head.value_()}
        try:
            module_type = self._prog.type("struct module")
            offset = module_type.member("list").offset
            node = head.next.value_()
            while node not in seen and len(seen) <= MAX_MODULES:
                seen.add(node)
                if node < offset:
                    raise ValueError(f"a pointer to {node:#x}")
                module = Object(self._prog, module_type, address=node - offset)
                yield _module(module)
                node = module.list.next.value_()
        except _DAMAGED as error:
            self.notes.append(f"the list of modules ends in something unreadable: {error}")
            return
        if node != head.value_():
            self.notes.append(
                "the list of modules is a cycle that does not come back to its head, or too long"
            )

    def find_module(self, name: str) -> LoadedModule | None:
        return next((module for module in self.modules() if module.name == name), None)

    def module_at(self, address: int) -> LoadedModule | None:
        return next((module for module in self.modules() if module.holds(address)), None)

    def symbols(self, module: LoadedModule) -> list[TableSymbol]:
        """The module's own symbols by address, statics included, with their ELF sizes."""
        if module not in self._symbols:
            try:
                self._symbols[module] = self._read_symbols(module)
            except _DAMAGED as error:
                self.notes.append(f"symbols of module {module.name} cannot be read: {error}")
                self._symbols[module] = []
        return self._symbols[module]

    def _read_symbols(self, module: LoadedModule) -> list[TableSymbol]:
        struct_module = Object(self._prog, "struct module", address=module.address)
        kallsyms = struct_module.kallsyms
        if not kallsyms:
            return []
        kallsyms = kallsyms[0].read_()
        count = kallsyms.num_symtab.value_()
        if count > _MAX_SYMBOLS:
            raise ValueError(f"{count} symbols")
        self._spend(count * _ELF64_SYM.size)
        raw = self._prog.read(kallsyms.symtab.value_(), count * _ELF64_SYM.size) if count else b""
        entries = [
            entry
            for entry in _ELF64_SYM.iter_unpack(raw)
            if entry[0] and entry[3] != _SHN_UNDEF and _defines(module, entry[4])
        ]
        if not entries:
            return []
        last = max(entry[0] for entry in entries)
        if last > _MAX_STRINGS:
            raise ValueError(f"string table of {last} bytes")
        self._spend(last)
        strtab = kallsyms.strtab.value_()
        names = (
            self._prog.read(strtab, last)
            + self._prog.read_c_string(strtab + last, max_size=_MAX_NAME)
            + b"\0"
        )
        found = [
            TableSymbol(
                names[name : names.index(b"\0", name)].decode("utf-8", "surrogateescape"),
                value,
                size,
                _BINDINGS.get(info >> 4, SymbolBinding.UNKNOWN),
                _KINDS.get(info & 0xF, SymbolKind.UNKNOWN),
            )
            for name, info, _, _, value, size in entries
        ]
        found.sort(key=lambda symbol: symbol.address)
        return found

    def find(self, name: str) -> Iterator[tuple[str, TableSymbol]]:
        """(module, symbol) for every module's symbol of that name."""
        for module in self.modules():
            for symbol in self.symbols(module):
                if symbol.name == name:
                    yield module.name, symbol

    def at(self, address: int) -> tuple[str, TableSymbol] | None:
        """(module, the nearest symbol at or below the address)."""
        module = self.module_at(address)
        if module is None:
            return None
        symbols = self.symbols(module)
        at = bisect_right(symbols, address, key=lambda symbol: symbol.address) - 1
        return (module.name, symbols[at]) if at >= 0 else None

    def btfs(self) -> list[Btf]:
        """The split BTF of each module that has one, parsed."""
        if self._btfs is None:
            self._btfs = {}  # what the walk itself looks up must not come back here
            self._btfs = dict(self._read_btfs())
        return list(self._btfs.values())

    def btf(self, module: str) -> Btf | None:
        """The split BTF of one module."""
        self.btfs()
        return (self._btfs or {}).get(module)

    def btf_places(self) -> list[tuple[int, int]]:
        """Address and size of the BTF of each module that was parsed."""
        return [(data, size) for _, data, size in self._parsed]

    def _read_btfs(self) -> Iterator[tuple[str, Btf]]:
        if self._vmlinux is None:
            return
        try:
            entries = for_each_idr_entry(self._prog["btf_idr"])
            for entry in islice(entries, MAX_MODULES):
                btf = Object(self._prog, "struct btf *", entry)[0].read_()
                if not btf.kernel_btf or not btf.base_btf:
                    continue
                name = btf.name.string_().decode("utf-8", "surrogateescape")
                parsed = self._parse(name, btf)
                if parsed:
                    yield name, parsed
        except _DAMAGED as error:
            self.notes.append(f"types of modules cannot be read: {error}")

    def _parse(self, name: str, btf: Object) -> Btf | None:
        data, size = btf.data.value_(), btf.data_size.value_()
        key = (name, data, size)
        if key in self._parsed:
            return self._parsed[key]
        try:
            if size > _MAX_BTF or btf.start_id.value_() != self._vmlinux_end():
                raise BtfError("it does not continue vmlinux's")
            self._spend(size)
            self._parsed[key] = Btf(self._prog.read(data, size), base=self._vmlinux)
            return self._parsed[key]
        except (FaultError, ValueError) as error:  # BtfError is one
            self.notes.append(f"types of module {name} cannot be read: {error}")
            return None

    def _vmlinux_end(self) -> int:
        return self._vmlinux.end_id if self._vmlinux else 0


def _defines(module: LoadedModule, address: int) -> bool:
    """Not what was in the module's init memory, which is somebody else's by now."""
    start, size = module.percpu
    return module.holds(address) or start <= address < start + size


def _module(module: Object) -> LoadedModule:
    """``struct module`` as of Linux 6.4 (ac3b432839234: ``mem[]``), or with ``core_layout`` and ``init_layout``."""
    value = module.read_()
    try:
        areas = list(value.mem)
    except AttributeError:
        areas = [value.core_layout, value.init_layout]
    try:
        percpu = value.percpu.value_(), value.percpu_size.value_()
    except AttributeError:
        percpu = 0, 0  # a kernel without CONFIG_SMP
    ranges = ((area.base.value_(), area.size.value_()) for area in areas)
    return LoadedModule(
        module.address_ or 0,
        value.name.string_().decode("utf-8", "surrogateescape"),
        tuple((start, size) for start, size in ranges if start and size),
        value.taints.value_(),
        percpu,
    )
