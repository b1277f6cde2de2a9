"""Give a drgn program the types and symbols of its kernel: from BTF and kallsyms, or from DWARF.

:func:`attach_types` is the one entry point. BTF needs nothing but the kernel itself; DWARF needs a vmlinux with debug
info, and adds what BTF lacks (locals, unwinding tables, the types of all globals).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import drgn
from drgn import FaultError, Object, Program, ProgramFlags, Symbol, SymbolBinding, TypeKindSet

from explorer.targets.errors import TargetError
from explorer.targets.running import held_kallsyms
from explorer.targets.symbols import typecache
from explorer.targets.symbols.btf import Btf, BtfError
from explorer.targets.symbols.btf_index import BtfIndex, bytes_of, hash_names, words_of
from explorer.targets.symbols.btf_types import BtfTypes
from explorer.targets.symbols.dwarf import load_dwarf
from explorer.targets.symbols.globals import GlobalFinder
from explorer.targets.symbols.kallsyms import SymbolTable, load_symbols, vmcoreinfo, vmcoreinfo_symbol
from explorer.targets.symbols.modules import ModuleTable
from explorer.targets.symbols.system_map import load_system_map, read_system_map

__all__ = ("KernelTypes", "adopt_types", "attach_types")

_MAX_BTF = 256 << 20
_MAX_REMEMBERED = 10_000  # functions that work items run are a few hundred
_NO_BTF = "give a vmlinux with debug info (-s vmlinux)"
_FINDER = "nullfs-explorer"
_INDEX = (("btf_starts", "I"), ("btf_names", "Q"), ("btf_enums", "Q"), ("btf_hashes", "Q"))


class KernelTypes:
    """Types and symbols of one open kernel.

    :ivar mode: where the types come from.
    :ivar build_id: the kernel's BUILD-ID in hex, "" if VMCOREINFO has none.
    :ivar cached: whether types and symbols came from the cache.
    :ivar notes: what went wrong without stopping us (a damaged cache, an unreadable module), one line each.
    :ivar modules: the loaded kernel modules.
    :ivar symbols_file: the ``System.map`` that its symbols come from.
    """

    def __init__(self, prog: Program, mode: Literal["btf", "dwarf"], build_id: str) -> None:
        self.prog = prog
        self.mode = mode
        self.build_id = build_id
        self.cached = False
        self.symbols_file: Path | None = None
        self.modules = ModuleTable(prog)
        self._notes: list[str] = []
        self._symbols: SymbolTable | None = None
        self._elf_symbols: dict[int, tuple[str, int, None] | None] = {}
        self._types: BtfTypes | None = None
        self._globals: GlobalFinder | None = None
        self._looked_for_btf = False
        # Asked for at every capture; the second of these is forgotten when modules may have come and gone.
        self._core_addresses: dict[str, int] = {}
        self._addresses: dict[str, int | None] = {}
        self._core_symbols: dict[int, tuple[str, int, None]] = {}

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *self.modules.notes]

    def refresh(self) -> None:
        """Look at the loaded modules anew: for a kernel that runs between two captures."""
        self.modules.forget()
        self._addresses.clear()
        if self._types:
            self._types.forget_missing()
        if self._globals:
            self._globals.forget_modules()

    def symbol_address(self, name: str) -> int | None:
        """The address of a symbol of the core kernel, or else of a module; a global one before a static one."""
        known = self._core_addresses.get(name)
        if known is not None:
            return known
        if name not in self._addresses:
            core = self._symbols.find(name) if self._symbols is not None else []
            if core:
                first = min(core, key=lambda symbol: symbol.binding is not SymbolBinding.GLOBAL)
                self._core_addresses[name] = first.address
                return first.address
            try:
                self._addresses[name] = int(self.prog.symbol(name).address)
            except LookupError:
                self._addresses[name] = None
        return self._addresses[name]

    def has_symbol(self, name: str) -> bool:
        return self.symbol_address(name) is not None

    def symbol_at(self, address: int) -> tuple[str, int, str | None] | None:
        """(symbol, offset into it in bytes, module or None) for a kernel address."""
        known = self._core_symbols.get(address)
        if known is not None:
            return known
        core = self._symbols.at(address) if self._symbols else None
        if core is not None:
            found_core = core.name, address - core.address, None
            if len(self._core_symbols) < _MAX_REMEMBERED:
                self._core_symbols[address] = found_core
            return found_core
        found = self.modules.at(address)
        if found is not None:
            module, symbol = found
            return symbol.name, address - symbol.address, module
        if address not in self._elf_symbols:
            self._elf_symbols[address] = self._elf_symbol_at(address)
        return self._elf_symbols[address]

    def _elf_symbol_at(self, address: int) -> tuple[str, int, None] | None:
        """A symbol of vmlinux; drgn searches an ELF symbol table from end to end (0.8 ms), and few are asked for."""
        try:
            symbol = self.prog.symbol(address)
        except LookupError:
            return None
        return symbol.name, address - symbol.address, None

    def symbol_name(self, address: int) -> str | None:
        """The symbol at an address as the kernel prints it: ``name`` or ``name [module]``, without the offset."""
        found = self.symbol_at(address)
        if found is None:
            return None
        name, _, module = found
        return f"{name} [{module}]" if module else name

    def struct(self, name: str) -> drgn.Type:
        """The complete ``struct name``.

        :raises LookupError: if the kernel, and its loaded modules, have none.
        """
        try:
            found = self.prog.type(f"struct {name}")
        except LookupError:
            raise LookupError(f"this kernel has no struct {name} in its {self.mode.upper()}") from None
        if not found.is_complete():
            raise LookupError(f"this kernel's {self.mode.upper()} only declares struct {name}")
        return found

    def module_variable(self, module: str, name: str) -> Object | None:
        """A variable of a module (or built in) whose type :data:`.globals.MODULE_VARIABLES` has."""
        if self._globals is not None:
            return self._globals.module_variable(self.prog, module, name)
        return None

    def _attach_btf(self, btf: Btf, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self.modules = ModuleTable(self.prog, btf)
        self._types = BtfTypes(self.prog, btf, lambda: self.modules.btfs())
        self._globals = GlobalFinder(self._types, symbols, lambda name: self.modules.find(name))
        self.prog.register_type_finder(_FINDER, self._types, enable_index=-1)
        self.prog.register_object_finder(_FINDER, self._globals, enable_index=-1)
        self.prog.register_symbol_finder(_FINDER, symbols, enable_index=-1)
        self._attach_module_symbols()

    def _attach_module_symbols(self) -> None:
        self.prog.register_symbol_finder(f"{_FINDER} modules", self._find_module_symbols, enable_index=-1)

    def _attach_module_types(self) -> None:
        """Behind DWARF, which one vmlinux has of vmlinux alone: loaded modules carry BTF of their own."""
        self.prog.register_type_finder(f"{_FINDER} modules", self._find_module_type, enable_index=-1)

    def _find_module_type(
        self, prog: Program, kinds: TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        """The signature of ``Program.register_type_finder()``; reads BTF at the first name that DWARF lacks."""
        if not self._looked_for_btf:
            self._looked_for_btf = True  # what reading it looks up must not come back here
            self._types = self._read_module_types()
        return None if self._types is None else self._types(prog, kinds, name, filename)

    def _read_module_types(self) -> BtfTypes | None:
        try:
            start, stop = (self.prog.symbol(name).address for name in ("__start_BTF", "__stop_BTF"))
            if not 0 < stop - start <= _MAX_BTF:
                raise BtfError(f"it would be {stop - start} bytes long")
            vmlinux = Btf(self.prog.read(start, stop - start))
        except (LookupError, FaultError, BtfError) as error:
            self._notes.append(f"types of modules are not available: no BTF ({error})")
            return None
        modules = ModuleTable(self.prog, vmlinux)
        return BtfTypes(self.prog, vmlinux, modules.btfs)

    def _find_module_symbols(
        self, prog: Program, name: str | None, address: int | None, one: bool
    ) -> list[Symbol]:
        """The signature of ``Program.register_symbol_finder()``."""
        if address is not None:
            at = self.modules.at(address)
            symbols = [at[1]] if at and name in (None, at[1].name) else []
        elif name is not None:
            symbols = [symbol for _, symbol in self.modules.find(name)]
        else:
            symbols = [symbol for module in self.modules.modules() for symbol in self.modules.symbols(module)]
        return [Symbol(*symbol) for symbol in (symbols[:1] if one else symbols)]


def adopt_types(prog: Program) -> KernelTypes:
    """What a program has already (DWARF), and behind it types and symbols of its modules; once a program."""
    found = KernelTypes(prog, "dwarf", _build_id(vmcoreinfo(prog)))
    found._attach_module_symbols()
    found._attach_module_types()
    return found


def _build_id(info: str) -> str:
    match = re.search(r"^BUILD-ID=([0-9a-fA-F]+)$", info, re.MULTILINE)
    return match[1].lower() if match else ""


def attach_types(
    prog: Program,
    *,
    mode: Literal["btf", "dwarf"],
    symbols: Sequence[Path] = (),
    use_cache: bool = True,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
    symbols_file: Path | None = None,
) -> KernelTypes:
    """Attach types and symbols to a program that is a Linux kernel; once per program.

    :param symbols: ELF files with DWARF (mode ``dwarf``); without, drgn looks in the standard places.
    :param use_cache: read and write the per-BUILD-ID cache (mode ``btf``).
    :param force: accept a vmlinux whose build id differs.
    :param progress: called with a short text before each slow step.
    :param symbols_file: a ``System.map``, for a kernel whose kallsyms cannot be read (mode ``btf``).
    :raises TargetError: if there are no types for this kernel; says what to do.
    """
    tell = progress or (lambda text: None)
    info = vmcoreinfo(prog)
    found = KernelTypes(prog, mode, _build_id(info))
    if mode == "dwarf":
        tell("loading debug info")
        from concurrent.futures import ThreadPoolExecutor

        # drgn's threads for this end with the thread that needed them. Else they would stay, with the capabilities that
        # this one gives up later, and which nobody can take from them.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(load_dwarf, prog, found.build_id, symbols, force=force).result()
        found._attach_module_symbols()
        found._attach_module_types()
        return found
    found.symbols_file = symbols_file
    use_cache = use_cache and bool(found.build_id) and symbols_file is None
    pair = _from_cache(found, info) if use_cache else None
    if pair is None:
        tell("reading symbols (kallsyms)")
        if symbols_file is None:
            table = load_symbols(prog, lambda: _held_symbols(info))
        else:
            table = load_system_map(symbols_file, info)
        tell("reading types (BTF)")
        pair = _read_btf(prog, table), table
        if use_cache:
            _to_cache(found, *pair)
    found._attach_btf(*pair)
    return found


def _held_symbols(info: str) -> SymbolTable | None:
    """Of the running kernel, from what was opened while there were rights, if it was."""
    try:
        text = held_kallsyms()
    except (OSError, ValueError) as error:
        raise TargetError(f"/proc/kallsyms cannot be read: {error}") from error
    return None if text is None else read_system_map(text, "/proc/kallsyms", info)


def _read_btf(prog: Program, table: SymbolTable) -> Btf:
    live = ProgramFlags.IS_LIVE | ProgramFlags.IS_LOCAL
    sysfs = Path("/sys/kernel/btf/vmlinux")
    own = sysfs if prog.flags & live == live and os.access(sysfs, os.R_OK) else None
    try:
        if own is not None:
            return Btf(own.read_bytes())
        start, stop = (table.find(name) for name in ("__start_BTF", "__stop_BTF"))
        if not start or not stop:
            raise TargetError(f"this kernel carries no BTF (CONFIG_DEBUG_INFO_BTF): {_NO_BTF}")
        size = stop[0].address - start[0].address
        if not 0 < size <= _MAX_BTF:
            raise TargetError(
                f"the kernel's BTF would be {size} bytes long, its symbols are damaged: {_NO_BTF}"
            )
        return Btf(prog.read(start[0].address, size))
    except FaultError as error:
        raise TargetError(f"the kernel's BTF is not in the dump ({error}): {_NO_BTF}") from error
    except BtfError as error:
        raise TargetError(f"the BTF in {own or 'the kernel'} is damaged ({error}): {_NO_BTF}") from error
    except OSError as error:
        raise TargetError(f"cannot read BTF from {own}: {error.strerror or error}") from error


def _from_cache(found: KernelTypes, info: str) -> tuple[Btf, SymbolTable] | None:
    sections, note = typecache.load(found.build_id)
    if note:
        found._notes.append(note)
    base = vmcoreinfo_symbol(info, "_stext")
    if sections is None or base is None:
        return None
    try:
        table = SymbolTable(base, sections)
        # Two symbols that VMCOREINFO gives as well: it is the same kernel, and placed as the table thinks.
        for name in ("init_uts_ns", "init_top_pgt"):
            placed = [symbol.address for symbol in table.find(name)]
            if placed and vmcoreinfo_symbol(info, name) not in (None, *placed):
                raise ValueError(f"{name} is elsewhere")
        index = BtfIndex(*(words_of(sections[name], code) for name, code in _INDEX))
        btf = Btf(sections["btf"], index=index)
    except (ValueError, KeyError, TypeError) as error:
        found._notes.append(f"type cache ignored: it does not fit this kernel ({error})")
        return None
    found.cached = True
    return btf, table


def _to_cache(found: KernelTypes, btf: Btf, table: SymbolTable) -> None:
    index = btf.index._replace(hashes=hash_names(btf.strings, btf.index))
    arrays = zip(_INDEX, index, strict=True)
    sections = {"btf": btf.data, **{name: bytes_of(words) for (name, _), words in arrays}, **table.sections}
    note = typecache.store(found.build_id, sections)
    if note:
        found._notes.append(note)
