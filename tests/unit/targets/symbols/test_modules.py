"""Loaded modules, on hand-made memory: ranges, symbols, and lists that are damaged."""

from __future__ import annotations

import struct

import pytest
from drgn import Architecture, Platform, Program, Symbol, SymbolBinding, SymbolKind

from explorer.targets.symbols.btf import Kind
from explorer.targets.symbols.btf_types import BtfTypes
from explorer.targets.symbols.globals import GlobalFinder
from explorer.targets.symbols.kallsyms import SymbolTable
from explorer.targets.symbols.modules import ModuleTable
from tests.unit.btf_builder import BtfBuilder

BASE = 0xFFFF_FFFF_C000_0000
HEAD, FIRST, SECOND, TEXT, TEXT2 = BASE, BASE + 0x100, BASE + 0x200, BASE + 0x1000, BASE + 0x3000
#: struct module: list, name[16], mem[2] of {base, size}, taints, kallsyms
MODULE_SIZE = 16 + 16 + 2 * 16 + 8 + 8


class Memory:
    """64 KB of kernel memory from BASE."""

    def __init__(self) -> None:
        self.data = bytearray(1 << 16)

    def write(self, address: int, data: bytes) -> None:
        self.data[address - BASE : address - BASE + len(data)] = data

    def words(self, address: int, *values: int) -> None:
        self.write(address, struct.pack(f"<{len(values)}Q", *values))

    def module(self, address: int, following: int, name: bytes, text: int, kallsyms: int = 0) -> None:
        self.words(address, following, 0)
        self.write(address + 16, name.ljust(16, b"\0"))
        self.words(address + 32, text, 0x1000, 0, 0, 1 << 12, kallsyms)

    def kallsyms(self, address: int, symbols: list[tuple[bytes, int, int, int]]) -> None:
        """``struct mod_kallsyms`` of (name, value, size, section) behind the null symbol."""
        table, names = bytes(24), b"\0"
        for name, value, size, section in symbols:
            table += struct.pack("<IBBHQQ", len(names), 0x01, 0, section, value, size)
            names += name + b"\0"
        self.words(address, address + 64, len(symbols) + 1, address + 64 + len(table))
        self.write(address + 64, table + names)


def program(memory: Memory, *, list_at: int = 0) -> Program:
    make = BtfBuilder()
    long = make.integer("long unsigned int", 8)
    char = make.integer("char", 1, signed=True)
    pointer = make.add(Kind.PTR, ref=0)
    head = make.struct("list_head", 16, [("next", 5, 0), ("prev", 5, 64)])
    assert make.add(Kind.PTR, ref=head) == 5
    area = make.struct("module_memory", 16, [("base", pointer, 0), ("size", long, 64)])
    name, areas = make.array(char, 16), make.array(area, 2)
    kallsyms = make.struct(
        "mod_kallsyms", 24, [("symtab", pointer, 0), ("num_symtab", long, 64), ("strtab", pointer, 128)]
    )
    members = [
        ("list", head, list_at),
        ("name", name, 128),
        ("mem", areas, 256),
        ("taints", long, 512),
        ("kallsyms", make.add(Kind.PTR, ref=kallsyms), 576),
    ]
    make.struct("module", MODULE_SIZE, members)
    prog = Program(Platform(Architecture.X86_64))
    types = BtfTypes(prog, make.btf())
    symbols = [
        Symbol(text, at, 0, SymbolBinding.GLOBAL, SymbolKind.OBJECT)
        for text, at in (("modules", HEAD), ("x", HEAD + 16))
    ]
    table = SymbolTable.build(BASE, symbols)
    prog.register_type_finder("btf", types, enable_index=0)
    prog.register_object_finder("globals", GlobalFinder(types, table), enable_index=0)
    prog.add_memory_segment(
        BASE,
        len(memory.data),
        lambda address, count, offset, physical: bytes(memory.data[offset : offset + count]),
    )
    return prog


@pytest.fixture
def memory() -> Memory:
    """Two modules; the first has symbols, one of them undefined and one outside the module."""
    made = Memory()
    made.words(HEAD, FIRST, SECOND)
    made.module(FIRST, SECOND, b"ksmbd", TEXT, BASE + 0x5000)
    made.module(SECOND, HEAD, b"overlay", TEXT2)
    symbols = [
        (b"second", TEXT + 0x80, 16, 1),
        (b"first", TEXT, 8, 1),
        (b"imported", 0, 0, 0),
        (b"elsewhere", TEXT2, 8, 1),
    ]
    made.kallsyms(BASE + 0x5000, symbols)
    return made


def test_modules_are_listed_with_ranges_and_taints(memory: Memory) -> None:
    table = ModuleTable(program(memory))
    assert [(module.name, module.ranges, module.taints) for module in table.modules()] == [
        ("ksmbd", ((TEXT, 0x1000),), 1 << 12),
        ("overlay", ((TEXT2, 0x1000),), 1 << 12),
    ]
    assert table.notes == []


def test_symbols_are_those_the_module_defines_in_order(memory: Memory) -> None:
    table = ModuleTable(program(memory))
    assert [(one.name, one.address, one.size) for one in table.symbols(table.modules()[0])] == [
        ("first", TEXT, 8),
        ("second", TEXT + 0x80, 16),
    ]
    assert table.symbols(table.modules()[1]) == []
    assert [(module, one.address) for module, one in table.find("second")] == [("ksmbd", TEXT + 0x80)]


def test_an_address_resolves_to_its_module_s_nearest_symbol(memory: Memory) -> None:
    table = ModuleTable(program(memory))
    found = table.at(TEXT + 0x84)
    assert found is not None
    assert (found[0], found[1].name) == ("ksmbd", "second")
    assert table.at(TEXT + 0x1000) is None
    assert table.at(TEXT2) is None, "a module without symbols"


def test_a_list_that_bites_its_tail_ends_with_a_note(memory: Memory) -> None:
    memory.words(SECOND, FIRST)
    table = ModuleTable(program(memory))
    assert [module.name for module in table.modules()] == ["ksmbd", "overlay"]
    assert "cycle" in table.notes[0]


def test_a_list_into_nowhere_keeps_what_came_before(memory: Memory) -> None:
    memory.words(SECOND, 0xDEAD_0000_0000_0100)
    table = ModuleTable(program(memory))
    assert [module.name for module in table.modules()] == ["ksmbd", "overlay"]
    assert "unreadable" in table.notes[0]


@pytest.mark.parametrize("count", [1 << 40, 1 << 19])
def test_a_damaged_symbol_count_costs_only_that_module_s_symbols(memory: Memory, count: int) -> None:
    memory.words(BASE + 0x5008, count)
    table = ModuleTable(program(memory))
    assert table.symbols(table.modules()[0]) == []
    assert "ksmbd" in table.notes[0]


def test_a_running_kernel_s_modules_are_read_anew_after_forget(memory: Memory) -> None:
    table = ModuleTable(program(memory))
    assert len(table.modules()) == 2
    memory.words(HEAD, SECOND)
    assert len(table.modules()) == 2
    table.forget()
    assert [module.name for module in table.modules()] == ["overlay"]


def test_a_list_head_that_begins_within_a_byte_costs_the_modules_alone(memory: Memory) -> None:
    """Damaged types: an offset in bits that is none in bytes."""
    table = ModuleTable(program(memory, list_at=3))
    assert table.modules() == []
    assert len(table.notes) == 1 and "list of modules" in table.notes[0]
