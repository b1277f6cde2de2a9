"""Dumps made to keep the reader busy, or to fill its memory: each ends in one line, soon.

Where the old code would have been busy for minutes, the test's own time limit says so.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from explorer.targets.detect import detect_target
from explorer.targets.dumps.containers import data_extents
from explorer.targets.dumps.elfcore import read_elf_core, segment_reader, stored_ranges
from explorer.targets.dumps.kdump import dumped_ranges, read_kdump_header
from explorer.targets.dumps.pagetable import direct_map_ranges
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from explorer.targets.vmcoreinfo import VmcoreInfo, find_vmcoreinfo
from tests.unit.fake_kernel import PAGE, RELEASE, FakeKernel, kdump_file

pytestmark = pytest.mark.timeout(120)

TIB = 1 << 40


def open_path(path: Path | str, **options: int | bytes) -> OpenProgram:
    return open_program(detect_target(str(path)), **options)  # type: ignore[arg-type]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(TargetError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


# ---- kdump --------------------------------------------------------------------------------------------------

#: Where header and sub header hold these.
BITMAP_BLOCKS, MAX_MAPNR_64, VMCOREINFO = 436, PAGE + 96, PAGE + 32


def kdump_with(path: Path, *changes: tuple[str, int, int], kernel: FakeKernel | None = None) -> Path:
    data = bytearray(kdump_file(kernel or FakeKernel()))
    for form, at, value in changes:
        struct.pack_into(form, data, at, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("bits", [16, 30, 51, 63])
def test_a_kdump_has_no_more_page_frames_than_its_bitmaps(tmp_path: Path, bits: int) -> None:
    for changes in ((), (("<Q", VMCOREINFO, 0),)):
        path = kdump_with(tmp_path / "dump", ("<Q", MAX_MAPNR_64, (1 << bits) + 1), *changes)
        assert "page frames, but bitmaps for" in refusal(lambda: open_path(path))  # noqa: B023


@pytest.mark.parametrize("blocks", [0, (1 << 20) + 1, 1 << 28, (1 << 31) - 1])
def test_bitmaps_for_more_memory_than_there_can_be_are_not_counted(tmp_path: Path, blocks: int) -> None:
    path = kdump_with(tmp_path / "dump", ("<I", BITMAP_BLOCKS, blocks))
    os.truncate(path, (blocks + 10) * PAGE)
    assert "damaged kdump header" in refusal(lambda: open_path(path))


def test_the_holes_of_a_bitmap_are_not_counted_and_its_bits_no_further_than_the_file_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = 1 << 20  # 64 TiB, of which nothing was dumped
    path = kdump_with(tmp_path / "dump", ("<I", BITMAP_BLOCKS, blocks), ("<Q", MAX_MAPNR_64, 1 << 34))
    os.truncate(path, 2 * PAGE)
    os.truncate(path, (2 + blocks) * PAGE)
    with path.open("rb") as file:
        assert read_kdump_header(file, "dump").pages == 0
    with path.open("r+b") as changed:
        changed.seek((2 + blocks // 2) * PAGE)
        changed.write(b"\xff" * (16 << 20))
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return pread(fd, size, at)

    monkeypatch.setattr("explorer.targets.dumps.kdump.os.pread", counted)
    with path.open("rb") as file:
        header = read_kdump_header(file, "dump")
        assert header.cut
        assert header.pages * 24 <= (16 << 20)
    assert sum(read) < 8 << 20


def test_a_page_that_is_stored_in_more_than_a_page_is_damage(tmp_path: Path) -> None:
    path = kdump_with(tmp_path / "dump", ("<I", 4 * PAGE + 8, PAGE + 1))
    os.truncate(path, 1 << 20)
    assert "4096 bytes is said to be stored in 4097" in refusal(lambda: open_path(path))


def test_descriptors_in_a_hole_are_none(tmp_path: Path) -> None:
    path = kdump_with(tmp_path / "dump")
    data = path.read_bytes()[: 3 * PAGE] + b"\xff" * PAGE
    path.write_bytes(data)
    os.truncate(path, 1 << 30)
    assert "cut off before its first page" in refusal(lambda: open_path(path))


@pytest.mark.parametrize(("field", "what"), [(32, "VMCOREINFO"), (48, "notes"), (64, "erase info")])
def test_what_libkdumpfile_would_read_whole_is_not_a_terabyte(tmp_path: Path, field: int, what: str) -> None:
    path = kdump_with(tmp_path / "dump", ("<Q", PAGE + field, PAGE), ("<Q", PAGE + field + 8, TIB))
    os.truncate(path, 2 * TIB)
    assert f"damaged: {what} of" in refusal(lambda: open_path(path))


def without_vmcoreinfo(path: Path, kernel: FakeKernel) -> Path:
    return kdump_with(path, ("<Q", VMCOREINFO, 0), ("<Q", VMCOREINFO + 8, 0), kernel=kernel)


def test_a_kdump_without_vmcoreinfo_is_searched_where_it_has_pages(tmp_path: Path) -> None:
    high = 1 << 36
    kernel = FakeKernel(((0, 8 << 20), (high, high + (4 << 20))), base=high)
    path = without_vmcoreinfo(tmp_path / "dump", kernel)
    with path.open("rb") as file:
        ranges = list(dumped_ranges(file, read_kdump_header(file, "dump")))
    assert [page for first, end in ranges for page in range(first, end, PAGE)] == sorted(kernel.pages)
    with open_path(path) as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE
        assert opened.notes == [f"VMCOREINFO found in memory at physical address {high + 2 * PAGE:#x}"]


def test_a_stored_page_that_a_thousand_descriptors_share_is_searched_once(tmp_path: Path) -> None:
    kernel = FakeKernel()
    for page in range(4 << 20, 8 << 20, PAGE):
        kernel.page(page)
    path = without_vmcoreinfo(tmp_path / "dump", kernel)
    data = bytearray(path.read_bytes())
    frames = sorted(kernel.pages)
    shared = struct.unpack_from("<QI", data, 4 * PAGE)
    for index in range(len(frames) - 1000, len(frames)):
        struct.pack_into("<QI", data, 4 * PAGE + 24 * index, *shared)
    path.write_bytes(data)
    with path.open("rb") as file:
        ranges = list(dumped_ranges(file, read_kdump_header(file, "dump")))
    assert [page for first, end in ranges for page in range(first, end, PAGE)] == frames[:-999]
    with open_path(path) as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE


# ---- ELF, and memory with holes -----------------------------------------------------------------------------


def qemu_elf(path: Path, loads: list[tuple[int, int, int]], content: dict[int, bytes], size: int) -> Path:
    """A sparse ELF dump without VMCOREINFO. ``loads``: (physical address, offset, size)."""
    note = struct.pack("<III", 5, 4, 0) + b"QEMU\0\0\0\0" + bytes(4)
    count = len(loads) + 1
    at = 64 + 56 * count + 64
    head = (b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 64 + 56 * count, 0, 64, 56)
    header = struct.pack("<16sHHIQQQIHHHHHH", *head, min(count, 0xFFFF), 64, 1, 0)
    headers = [struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(note), len(note), 0)]
    headers += [
        struct.pack("<IIQQQQQQ", 1, 0, offset, pa, pa, length, length, 0) for pa, offset, length in loads
    ]
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
    with path.open("wb") as file:
        file.write(header + b"".join(headers) + section + note)
        for offset, data in content.items():
            file.seek(offset)
            file.write(data)
        file.truncate(max(size, file.tell()))
    return path


def test_segments_that_share_their_bytes_are_searched_once(tmp_path: Path) -> None:
    start = 8 << 20
    loads = [(TIB + index * (8 << 20), start, 4 << 20) for index in range(60_000)]
    path = qemu_elf(tmp_path / "dump", loads, {start: b"x" * (4 << 20)}, 0)
    with path.open("rb") as file:
        ranges = stored_ranges(file, read_elf_core(file, "dump"))
    assert ranges == [(TIB, TIB + (4 << 20))]
    assert "no VMCOREINFO in memory" in refusal(lambda: open_path(path))


def test_a_guest_of_a_terabyte_that_uses_little_of_it_opens(tmp_path: Path) -> None:
    kernel = FakeKernel(((0, 8 << 20), (TIB - (8 << 20), TIB)), base=TIB - (8 << 20))
    start = 1 << 20
    content = {start + address: bytes(page) for address, page in kernel.pages.items()}
    path = qemu_elf(tmp_path / "dump", [(0, start, TIB)], content, start + TIB)
    with open_path(path) as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE


def test_a_memory_file_of_a_terabyte_that_is_a_hole_is_searched_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.touch()
    os.truncate(path, TIB)
    assert "no VMCOREINFO" in refusal(lambda: open_path(f"physmem:{path}"))
    kernel = FakeKernel()
    with path.open("r+b") as file:
        file.write(kernel.image())
    with open_path(f"physmem:{path}") as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE


def test_what_is_searched_is_every_page_with_data_whole_wherever_the_segment_begins(tmp_path: Path) -> None:
    start = 5000  # not where a page of the file begins
    path = qemu_elf(
        tmp_path / "dump", [(1 << 30, start, 1 << 20)], {start + 7 * PAGE: b"x" * PAGE}, start + (1 << 20)
    )
    with path.open("rb") as file:
        core = read_elf_core(file, "dump")
        ranges = stored_ranges(file, core)
        assert segment_reader(file, core)((1 << 30) + 7 * PAGE, PAGE) == b"x" * PAGE
    pages = {page for first, end in ranges for page in range(first, end, PAGE)}
    assert all(first % PAGE == 0 for first, _ in ranges)
    assert (1 << 30) + 7 * PAGE in pages
    assert len(pages) < 32


def test_the_data_of_a_file_without_holes_is_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    with path.open("rb") as file:
        assert list(data_extents(file.fileno(), 10, 9000)) == [(10, 9000)]
        assert list(data_extents(file.fileno(), 10_000, 20_000)) == []
    with open("/proc/self/maps", "rb") as file:  # noqa: PTH123 - holes are not known there
        assert list(data_extents(file.fileno(), 0, 5)) == [(0, 5)]


def test_notes_without_number_end(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    empty = struct.pack("<III", 2, 0, 0) + b"X\0\0\0"
    count = 50_000
    at = 64 + 56 * (count + 2)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, count + 1, 0, 0, 0
    )
    notes = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, 1024, 1024, 0) * count
    load = struct.pack("<IIQQQQQQ", 1, 0, at, 0, PAGE, PAGE, PAGE, 0)
    path.write_bytes(header + notes + load + bytes(56) + empty * 256)
    asked = 0

    def counted(data: bytes) -> Iterator[tuple[bytes, bytes]]:
        nonlocal asked
        for _ in range(64):
            asked += 1
            yield b"X", b""

    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr("explorer.targets.dumps.elfcore._iter_notes", counted)
        read_elf_core(file, "dump")
    assert asked <= 1 << 16


# ---- the search for VMCOREINFO ------------------------------------------------------------------------------


def memory(data: bytes) -> Callable[[int, int], bytes | None]:
    return lambda address, size: data[address : address + size]


def fake_text(number: int) -> bytes:
    return b"OSRELEASE=1.%d\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=0\nSYMBOL(_stext)=0\n" % number


def test_texts_that_processes_made_up_are_bounded_by_number_and_by_size() -> None:
    many = b"".join(fake_text(number).ljust(PAGE, b"\0") for number in range(9000))
    assert len(list(find_vmcoreinfo(memory(many), [(0, len(many))]))) == 1 << 13
    long = b"".join((fake_text(number) + b"X=1\n" * 1000)[:PAGE] for number in range(5000))
    assert sum(len(text) for _, text in find_vmcoreinfo(memory(long), [(0, len(long))])) <= 16 << 20


def test_a_text_begins_with_its_page_or_in_its_note_and_nowhere_else() -> None:
    pages = bytearray(4 * PAGE)
    for number, at in enumerate((100, PAGE, 2 * PAGE + 24, 2 * PAGE + 2000, 3 * PAGE + 25)):
        text = fake_text(number)
        pages[at : at + len(text)] = text
    pages[3 * PAGE + 2000 :] = b"OSRELEASE=" * 209 + b"OSRELE"
    found = find_vmcoreinfo(memory(bytes(pages)), [(0, len(pages))])
    assert [(at, text) for at, text in found] == [(PAGE, fake_text(1)), (2 * PAGE + 24, fake_text(2))]


def test_a_search_in_memory_that_cannot_be_read_ends() -> None:
    asked = 0

    def read(address: int, size: int, /) -> bytes | None:
        nonlocal asked
        asked += 1
        return None

    assert list(find_vmcoreinfo(read, ((at << 13, (at << 13) + PAGE) for at in range(1_000_000)))) == []
    assert asked < 200_000


def test_page_tables_that_lead_round_in_circles_cost_no_more_for_many_layouts() -> None:
    kernel = FakeKernel()
    info = VmcoreInfo.parse(kernel.vmcoreinfo)
    budget = iter(range(100))
    assert direct_map_ranges(kernel.read, info, budget) == list(kernel.ram)
    read = 100 - len(list(budget))
    budget = iter(range(2 * read - 1))
    assert direct_map_ranges(kernel.read, info, budget) == list(kernel.ram)
    assert direct_map_ranges(kernel.read, info, budget) is None
