"""VMCOREINFO: parsing, and finding the one in memory that is true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.targets.dumps.pagetable import describes_memory, direct_map_ranges, find_kernel, translate
from explorer.targets.errors import TargetError
from explorer.targets.spec import no_progress
from explorer.targets.vmcoreinfo import MAX_VMCOREINFO, VmcoreInfo, find_vmcoreinfo, text_at
from tests.unit.fake_kernel import PAGE, PAGE_OFFSET, RELEASE, FakeKernel

TEXT = b"""OSRELEASE=7.3.4
BUILD-ID=1FE9968467f2755292a45806719b9bba136b0cc8
PAGESIZE=4096
SYMBOL(init_uts_ns)=ffffffff8fd029c0
OFFSET(uts_namespace.name)=0
SYMBOL(swapper_pg_dir)=ffffffff8f82d000
SYMBOL(_stext)=ffffffff8da00000
NUMBER(VMALLOC_START)=0xffffaa0580000000
NUMBER(phys_base)=-759169024
LENGTH(free_area.free_list)=4
SIZE(page)=64
KERNELOFFSET=2fa00000
no equals sign
NUMBER(odd)=abc
CRASHTIME=1700000000
"""


def test_every_kind_of_line_is_understood() -> None:
    info = VmcoreInfo.parse(TEXT)
    assert info.osrelease == "7.3.4"
    assert info.build_id == "1fe9968467f2755292a45806719b9bba136b0cc8"
    assert info.page_size == 4096
    assert info.symbols["init_uts_ns"] == 0xFFFFFFFF8FD029C0
    assert info.numbers == {"VMALLOC_START": 0xFFFFAA0580000000, "phys_base": -759169024}
    assert info.offsets == {"uts_namespace.name": 0}
    assert info.lengths == {"free_area.free_list": 4}
    assert info.sizes == {"page": 64}
    assert info.kernel_offset == 0x2FA00000


@pytest.mark.parametrize(
    ("release", "trusted"),
    [("6.1.112", True), ("6.1.113", False), ("6.1.118-x", False), ("6.1.119", True), ("6.11.5", False)],
)
def test_the_garbage_build_id_of_some_stable_kernels_is_dropped(release: str, trusted: bool) -> None:
    info = VmcoreInfo.parse(TEXT.replace(b"7.3.4", release.encode()))
    assert (info.build_id is not None) is trusted


@pytest.mark.parametrize("missing", [b"OSRELEASE=7.3.4\n", b"PAGESIZE=4096\n", b"SYMBOL(swapper_pg_dir)"])
def test_a_text_that_describes_no_x86_64_kernel_is_refused(missing: bytes) -> None:
    with pytest.raises(TargetError):
        VmcoreInfo.parse(TEXT.replace(missing, b""))


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(TargetError, match="too long"):
        VmcoreInfo.parse(TEXT + b"x" * MAX_VMCOREINFO)


@given(st.binary(max_size=600))
def test_bytes_from_a_damaged_dump_end_in_one_clear_error(junk: bytes) -> None:
    for raw in (junk, TEXT + junk, junk + TEXT, TEXT.replace(b"=", junk[:2])):
        try:
            info = VmcoreInfo.parse(raw)
        except TargetError:
            continue
        assert info.page_size == 4096


def test_text_ends_where_text_ends() -> None:
    assert text_at(b"xx" + TEXT + b"\0junk", 2) == TEXT
    assert text_at(b"OSRELEASE=1\n", 0) is None


@pytest.mark.parametrize("levels", [4, 5])
def test_page_tables_translate_and_list_ram(levels: int) -> None:
    kernel = FakeKernel(((0, 8 << 20), (1 << 32, (1 << 32) + (4 << 20))), base=1 << 32, levels=levels)
    info = VmcoreInfo.parse(kernel.vmcoreinfo)
    assert translate(kernel.read, info, kernel.text + 0x1234) == kernel.base + 0x1234
    assert translate(kernel.read, info, PAGE_OFFSET[levels] + 0x600010) == 0x600010
    assert translate(kernel.read, info, 0) is None
    assert describes_memory(kernel.read, info)
    assert direct_map_ranges(kernel.read, info) == list(kernel.ram)


def test_a_page_table_that_is_missing_is_not_taken_for_unmapped_memory() -> None:
    kernel = FakeKernel()
    info = VmcoreInfo.parse(kernel.vmcoreinfo)
    kernel.page(kernel.base)[8 * 273 : 8 * 274] = (1 << 40 | 3).to_bytes(8, "little")
    assert direct_map_ranges(kernel.read, info) is None


def test_a_table_that_points_at_itself_ends() -> None:
    kernel = FakeKernel()
    info = VmcoreInfo.parse(kernel.vmcoreinfo)
    for index in range(256, 512):
        kernel.page(kernel.base)[8 * index : 8 * index + 8] = (kernel.base | 3).to_bytes(8, "little")
    ranges = direct_map_ranges(kernel.read, info)
    assert ranges is None or len(ranges) < 1 << 20


def test_a_leftover_of_another_boot_is_passed_over() -> None:
    kernel = FakeKernel()
    stale = kernel.vmcoreinfo.replace(b"NUMBER(phys_base)=", b"NUMBER(phys_base)=9")
    kernel.page(0)[: len(stale)] = stale
    found = list(find_vmcoreinfo(kernel.read, kernel.ram))
    assert [address for address, _ in found] == [0, kernel.base + 2 * PAGE]
    info, address = find_kernel(kernel.read, kernel.ram, "dump", no_progress)
    assert (info.osrelease, address) == (RELEASE, kernel.base + 2 * PAGE)


def test_a_text_that_a_process_made_up_does_not_keep_the_kernel_from_being_found() -> None:
    kernel = FakeKernel()
    bogus = b"OSRELEASE=5.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=zz\nSYMBOL(_stext)=0\n"
    kernel.page(0)[: len(bogus)] = bogus
    assert [address for address, _ in find_vmcoreinfo(kernel.read, kernel.ram)][:1] == [0]
    assert find_kernel(kernel.read, kernel.ram, "dump", no_progress)[0].osrelease == RELEASE


def test_a_release_longer_than_uname_has_room_for_is_refused() -> None:
    with pytest.raises(TargetError, match="OSRELEASE"):
        VmcoreInfo.parse(TEXT.replace(b"7.3.4", b"9" * 60_000 + b".1"))


def test_memory_that_cannot_be_read_does_not_hide_what_is_beside_it() -> None:
    kernel = FakeKernel()

    def read(address: int, size: int, /) -> bytes | None:
        return None if address <= 0x5000 < address + size else kernel.read(address, size)

    assert find_kernel(read, kernel.ram, "dump", no_progress)[0].osrelease == RELEASE


def test_memory_without_a_kernel_is_said_to_have_none() -> None:
    with pytest.raises(TargetError, match="no VMCOREINFO in memory"):
        find_kernel(lambda address, size: bytes(size), [(0, 1 << 20)], "dump", no_progress)
