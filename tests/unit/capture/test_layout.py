"""Layouts of structures, from types that may be damaged."""

from __future__ import annotations

import pytest
from drgn import Architecture, Platform, Program

from explorer.capture.memory.decode import LayoutError, make_decoder
from explorer.capture.memory.layout import probe_layout
from explorer.capture.memory.structures import TaskStruct
from explorer.capture.tasks.holes import _NAMED
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from explorer.targets.symbols.btf_types import BtfTypes
from tests.conftest import FIXTURES
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
    "wanted",
    [
        ("pid", "comm[]"),
        ("comm[]", "pid"),
        ("?umask", "pid", "comm[]"),
        ("pid", "?umask", "comm[]"),
        ("pid", "comm[]", "?umask"),
        ("pid", "?umask", "?seq", "comm[]"),
        ("comm[]", "?umask", "pid"),
    ],
)
@pytest.mark.parametrize("tail", [(), (False,)])
def test_many_values_are_in_the_order_of_one_however_they_lie_and_whatever_a_kernel_lacks(
    wanted: tuple[str, ...], tail: tuple[bool, ...]
) -> None:
    decoder, data = make_decoder(program(), "task", *wanted), b"\x07\0\0\0kworker".ljust(20, b"\0")
    unpack, arrange = decoder.parts(tail)
    assert arrange(unpack(data), 0xFFFF) == (0xFFFF, *decoder.decode(data), *tail)


@pytest.mark.parametrize("base", sorted(FIXTURES))
def test_the_members_of_a_task_lie_in_the_order_of_its_fields_so_that_none_is_put_into_place_alone(
    base: str,
) -> None:
    with open_kernel(detect_target(str(FIXTURES[base]))) as kernel:
        places = [member[0] for member in probe_layout(kernel.prog).task.members if member is not None]
    assert places == sorted(places)


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


def test_an_entry_of_a_task_with_holes_has_a_place_for_each_of_its_members() -> None:
    assert sorted(_NAMED) == sorted(set(TaskStruct._fields) - {"address"})
