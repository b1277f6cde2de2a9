"""Dumps that are not all there: what is in the file is read, what is not is a fault, and never zeros."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import drgn
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.targets.detect import detect_target
from explorer.targets.dumps.extents import Extents
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from tests.unit.fake_kernel import PAGE, FakeKernel, kdump_file
from tests.unit.targets.test_program import vmcore

KERNEL = FakeKernel()
#: A dump's first bytes, without which it is none.
HEADERS = {"elf": PAGE, "kdump": 4 * PAGE}


def whole(kind: str, tmp_path: Path) -> bytes:
    return kdump_file(KERNEL) if kind == "kdump" else vmcore(tmp_path / "whole", KERNEL).read_bytes()


def flattened(data: bytes) -> bytes:
    """As ``makedumpfile -F`` writes it, in records of a page."""
    records = [
        struct.pack(">qq", at, len(data[at : at + PAGE])) + data[at : at + PAGE]
        for at in range(0, len(data), PAGE)
    ]
    header = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(PAGE, b"\0")
    return header + b"".join(records) + struct.pack(">qq", -1, -1)


def open_data(data: bytes, tmp_path: Path) -> OpenProgram:
    path = tmp_path / "dump"
    path.write_bytes(data)
    return open_program(detect_target(str(path)))


def missing_pages(opened: OpenProgram) -> int:
    """How many pages fault; every other one is as it was."""
    missing = 0
    for physical, page in KERNEL.pages.items():
        try:
            assert opened.prog.read(physical, PAGE, True) == page, f"0x{physical:x}"
        except drgn.FaultError:
            missing += 1
    return missing


@pytest.mark.parametrize("kind", ["elf", "kdump"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_of_a_dump_cut_anywhere_each_page_is_as_it_was_or_a_fault(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    every = whole(kind, tmp_path)
    size = data.draw(st.integers(4, len(every) - 1))
    try:
        opened = open_data(every[:size], tmp_path)
    except TargetError as error:
        said = str(error)
        assert "\n" not in said
        assert any(word in said for word in ("truncated", "cut off", "neither an ELF")), said
        return
    with opened:
        missing = missing_pages(opened)
        assert (missing > 0) == (opened.cut_off is not None and size < len(every)), opened.cut_off


@pytest.mark.parametrize("kind", ["elf", "kdump"])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_a_cut_flattened_dump_shows_what_was_written_up_to_there(
    tmp_path: Path, kind: str, percent: int
) -> None:
    data = flattened(whole(kind, tmp_path))
    with open_data(data, tmp_path) as opened:
        assert (opened.cut_off, missing_pages(opened)) == (None, 0)
    try:
        opened = open_data(data[: len(data) * percent // 100], tmp_path)
    except TargetError as error:
        assert percent < 99 or kind == "kdump"
        assert "nothing can be read" in str(error) or "cut off" in str(error)
        return
    with opened:
        assert "flattened dump is cut off" in (opened.cut_off or "")
        assert 0 < missing_pages(opened) < len(KERNEL.pages)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress])
@pytest.mark.parametrize("kind", ["elf", "kdump"])
def test_a_cut_compressed_dump_shows_what_comes_out_of_it(
    tmp_path: Path, kind: str, compress: Callable[[bytes], bytes]
) -> None:
    packed = compress(whole(kind, tmp_path))
    try:
        opened = open_data(packed[:-9], tmp_path)
    except TargetError as error:
        assert "truncated" in str(error)
        return
    with opened:
        # The last bytes are a checksum: then all of the dump may have come out.
        assert (opened.cut_off is None) == (missing_pages(opened) == 0)


def left_out(data: bytes, pages: int) -> bytes:
    """As ``makedumpfile -E`` leaves pages out: the segments hold less of the file than of memory."""
    changed = bytearray(data)
    for number in range(struct.unpack_from("<H", data, 56)[0]):
        at = 64 + 56 * number
        kind, filesz = struct.unpack_from("<I28xQ", data, at)
        if kind == 1:
            struct.pack_into("<Q", changed, at + 32, max(filesz - pages * PAGE, 0))
    return bytes(changed)


def test_what_makedumpfile_left_out_of_an_elf_dump_is_a_fault_and_not_zeros(tmp_path: Path) -> None:
    data = whole("elf", tmp_path)
    with open_data(left_out(data, 1), tmp_path) as opened:
        assert missing_pages(opened) > 0
        assert opened.cut_off is None
        assert "take the next one with -d 23" in (opened.missing_memory or "")
        assert any("left" in note and "out of this dump" in note for note in opened.notes)
    with open_data(data, tmp_path) as opened:
        assert (missing_pages(opened), opened.missing_memory, opened.notes) == (0, None, [])


def test_an_incomplete_elf_dump_is_not_called_truncated_before_its_flag_is_looked_at(tmp_path: Path) -> None:
    data = bytearray(whole("elf", tmp_path))
    struct.pack_into("<I", data, 48, 1)  # e_flags: DUMP_ELF_INCOMPLETE
    with open_data(bytes(data[: -2 * PAGE]), tmp_path) as opened:
        assert "marked this dump incomplete" in (opened.cut_off or "")
        assert missing_pages(opened) == 2


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_kdump_with_holes_in_its_file_shows_the_pages_beside_them(tmp_path: Path, first: int) -> None:
    """makedumpfile ran out of space, or a copy was made sparse: descriptors that were never written are zeros."""
    data = bytearray(whole("kdump", tmp_path))
    data[4 * PAGE + 24 * first : 4 * PAGE + 24 * (first + 2)] = bytes(48)
    with open_data(bytes(data), tmp_path) as opened:
        assert missing_pages(opened) == 2
        assert "cut off" in (opened.cut_off or "")


@given(
    ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8),
    first=st.integers(0, 60),
    size=st.integers(0, 30),
)
def test_extents_are_the_set_of_bytes_that_their_ranges_are(
    ranges: list[tuple[int, int]], first: int, size: int
) -> None:
    extents = Extents(ranges)
    there = {byte for low, high in ranges for byte in range(low, high)}
    asked = set(range(first, first + size))
    assert {byte for low, high in extents for byte in range(low, high)} == there
    assert extents.size == len(there)
    assert extents.covers(first, first + size) == (asked <= there)
    assert {byte for part in extents.within(first, first + size) for byte in range(*part)} == asked & there
    assert {byte for part in extents.missing(first, first + size) for byte in range(*part)} == asked - there


def test_a_compressed_file_that_ends_before_its_dump_begins_is_named(tmp_path: Path) -> None:
    packed = io.BytesIO(gzip.compress(whole("elf", tmp_path))).read(12)
    with pytest.raises(TargetError, match=r"cut off|truncated|empty"):
        open_data(packed, tmp_path)


def test_where_a_cut_dump_has_no_image_is_a_fault_whatever_its_phys_base_says(tmp_path: Path) -> None:
    """Below the image an address less its distance is negative; so is every one with a phys_base that is not true."""
    data = whole("elf", tmp_path)
    info = KERNEL.vmcoreinfo
    assert b"NUMBER(phys_base)=" in info
    start = info.index(b"NUMBER(phys_base)=") + len(b"NUMBER(phys_base)=")
    length = info.index(b"\n", start) - start
    lie = b"-9".ljust(length, b"9")[:length] if length > 1 else b"9"
    changed = data.replace(info, info[:start] + lie + info[start + length :], 1)
    assert len(changed) == len(data)
    with open_data(changed[:-PAGE], tmp_path) as opened, pytest.raises(drgn.FaultError):
        opened.prog.read(0xFFFFFFFF80000000, 8)
