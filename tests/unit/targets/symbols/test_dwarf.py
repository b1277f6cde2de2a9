"""Symbol files: their build id, and what is said when they are not what the kernel needs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from drgn import Architecture, Platform, Program
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.targets.errors import TargetError
from explorer.targets.symbols.dwarf import load_dwarf, read_elf

OWN = "11" * 20
OTHER = "22" * 20


def elf(build_id: str | None, *, module: bool = False) -> bytes:
    """An ELF file of a header, one note and, in a program or section header, where it is."""
    note = b"" if build_id is None else struct.pack("<III", 4, 20, 3) + b"GNU\0" + bytes.fromhex(build_id)
    note = struct.pack("<III", 4, 2, 9) + b"Xen\0" + b"ab\0\0" + note
    headers = 64 + 64
    segment = struct.pack("<IIQQQQQQ", 4, 0, headers, 0, 0, len(note), 0, 4)
    section = struct.pack("<IIQQQQIIQQ", 0, 7, 0, 0, headers, len(note), 0, 0, 4, 0)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        1 if module else 2,
        62,
        1,
        0,
        0 if module else 64,
        64 if module else 0,
        0,
        64,
        0 if module else 56,
        0 if module else 1,
        64 if module else 0,
        1 if module else 0,
        0,
    )
    return header + (section if module else segment).ljust(64, b"\0") + note


def kernel(build_id: str = OWN) -> Program:
    info = f"OSRELEASE=7.3.4\nBUILD-ID={build_id}\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff81000000\n"
    prog = Program(Platform(Architecture.X86_64))
    prog.set_linux_kernel_custom(info + "NUMBER(pgtable_l5_enabled)=0\nKERNELOFFSET=0\n", False)
    return prog


@pytest.mark.parametrize("module", [False, True])
def test_the_build_id_is_found_in_a_segment_or_a_section(tmp_path: Path, module: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(elf(OWN, module=module))
    found = read_elf(path)
    assert (found.build_id, found.is_module) == (OWN, module)
    path.write_bytes(elf(None, module=module))
    assert read_elf(path).build_id is None


def test_a_vmlinux_of_another_build_is_refused_with_both_ids(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(elf(OTHER))
    with pytest.raises(TargetError) as caught:
        load_dwarf(kernel(), OWN, [path], force=False)
    assert OWN in str(caught.value)
    assert OTHER in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vmlinux_without_debug_info_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(elf(OWN))
    with pytest.raises(TargetError, match="no debug info"):
        load_dwarf(kernel(), OWN, [path], force=False)


def test_no_debug_info_anywhere_says_what_to_do() -> None:
    with pytest.raises(TargetError, match="-s"):
        load_dwarf(kernel(), OWN, [], force=False)


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF\x02\x01", b"#!/bin/sh\n" + bytes(100), b"\x7fELF\x01\x01" + bytes(60)]
)
def test_what_is_no_elf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    with pytest.raises(TargetError, match="not a 64-bit"):
        read_elf(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="missing"):
        read_elf(tmp_path / "missing")
    with pytest.raises(TargetError, match=tmp_path.name):
        read_elf(tmp_path)


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=6), module=st.booleans()
)
def test_a_damaged_elf_file_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], module: bool
) -> None:
    data = bytearray(elf(OWN, module=module))
    for at, value in changes:
        data[at] = value
    path = tmp_path_factory.mktemp("elf") / "vmlinux"
    path.write_bytes(data)
    try:
        read_elf(path)
    except TargetError:
        return
