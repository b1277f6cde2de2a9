"""drgn types made of BTF: what C means by each kind, and that damage cannot hang or crash drgn."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from drgn import (
    Architecture,
    Object,
    Platform,
    Program,
    Qualifiers,
    Type,
    TypeKind,
    cast,
    container_of,
    offsetof,
    sizeof,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.targets.symbols.btf import Btf, BtfError, Kind
from explorer.targets.symbols.btf_types import BtfTypes
from tests.unit.btf_builder import BtfBuilder
from tests.unit.targets.symbols.test_btf import BYTES, sample


def program(btf: Btf, modules: Iterable[Btf] = ()) -> tuple[Program, BtfTypes]:
    prog = Program(Platform(Architecture.X86_64))
    types = BtfTypes(prog, btf, lambda: modules)
    prog.register_type_finder("btf", types, enable_index=0)
    return prog, types


PROG, TYPES = program(sample().btf())


def test_a_struct_has_its_size_its_offsets_and_its_self_reference() -> None:
    node = PROG.type("struct node")
    assert sizeof(node) == 24
    assert offsetof(node, "value") == 8
    assert node.member("next").type.type_name() == "struct node *"
    assert sizeof(node.member("next").type.type) == 24
    assert node.member("inner").type.length == 3


def test_container_of_and_member_access_work_as_in_c() -> None:
    memory = bytes.fromhex("0010000000000000") + (7).to_bytes(4, "little") + bytes(12)
    prog, _ = program(sample().btf())
    prog.add_memory_segment(
        0x1000, len(memory), lambda address, count, offset, physical: memory[offset:][:count]
    )
    node = Object(prog, "struct node", address=0x1000)
    assert node.next.next.value.value_() == 7
    assert container_of(node.value.address_of_(), "struct node", "value").value_() == 0x1000


def test_bit_fields_read_only_their_own_bits() -> None:
    value = Object(PROG, "struct flags", address=0)
    assert [value.a.bit_field_size_, value.b.bit_field_size_, value.b.bit_offset_] == [3, 5, 3]
    assert PROG.type("struct flags").member("b").bit_field_size == 5


def test_typedefs_qualifiers_and_pointers_keep_their_spelling() -> None:
    assert TYPES.type(TYPES.vmlinux, 17).type_name() == "const volatile node_t"
    assert TYPES.type(TYPES.vmlinux, 16).qualifiers == Qualifiers.CONST
    assert TYPES.type(TYPES.vmlinux, 18).type_name() == "struct node * restrict"
    assert PROG.type("node_t").type.type_name() == "struct node"


def test_scalars_are_what_the_helpers_ask_for_by_their_c_names() -> None:
    assert PROG.type("unsigned int").primitive is not None
    assert not PROG.type("unsigned int").is_signed
    assert PROG.type("int").is_signed
    assert PROG.type("_Bool").kind == TypeKind.BOOL
    assert PROG.type("double").kind == TypeKind.FLOAT


def test_enums_have_sign_and_width_of_their_values() -> None:
    assert [tuple(one) for one in PROG.type("enum color").enumerators or ()] == [("RED", 0), ("GREEN", 5)]
    assert cast("enum below", Object(PROG, "int", -1)).format_(type_name=False) == "MINUS"
    assert sizeof(PROG.type("enum wide")) == 8
    low = TYPES.constant("LOW")
    assert low is not None
    assert low.value_() == -(1 << 40)
    assert TYPES.constant("NONE_SUCH") is None


def test_a_function_has_the_type_of_its_prototype() -> None:
    walk = TYPES.named("walk", Kind.FUNC)
    assert walk is not None
    assert walk.type_name() == "int (struct node *head, ...)"


def test_a_forward_declaration_stands_for_the_complete_type_where_there_is_one() -> None:
    assert not PROG.type("struct later").is_complete()
    assert PROG.type("union later_union").kind == TypeKind.UNION
    make = BtfBuilder()
    announced = make.add(Kind.FWD, "thing")
    pointer = make.add(Kind.PTR, ref=announced)
    make.struct("user", 8, [("thing", pointer, 0)])
    make.struct("thing", 4, [("x", make.integer("int", signed=True), 0)])
    prog, _ = program(make.btf())
    assert prog.type("struct thing").is_complete()
    assert prog.type("struct user").member("thing").type.type.is_complete()


def test_a_forward_declaration_of_a_module_stands_for_the_type_that_another_module_has() -> None:
    make = BtfBuilder()
    number = make.integer("int", signed=True)
    vmlinux = make.btf()
    announcing, having = BtfBuilder(vmlinux), BtfBuilder(vmlinux)
    pointer = announcing.add(Kind.PTR, ref=announcing.add(Kind.FWD, "driver"))
    announcing.struct("server", 8, [("driver", pointer, 0)])
    having.struct("driver", 4, [("id", number, 0)])
    modules = [announcing.btf()]
    prog, types = program(vmlinux, modules)
    assert not prog.type("struct server").member("driver").type.type.is_complete()
    modules.append(having.btf())  # that one is loaded later
    types.forget_missing()
    driver = types.type(modules[0], pointer).type
    assert driver.is_complete() and driver.member("id").type.type_name() == "int"


def test_a_name_of_another_kind_is_not_taken_for_the_type() -> None:
    with pytest.raises(LookupError):
        PROG.type("union node")
    with pytest.raises(LookupError):
        PROG.type("walk")
    with pytest.raises(LookupError):
        PROG.type("struct node", filename="fs/namespace.c")


def test_only_a_last_member_without_length_is_a_flexible_array() -> None:
    make = BtfBuilder()
    char = make.integer("char", 1, signed=True)
    empty = make.array(char, 0)
    make.struct("line", 8, [("pad", empty, 0), ("length", make.integer("long", 8), 0), ("text", empty, 64)])
    prog, _ = program(make.btf())
    line = prog.type("struct line")
    assert line.member("pad").type.length == 0
    assert line.member("text").type.length is None


def test_vmlinux_comes_before_a_module_s_private_copy() -> None:
    base = sample().btf()
    make = BtfBuilder(base=base)
    make.struct("node", 99, [])
    make.struct("later", 4, [("x", 1, 0)])
    make.struct("module_only", 24, [("node", 4, 0)])
    prog, _ = program(base, [make.btf()])
    assert sizeof(prog.type("struct node")) == 24
    assert prog.type("struct later").is_complete(), "vmlinux only declares it, the module defines it"
    assert sizeof(prog.type("struct module_only").member("node").type) == 24


def test_modules_that_come_later_are_found_after_a_refresh() -> None:
    base = sample().btf()
    modules: list[Btf] = []
    prog, types = program(base, modules)
    with pytest.raises(LookupError):
        prog.type("struct late")
    make = BtfBuilder(base=base)
    make.struct("late", 4, [("x", 1, 0)])
    modules.append(make.btf())
    types.forget_missing()
    assert sizeof(prog.type("struct late")) == 4


def test_a_struct_inside_itself_is_an_error_and_no_endless_recursion() -> None:
    make = BtfBuilder()
    make.struct("a", 8, [("", 2, 0)])
    make.struct("b", 8, [("", 1, 0)])
    prog, _ = program(make.btf())
    with pytest.raises(BtfError, match="contains itself"):
        prog.type("struct a").has_member("x")


def test_a_member_outside_its_struct_is_an_error() -> None:
    make = BtfBuilder()
    make.struct("tiny", 4, [("far", make.integer("int"), 32)])
    prog, _ = program(make.btf())
    with pytest.raises(BtfError, match="outside"):
        _ = prog.type("struct tiny").member("far").type


def test_pointer_cycles_and_deep_chains_are_errors() -> None:
    make = BtfBuilder()
    make.add(Kind.PTR, ref=1)
    last = make.integer("int")
    for _ in range(500):
        last = make.add(Kind.PTR, ref=last)
    _, types = program(make.btf())
    for type_id in (1, last):
        with pytest.raises(BtfError, match="refers to itself"):
            types.type(types.vmlinux, type_id)


def explore(found: Type, seen: set[str], depth: int = 0) -> None:
    """Touch everything of a type, as printing an object of it would."""
    name = found.type_name()
    if depth > 6 or (found.kind in (TypeKind.STRUCT, TypeKind.UNION) and name in seen):
        return
    seen.add(name)
    if found.kind in (TypeKind.STRUCT, TypeKind.UNION):
        for member in found.members or ():
            explore(member.type, seen, depth + 1)
        if found.is_complete():
            found.has_member("no such member")
    elif found.kind in (TypeKind.POINTER, TypeKind.ARRAY, TypeKind.TYPEDEF):
        explore(found.type, seen, depth + 1)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(24, len(BYTES) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_btf_never_raises_anything_but_a_btf_error(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(BYTES)
    for at, value in changes:
        damaged[at] = value
    try:
        btf = Btf(bytes(damaged))
    except BtfError:
        return
    _, types = program(btf)
    for type_id in range(btf.end_id):
        try:
            explore(types.type(btf, type_id), set())
        except BtfError:
            continue
