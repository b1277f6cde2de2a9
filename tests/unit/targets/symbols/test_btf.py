"""The BTF reader, on hand-made sections of each kind, and on damaged ones."""

from __future__ import annotations

import struct
import time
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.targets.symbols.btf import Btf, BtfError, Kind, Member
from explorer.targets.symbols.btf_index import BtfIndex, bytes_of, hash_names, hashed_offsets, words_of
from tests.unit.btf_builder import BtfBuilder


def sample() -> BtfBuilder:
    """One type of every kind, linked as a kernel links them."""
    make = BtfBuilder()
    integer = make.integer("int", signed=True)
    u32 = make.integer("unsigned int")
    make.integer("_Bool", 1, boolean=True)
    node = make.struct("node", 24, [("next", 5, 0), ("value", integer, 64), ("inner", 9, 96)])
    make.add(Kind.PTR, ref=node)
    make.struct("flags", 4, [("a", u32, 3 << 24), ("b", u32, 5 << 24 | 3)], bit_fields=True)
    make.struct("both", 8, [("x", integer, 0), ("p", 5, 0)], kind=Kind.UNION)
    make.enum("color", {"RED": 0, "GREEN": 5})
    make.array(integer, 3)
    make.enum("below", {"MINUS": -1}, signed=True)
    make.enum64("wide", {"HUGE": 1 << 40})
    make.enum64("wide_signed", {"LOW": -(1 << 40)}, signed=True)
    make.add(Kind.FWD, "later")
    make.add(Kind.FWD, "later_union", flag=True)
    typedef = make.add(Kind.TYPEDEF, "node_t", node)
    const = make.add(Kind.CONST, ref=typedef)
    make.add(Kind.VOLATILE, ref=const)
    make.add(Kind.RESTRICT, ref=5)
    make.function("walk", integer, [("head", 5), ("", 0)])
    make.add(Kind.FLOAT, "double", 8)
    variable = make.add(Kind.VAR, "runqueues", node, words=(1,))
    make.add(Kind.DATASEC, ".data..percpu", 24, vlen=1, words=(variable, 0, 24))
    make.add(Kind.DECL_TAG, "bpf_kfunc", integer, words=(0xFFFFFFFF,))
    make.add(Kind.TYPE_TAG, "rcu", node)
    return make


BTF = sample().btf()
BYTES = sample().section()


def only(name: str, *kinds: Kind, btf: Btf = BTF) -> int:
    (found,) = btf.find(name, kinds)
    return found


def test_every_kind_is_counted_so_that_ids_are_right() -> None:
    assert BTF.end_id == 26
    assert {BTF.type(type_id).kind for type_id in range(BTF.end_id)} == set(Kind)


def test_struct_members_have_their_offsets_and_types() -> None:
    assert BTF.members(only("node", Kind.STRUCT)) == [
        Member("next", 5, 0, 0),
        Member("value", 1, 64, 0),
        Member("inner", 9, 96, 0),
    ]


def test_bit_fields_of_a_kind_flag_struct_have_offset_and_width() -> None:
    assert BTF.members(only("flags", Kind.STRUCT)) == [Member("a", 2, 0, 3), Member("b", 2, 3, 5)]


def test_bit_fields_hidden_in_an_integer_are_found_without_kind_flag() -> None:
    make = BtfBuilder()
    narrow = make.add(Kind.INT, "unsigned int", 4, words=(2 << 16 | 3,))
    parent = make.struct("old", 4, [("field", narrow, 8)])
    assert make.btf().members(parent) == [Member("field", narrow, 10, 3)]


def test_enumerators_keep_sign_and_all_64_bits() -> None:
    assert BTF.enumerators(only("color", Kind.ENUM)) == [("RED", 0), ("GREEN", 5)]
    assert BTF.enumerators(only("below", Kind.ENUM)) == [("MINUS", -1)]
    assert BTF.enumerators(only("wide", Kind.ENUM64)) == [("HUGE", 1 << 40)]
    assert BTF.enumerators(only("wide_signed", Kind.ENUM64)) == [("LOW", -(1 << 40))]


def test_an_enumerator_leads_to_its_enum_by_name() -> None:
    assert BTF.find_enumerator("GREEN") == BTF.find("color", (Kind.ENUM,))
    assert BTF.find_enumerator("HUGE") == BTF.find("wide", (Kind.ENUM64,))
    assert BTF.find_enumerator("color") == []


def test_function_parameters_and_the_ellipsis_are_told_apart() -> None:
    function = only("walk", Kind.FUNC)
    assert BTF.parameters(BTF.type(function).ref) == ([("head", 5)], True)


def test_per_cpu_variables_and_their_section_are_read() -> None:
    variable = only("runqueues", Kind.VAR)
    assert BTF.variables(only(".data..percpu", Kind.DATASEC)) == [(variable, 0, 24)]
    assert BTF.size_of(variable) == 24


def test_sizes_are_those_of_c() -> None:
    assert BTF.size_of(only("node_t", Kind.TYPEDEF)) == 24
    assert BTF.size_of(9) == 12
    assert BTF.size_of(5) == 8
    assert BTF.size_of(only("later", Kind.FWD)) == 0


def test_part_of_a_name_does_not_find_the_type() -> None:
    assert BTF.find("nod", (Kind.STRUCT,)) == []
    assert BTF.find("ode", (Kind.STRUCT,)) == []
    assert BTF.find("", (Kind.STRUCT,)) == []
    assert BTF.find("a\0b", (Kind.STRUCT,)) == []
    assert BTF.find("\udc80", (Kind.STRUCT,)) == []


def test_an_index_from_bytes_finds_the_same_as_a_scan() -> None:
    stored = [bytes_of(words) for words in BTF.index]
    index = BtfIndex(words_of(stored[0]), words_of(stored[1], "Q"), words_of(stored[2], "Q"))
    warm = Btf(BYTES, index=index)
    assert [warm.type(type_id) for type_id in range(warm.end_id)] == [
        BTF.type(type_id) for type_id in range(BTF.end_id)
    ]
    assert warm.find("node", (Kind.STRUCT,)) == BTF.find("node", (Kind.STRUCT,))
    assert warm.find_enumerator("RED") == BTF.find_enumerator("RED")


def test_names_that_lie_in_one_another_to_the_end_of_megabytes_cost_no_more_than_others() -> None:
    """In a dump that was made for it: all of these, each read to its end, would take minutes."""
    strings, count = b"\0" + b"a" * (8 << 20) + b"\0", 200_000
    names = array("Q", [at << 32 | Kind.STRUCT << 27 | at for at in range(1, count)])
    last = array("Q", [len(strings) - 3 << 32 | Kind.STRUCT << 27 | count])
    started = time.process_time()
    hashes = hash_names(strings, BtfIndex(array("I"), names + last, array("Q")))
    assert time.process_time() - started < 5.0
    assert hashed_offsets(strings, hashes, "aa") == [len(strings) - 3]


def test_names_are_found_by_their_hashes_as_by_a_search_of_all_strings() -> None:
    hashed = Btf(BYTES, index=BTF.index._replace(hashes=hash_names(BTF.strings, BTF.index)))
    names = {BTF.string(entry >> 32) for entry in (*BTF.index.names, *BTF.index.enumerators)}
    assert len(names) > 20
    parts = {name[:-1] for name in names} | {name[1:] for name in names} | {name + "x" for name in names}
    for name in names | parts | {"", "a\0b", "\udc80", "\0", "nobody"}:
        assert hashed.find_enumerator(name) == BTF.find_enumerator(name)
        for kind in Kind:
            assert hashed.find(name, (kind,)) == BTF.find(name, (kind,)), (name, kind)
        assert hashed.find(name, tuple(Kind)) == BTF.find(name, tuple(Kind))


def test_an_index_of_other_bytes_is_refused() -> None:
    with pytest.raises(BtfError, match="index"):
        Btf(BtfBuilder().section(), index=BTF.index)


def test_split_btf_goes_on_with_the_ids_and_strings_of_its_base() -> None:
    make = BtfBuilder(base=BTF)
    private = make.struct("private", 32, [("node", only("node", Kind.STRUCT), 0), ("value", 1, 192)])
    copy = make.struct("node", 8, [("next", 1, 0)])
    split = make.btf()
    assert private == BTF.end_id
    assert split.type(private).name == "private"
    assert [member.name for member in split.members(private)] == ["node", "value"]
    assert split.type(only("node", Kind.STRUCT)).name == "node"
    assert split.find("node", (Kind.STRUCT,)) == [copy], (
        "a copy named by the base's string is the module's own"
    )
    assert split.find("private", (Kind.STRUCT,)) == [private], "the first string of a split section"
    assert split.find("flags", (Kind.STRUCT,)) == [], "the base answers for its own types"
    assert split.owner(1) is BTF


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (BYTES[:20], "cut short"),
        (b"\xeb\x9f" + BYTES[2:], "magic"),
        (BYTES[:2] + b"\2" + BYTES[3:], "version"),
        (BYTES[:-1], "past the end"),
        (BYTES[:-1] + b"x", "NUL"),
        (BYTES[:4] + struct.pack("<I", 1 << 31) + BYTES[8:], "header length"),
        (BYTES[:12] + struct.pack("<I", 13) + BYTES[16:], "aligned"),
    ],
    ids=["empty", "short", "big-endian", "version", "cut", "strings", "header", "alignment"],
)
def test_a_bad_header_is_one_clear_error(data: bytes, reason: str) -> None:
    with pytest.raises(BtfError, match=reason):
        Btf(data)


def test_an_unknown_kind_is_an_error_because_its_length_is_unknown() -> None:
    make = BtfBuilder()
    make.add(27, "future")
    with pytest.raises(BtfError, match="kind 27"):
        make.btf()


def test_members_beyond_the_section_are_an_error() -> None:
    make = BtfBuilder()
    make.add(Kind.STRUCT, "cut", 8, vlen=9)
    with pytest.raises(BtfError, match="inside a type"):
        make.btf()


def test_cycles_of_typedefs_and_arrays_end() -> None:
    make = BtfBuilder()
    first = make.add(Kind.TYPEDEF, "a", 2)
    make.add(Kind.TYPEDEF, "b", 1)
    array = make.array(3, 1)
    btf = make.btf()
    for type_id in (first, array):
        with pytest.raises(BtfError, match="cycle"):
            btf.size_of(type_id)
    with pytest.raises(BtfError, match="cycle"):
        btf.strip(first)


def test_ids_and_strings_out_of_range_are_errors() -> None:
    with pytest.raises(BtfError, match="out of range"):
        BTF.type(26)
    with pytest.raises(BtfError, match="out of range"):
        BTF.type(-1)
    with pytest.raises(BtfError, match="string"):
        BTF.string(1 << 20)
    with pytest.raises(BtfError, match="not STRUCT"):
        BTF.members(1)


def walk(btf: Btf) -> None:
    """Ask everything of every type, as a debugger would."""
    for type_id in range(btf.end_id):
        kind = btf.type(type_id).kind
        if kind in (Kind.STRUCT, Kind.UNION):
            btf.members(type_id)
        elif kind in (Kind.ENUM, Kind.ENUM64):
            btf.enumerators(type_id)
        elif kind is Kind.FUNC_PROTO:
            btf.parameters(type_id)
        elif kind is Kind.DATASEC:
            btf.variables(type_id)
        btf.size_of(type_id)
        btf.strip(type_id)
    for name in ("node", "RED", "walk", "later"):
        btf.find(name, tuple(Kind))
        btf.find_enumerator(name)


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
)
def test_damaged_btf_ends_in_a_btf_error_or_not_at_all(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(BYTES)
    for at, value in changes:
        damaged[at] = value
    try:
        walk(Btf(bytes(damaged[: len(damaged) - cut])))
    except BtfError:
        return
