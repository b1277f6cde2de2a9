"""Layouts of structures, from types that may be damaged."""

from __future__ import annotations

import pytest
from drgn import Architecture, Platform, Program

from explorer.capture.memory.decode import LayoutError, make_decoder
from explorer.targets.symbols.btf_types import BtfTypes
from tests.unit.btf_builder import BtfBuilder


def program() -> Program:
    """``struct task { int pid; char comm[16]; }``"""
    make = BtfBuilder()
    number, char = make.integer("int", 4, signed=True), make.integer("char", 1, signed=True)
    make.struct("task", 20, [("pid", number, 0), ("comm", make.array(char, 16), 32)])
    prog = Program(Platform(Architecture.X86_64))
    prog.register_type_finder("btf", BtfTypes(prog, make.btf()), enable_index=0)
    return prog


def test_values_come_in_the_order_asked_and_none_for_what_a_kernel_lacks() -> None:
    decoder = make_decoder(program(), "task", "comm[]", "?umask", "pid")
    assert decoder.decode(b"\xff\xff\xff\xffkthreadd".ljust(20, b"\0")) == (
        b"kthreadd".ljust(16, b"\0"),
        None,
        -1,
    )


@pytest.mark.parametrize(
    ("wanted", "has"), [("pid[]", "int"), ("comm", r"char \[16\]"), ("?comm", r"char \[16\]")]
)
def test_a_number_where_an_array_belongs_is_refused_and_the_other_way_round(wanted: str, has: str) -> None:
    """Damaged types: whoever decodes would take the one for the other (fuzz: btf, case 373 of seed 2977917724)."""
    with pytest.raises(LayoutError, match=f"struct task has {has} for "):
        make_decoder(program(), "task", wanted)


def test_a_member_that_a_kernel_must_have_is_missed() -> None:
    with pytest.raises(LayoutError, match="has no gone or lost"):
        make_decoder(program(), "task", ("gone", "lost"))
