"""Global variables of a kernel with BTF: the right type, the right one of several symbols, or none."""

from __future__ import annotations

from drgn import Architecture, FindObjectFlags, Platform, Program, Symbol, SymbolBinding, SymbolKind, sizeof

from explorer.targets.symbols.btf import Kind
from explorer.targets.symbols.btf_types import BtfTypes
from explorer.targets.symbols.globals import MODULE_VARIABLES, VARIABLES, GlobalFinder
from explorer.targets.symbols.kallsyms import SymbolTable, TableSymbol
from tests.unit.btf_builder import BtfBuilder

STEXT = 0xFFFF_FFFF_8100_0000
GLOBAL, LOCAL = SymbolBinding.GLOBAL, SymbolBinding.LOCAL


def kernel(
    symbols: list[tuple[str, int, SymbolBinding]],
    *,
    real_fs: bool = True,
    modules: list[tuple[str, TableSymbol]] | None = None,
) -> tuple[Program, GlobalFinder]:
    """A kernel with a few structs; the symbols are (name, size, binding), one after the other."""
    make = BtfBuilder()
    integer = make.integer("int", signed=True)
    make.integer("unsigned int")
    make.integer("char", 1, signed=True)
    make.integer("long unsigned int", 8)
    fs = make.struct("fs_struct", 56, [("users", integer, 0)])
    pointer = make.add(Kind.PTR, ref=fs)
    make.struct("task_struct", 16, [("fs", pointer, 0)] + ([("real_fs", pointer, 64)] if real_fs else []))
    queue = make.struct("rq", 64, [("nr", integer, 0)])
    make.struct("list_head", 16, [])
    make.struct("hlist_head", 8, [])
    make.struct("timekeeper", 32, [("xtime_sec", integer, 64)])
    make.add(Kind.TYPEDEF, "seqcount_raw_spinlock_t", integer)
    make.add(Kind.VAR, "runqueues", queue, words=(1,))
    make.enum("pid_type", {"PIDTYPE_PID": 0, "PIDTYPE_TGID": 1})
    make.enum("node_stat_item", {"NR_VM_NODE_STAT_ITEMS": 3})
    make.struct("atomic_long", 8, [])
    make.add(Kind.TYPEDEF, "atomic_long_t", 16)
    make.function("kthreadd", integer, [])
    prog = Program(Platform(Architecture.X86_64))
    types = BtfTypes(prog, make.btf())
    address, table = STEXT, []
    for name, size, binding in symbols:
        table.append(Symbol(name, address, 0, binding, SymbolKind.FUNC))
        address += size
    table.append(Symbol("_end", address, 0, GLOBAL, SymbolKind.FUNC))
    symbol_table = SymbolTable.build(STEXT, table)
    finder = GlobalFinder(
        types, symbol_table, lambda name: [one for one in modules or () if one[1].name == name]
    )
    prog.register_type_finder("btf", types, enable_index=0)
    prog.register_object_finder("globals", finder, enable_index=0)
    return prog, finder


def test_userspace_init_fs_is_a_pointer_where_tasks_have_real_fs() -> None:
    prog, _ = kernel([("userspace_init_fs", 8, GLOBAL)])
    assert prog["userspace_init_fs"].type_.type_name() == "struct fs_struct *"


def test_userspace_init_fs_is_the_struct_itself_on_rfc_v1() -> None:
    prog, _ = kernel([("userspace_init_fs", 64, GLOBAL)], real_fs=False)
    assert prog["userspace_init_fs"].type_.type_name() == "struct fs_struct"


def test_a_variable_without_a_symbol_is_absent() -> None:
    prog, _ = kernel([])
    assert "userspace_init_fs" not in prog
    assert "init_fs" not in prog


def test_a_symbol_too_small_for_the_type_is_not_that_variable() -> None:
    prog, _ = kernel([("init_fs", 8, GLOBAL)])
    assert "init_fs" not in prog


def test_of_several_symbols_the_global_one_is_meant() -> None:
    prog, _ = kernel([("init_fs", 64, LOCAL), ("init_fs", 64, GLOBAL)])
    assert prog["init_fs"].address_ == STEXT + 64


def test_statics_of_the_same_name_and_size_are_not_guessed_between() -> None:
    prog, _ = kernel([("workqueues", 16, LOCAL), ("workqueues", 16, LOCAL)])
    assert "workqueues" not in prog


def test_lengths_come_from_the_symbol_or_an_enumerator() -> None:
    prog, _ = kernel(
        [("__per_cpu_offset", 64, GLOBAL), ("vm_node_stat", 64, GLOBAL), ("cpu_bit_bitmap", 1040, GLOBAL)]
    )
    assert prog["__per_cpu_offset"].type_.length == 8
    assert prog["vm_node_stat"].type_.length == 3
    assert [prog["cpu_bit_bitmap"].type_.length, prog["cpu_bit_bitmap"].type_.type.length] == [65, 2]


def test_per_cpu_variables_take_their_type_from_btf() -> None:
    prog, _ = kernel([("runqueues", 64, LOCAL)])
    assert prog["runqueues"].type_.type_name() == "struct rq"


def test_enumerators_and_functions_resolve() -> None:
    prog, finder = kernel([("kthreadd", 64, GLOBAL)])
    assert prog["PIDTYPE_TGID"].value_() == 1
    assert prog.function("kthreadd").address_ == STEXT
    assert finder(prog, "kthreadd", FindObjectFlags.VARIABLE, None) is None
    assert finder(prog, "PIDTYPE_TGID", FindObjectFlags.FUNCTION, None) is None


def test_tk_core_of_older_kernels_is_a_counter_and_the_timekeeper() -> None:
    prog, _ = kernel([("tk_core", 64, LOCAL)])
    assert prog["tk_core"].timekeeper.address_ == STEXT + 8
    assert sizeof(prog["tk_core"]) == 40


def test_a_module_s_variable_is_looked_up_in_that_module_only() -> None:
    def of(address: int) -> TableSymbol:
        return TableSymbol("conn_list", address, 32768, LOCAL, SymbolKind.OBJECT)

    prog, finder = kernel([], modules=[("other", of(0x1000)), ("ksmbd", of(0x2000))])
    found = finder.module_variable(prog, "ksmbd", "conn_list")
    assert found is not None
    assert (found.address_, found.type_.length) == (0x2000, 4096)
    assert finder.module_variable(prog, "ksmbd", "nonesuch") is None
    assert finder.module_variable(prog, "nfsd", "conn_list") is None


def test_conn_list_of_ksmbd_was_a_list_before_it_was_a_hash_table() -> None:
    symbol = TableSymbol("conn_list", 0x2000, 16, LOCAL, SymbolKind.OBJECT)
    prog, finder = kernel([], modules=[("ksmbd", symbol)])
    found = finder.module_variable(prog, "ksmbd", "conn_list")
    assert found is not None
    assert found.type_.type_name() == "struct list_head"


def test_a_module_s_name_never_hides_one_of_vmlinux() -> None:
    names = {name for variables in MODULE_VARIABLES.values() for name in variables}
    assert not names & set(VARIABLES)
