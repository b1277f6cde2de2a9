"""Symbols from a System.map: where they come to lie, and which file is none, or another kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from drgn import SymbolBinding, SymbolKind

from explorer.targets.errors import TargetError
from explorer.targets.symbols.system_map import load_system_map

_MOVED = 0x2E400000
_MAP = """\
0000000000000000 D __per_cpu_start
0000000000015ac0 d cpu_tasks
ffffffff81000000 T _stext
ffffffff81000040 t helper
ffffffff81000040 W alias
ffffffff82613700 D init_uts_ns
ffffffff8260a000 D swapper_pg_dir
ffffffffc0001000 t helper\t[fuse]
"""
_INFO = f"""\
OSRELEASE=5.10.0
SYMBOL(init_uts_ns)={0xFFFFFFFF82613700 + _MOVED:x}
SYMBOL(swapper_pg_dir)={0xFFFFFFFF8260A000 + _MOVED:x}
SYMBOL(_stext)={0xFFFFFFFF81000000 + _MOVED:x}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "System.map"
    path.write_text(_MAP)
    return path


def test_the_kernels_symbols_are_moved_as_far_as_the_kernel_was_and_per_cpu_ones_are_not(file: Path) -> None:
    table = load_system_map(file, _INFO)
    (found,) = table.find("init_uts_ns")
    assert (found.address, found.binding, found.kind) == (
        0xFFFFFFFF82613700 + _MOVED,
        SymbolBinding.GLOBAL,
        SymbolKind.OBJECT,
    )
    (per_cpu,) = table.find("cpu_tasks")
    assert per_cpu.address == 0x15AC0
    at = table.at(0xFFFFFFFF81000044 + _MOVED)
    assert at is not None
    assert at.name in ("helper", "alias")


def test_a_modules_symbols_are_not_the_kernels(file: Path) -> None:
    (found,) = load_system_map(file, _INFO).find("helper")
    assert found.address == 0xFFFFFFFF81000040 + _MOVED


def test_proc_kallsyms_of_the_same_boot_is_not_moved(file: Path) -> None:
    info = _INFO.replace(f"{0xFFFFFFFF81000000 + _MOVED:x}", "ffffffff81000000")
    info = "\n".join(
        line for line in info.splitlines() if "init_uts_ns" not in line and "swapper" not in line
    )
    (found,) = load_system_map(file, info).find("init_uts_ns")
    assert found.address == 0xFFFFFFFF82613700


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("82613700", "82613740"), "is of another kernel: init_uts_ns is elsewhere"),
        (lambda text: text.replace("_stext", "_start"), "is no System.map: it does not have _stext"),
        (lambda text: "ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "-dbg)"),
        (
            lambda text: "".join(f"{0:016x}{line[16:]}\n" for line in text.splitlines()),
            "shows them to root alone",
        ),
        (lambda text: "\x7fELF" + "\0" * 4096, "is no System.map"),
    ],
)
def test_a_file_that_cannot_be_it_is_refused(change: object, said: str, file: Path) -> None:
    assert callable(change)
    file.write_text(change(_MAP))
    with pytest.raises(TargetError, match=r"^[^\n]*$") as caught:
        load_system_map(file, _INFO)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="No such file"):
        load_system_map(tmp_path / "none", _INFO)


def test_without_stext_in_vmcoreinfo_nothing_can_be_placed(file: Path) -> None:
    with pytest.raises(TargetError, match="does not say where _stext is"):
        load_system_map(file, _INFO.replace("_stext", "_text"))
