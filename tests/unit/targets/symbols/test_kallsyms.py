"""The symbol table: lookups by name and address, with and without relocation, and through a drgn program."""

from __future__ import annotations

from array import array

import pytest
from drgn import Architecture, Platform, Program, Symbol, SymbolBinding, SymbolKind
from hypothesis import given
from hypothesis import strategies as st

from explorer.targets.detect import detect_target
from explorer.targets.errors import TargetError
from explorer.targets.kernel import open_kernel
from explorer.targets.symbols import kallsyms
from explorer.targets.symbols.kallsyms import SymbolTable, load_symbols, vmcoreinfo, vmcoreinfo_symbol
from explorer.targets.symbols.kallsyms_raw import RawSymbols, expand, read_raw_symbols
from tests.conftest import FIXTURES
from tests.unit.poked import put

STEXT = 0xFFFF_FFFF_8100_0000
GLOBAL, LOCAL = SymbolBinding.GLOBAL, SymbolBinding.LOCAL


def symbol(name: str, address: int, binding: SymbolBinding = LOCAL) -> Symbol:
    return Symbol(name, address, 0, binding, SymbolKind.FUNC)


SYMBOLS = [
    symbol("runqueues", 0x2C980),
    symbol("last_percpu", 0x30000),
    symbol("_text", STEXT - 0x200, GLOBAL),
    symbol("_stext", STEXT, GLOBAL),
    symbol("alias", STEXT),
    symbol("init_fs", STEXT + 0x2000, GLOBAL),
    symbol("show", STEXT + 0x1000),
    symbol("show", STEXT + 0x1800),
    symbol("_end", STEXT + 0x3000, GLOBAL),
]
TABLE = SymbolTable.build(STEXT, SYMBOLS)


def test_a_name_has_all_its_addresses() -> None:
    assert [found.address for found in TABLE.find("show")] == [STEXT + 0x1000, STEXT + 0x1800]
    assert TABLE.find("sho") == TABLE.find("showx") == TABLE.find("") == []


def test_a_size_is_the_distance_to_the_next_symbol() -> None:
    assert [TABLE.find(name)[0].size for name in ("init_fs", "alias", "_end")] == [0x1000, 0x1000, 0]


def test_the_last_per_cpu_symbol_does_not_reach_up_to_the_kernel() -> None:
    assert TABLE.find("last_percpu")[0].size == 0
    assert TABLE.at(0x31000) is None


def test_an_address_inside_a_symbol_finds_it_and_a_global_one_among_aliases() -> None:
    found = TABLE.at(STEXT + 0x1900)
    assert found is not None
    assert (found.name, found.address) == ("show", STEXT + 0x1800)
    assert getattr(TABLE.at(STEXT + 5), "name", None) == "_stext"
    assert TABLE.at(STEXT + 0x3000) is None
    assert TABLE.at(0) is None
    assert TABLE.at((1 << 64) - 1) is None


def test_a_stored_table_is_relocated_except_its_per_cpu_symbols() -> None:
    moved = SymbolTable(STEXT + 0x2FA0_0000, TABLE.sections)
    assert moved.find("init_fs")[0].address == STEXT + 0x2FA0_2000
    assert moved.find("_text")[0].address == STEXT + 0x2FA0_0000 - 0x200
    assert moved.find("runqueues")[0].address == 0x2C980
    assert getattr(moved.at(STEXT + 0x2FA0_2010), "name", None) == "init_fs"


@pytest.mark.parametrize("section", list(TABLE.sections))
def test_a_table_with_a_missing_or_short_array_is_refused(section: str) -> None:
    without = {name: data for name, data in TABLE.sections.items() if name != section}
    with pytest.raises(ValueError, match="symbol table"):
        SymbolTable(STEXT, without)
    if section != "sym_names":  # which may well be empty
        with pytest.raises(ValueError, match="length"):
            SymbolTable(STEXT, {**TABLE.sections, section: b""})


def test_drgn_finds_symbols_through_the_table() -> None:
    prog = Program(Platform(Architecture.X86_64))
    prog.register_symbol_finder("table", TABLE, enable_index=0)
    assert prog.symbol("init_fs").address == STEXT + 0x2000
    assert prog.symbol(STEXT + 0x2008).name == "init_fs"
    assert {found.address for found in prog.symbols("show")} == {STEXT + 0x1000, STEXT + 0x1800}
    assert len(prog.symbols()) == len(SYMBOLS)
    with pytest.raises(LookupError):
        prog.symbol("missing")


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=4), st.integers(0, 1 << 20) | st.integers(STEXT, STEXT + 0x10000)
        ),
        max_size=40,
    )
)
def test_every_symbol_is_found_again_by_name_and_address(pairs: list[tuple[str, int]]) -> None:
    pairs = [(name.replace("\0", "0"), address) for name, address in pairs]
    pairs = [(name, address) for name, address in pairs if name.isprintable()]
    table = SymbolTable.build(STEXT, [symbol(name, address) for name, address in pairs])
    for name, address in pairs:
        assert address in [found.address for found in table.find(name)]
        at = table.at(address)
        assert at is None or at.address == address
    assert sorted((found.name, found.address) for found in table.all()) == sorted(pairs)


def test_vmcoreinfo_symbols_are_whole_lines() -> None:
    text = "OSRELEASE=7.3\nSYMBOL(_stext)=ffffffff81000000\nXSYMBOL(init)=1\n"
    assert vmcoreinfo_symbol(text, "_stext") == STEXT
    assert vmcoreinfo_symbol(text, "init") is None
    assert vmcoreinfo_symbol(text, ".stext") is None


def test_a_name_is_found_among_those_that_the_compiler_has_added_to() -> None:
    """Kernels built with LTO keep ``show.llvm.7`` before ``show`` where its address is lower."""
    names = ["sho", "show.llvm.7", "show", "show_all"]
    table = SymbolTable.build(STEXT, [symbol(name, STEXT + 16 * at) for at, name in enumerate(names)])
    lto = SymbolTable(STEXT, {**table.sections, "sym_by_name": array("I", range(4)).tobytes()})
    assert [found.address for found in lto.find("show")] == [STEXT + 32]
    assert [found.address for found in lto.find("show_all")] == [STEXT + 48]


def test_names_longer_than_a_byte_can_say_are_kept() -> None:
    long = "x" * 300
    table = SymbolTable.build(STEXT, [symbol(long, STEXT), symbol("y", STEXT + 8)])
    assert [found.name for found in table.all()] == [long, "y"]
    assert table.find(long)[0].address == STEXT


def test_a_damaged_token_table_is_refused_and_not_given_to_drgn_to_hang_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table without an end of any token: each would be as long as the table."""

    def hang(prog: Program) -> None:
        raise AssertionError("drgn was asked")

    with open_kernel(detect_target(str(FIXTURES["isolated"]))) as kernel:
        info = vmcoreinfo(kernel.prog)
        table, index = (vmcoreinfo_symbol(info, f"kallsyms_token_{name}") or 0 for name in ("table", "index"))
        put(kernel.prog, table, b"a" * (index - table - 1) + b"\0")
        monkeypatch.setattr("drgn.helpers.linux.kallsyms.load_vmlinux_kallsyms", hang)
        with pytest.raises(TargetError, match="give a vmlinux with -s"):
            load_symbols(kernel.prog)


def test_a_token_longer_than_any_name_is_refused() -> None:
    table = b"a" * 600 + b"\0"
    memory = (
        (2).to_bytes(
            4, "little"
        )  # the symbols' number, then their offsets, names, tokens, and the tokens' index
        + bytes(8)
        + b"\1\0\1\0"
        + table
        + bytes(512)
    )
    at = 0xFFFF_FFFF_8100_0000
    places = dict(
        zip(
            (f"kallsyms_{name}" for name in ("num_syms", "offsets", "names", "token_table", "token_index")),
            (at, at + 4, at + 12, at + 16, at + 16 + len(table)),
            strict=True,
        )
    )
    assert list(read_raw_symbols(_program(at, memory), places)) == []
    short = memory.replace(b"a" * 600, b"a" * 500 + b"\0" * 100)
    [found] = read_raw_symbols(_program(at, short), places)
    assert expand(found.names, 0, found.tokens) == b"a" * 500


def _program(address: int, memory: bytes) -> Program:
    prog = Program(Platform(Architecture.X86_64))
    prog.add_memory_segment(
        address, len(memory), lambda at, count, offset, physical: memory[offset : offset + count]
    )
    return prog


def test_a_name_of_many_long_tokens_is_cut_where_the_kernel_would() -> None:
    assert len(expand(b"\xff\x7f" + bytes(0x7FFF), 0, [b"a" * 500])) == 512


def test_names_that_fill_memory_all_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes are a name of 500: millions of them fit into a small dump."""
    monkeypatch.setattr(kallsyms, "_MAX_TEXT", 100_000)
    starts = array("I", range(0, 2 * 1000, 2))
    raw = RawSymbols(range(STEXT, STEXT + 1000), b"\1\0" * 1000, starts, [b"a" * 500] * 256, None)
    with pytest.raises(ValueError, match="names of kallsyms"):
        SymbolTable.of_raw(STEXT, raw)


def test_a_name_is_not_looked_for_among_millions_that_begin_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kallsyms, "_MAX_SUFFIXED", 8)
    names = [*(f"show.{number:03}" for number in range(100)), "show"]
    table = SymbolTable.build(STEXT, [symbol(name, STEXT + 16 * at) for at, name in enumerate(names)])
    assert [found.name for found in table.find("show")] == ["show"]
    table._expanded.clear()
    assert table.find("sho") == []
    assert len(table._expanded) < 20
