"""open_program(): every road to a Program ends in the same memory, and every fault in one TargetError."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import drgn
import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.targets.detect import detect_target
from explorer.targets.dumps import elfcore
from explorer.targets.dumps.elfcore import read_elf_core, write_vmcore
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from tests.conftest import SAMPLE
from tests.unit.fake_kernel import PAGE, PAGE_OFFSET, RELEASE, FakeKernel, kdump_file


def vmcore(path: Path, kernel: FakeKernel) -> Path:
    write_vmcore(path, kernel.vmcoreinfo, kernel.segments())
    return path


def open_path(path: Path | str, **options: int | bytes) -> OpenProgram:
    return open_program(detect_target(str(path)), **options)  # type: ignore[arg-type]


def assert_reads(opened: OpenProgram, kernel: FakeKernel) -> None:
    """Kernel text and direct map lead to the same memory, and a NULL pointer nowhere."""
    assert opened.vmcoreinfo.osrelease == RELEASE
    release = kernel.text + PAGE + 2 * 65
    assert opened.prog.read_c_string(release) == RELEASE.encode()
    direct = PAGE_OFFSET[kernel.levels] + kernel.base + PAGE + 2 * 65
    assert opened.prog.read_c_string(direct) == RELEASE.encode()
    for nowhere in (0, 8, 0x7FFF_FFFF_0000, 0xFFFF_FFFF_FFFF_F000):
        with pytest.raises(drgn.FaultError):
            opened.prog.read(nowhere, 8)


def refusal(path: Path | str, **options: int | bytes) -> str:
    with pytest.raises(TargetError) as caught:
        open_path(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("levels", [4, 5])
def test_a_written_vmcore_opens_in_plain_drgn_and_null_faults(tmp_path: Path, levels: int) -> None:
    kernel = FakeKernel(levels=levels)
    path = vmcore(tmp_path / "vmcore", kernel)
    prog = drgn.Program()
    prog.set_core_dump(str(path))
    assert prog.read_c_string(kernel.text + PAGE) == b"Linux"
    with pytest.raises(drgn.FaultError):
        prog.read(0, 8)
    with open_path(path) as opened:
        assert (opened.kind, opened.consistent, opened.notes) == ("vmcore", True, [])
        assert_reads(opened, kernel)


@pytest.mark.parametrize(
    "compress", [zstandard.compress, gzip.compress, lzma.compress, bz2.compress, lz4.frame.compress]
)
def test_a_compressed_vmcore_opens(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    kernel = FakeKernel()
    path = tmp_path / "vmcore"
    path.write_bytes(compress(vmcore(path, kernel).read_bytes()))
    with open_path(path) as opened:
        assert_reads(opened, kernel)
        assert "decompressed" in opened.notes[0]


def test_a_dump_of_many_zstd_frames_is_read_to_its_end(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "vmcore"
    data = vmcore(path, kernel).read_bytes()
    frames = [zstandard.compress(data[at : at + 3000]) for at in range(0, len(data), 3000)]
    path.write_bytes(b"".join(frames))
    with open_path(path) as opened:
        assert_reads(opened, kernel)


def qemu_dump(path: Path, kernel: FakeKernel) -> Path:
    """What ``dump-guest-memory`` writes without ``-device vmcoreinfo``: p_vaddr == p_paddr, a QEMU note."""
    note = struct.pack("<III", 5, 4, 0) + b"QEMU\0\0\0\0" + bytes(4)
    loads = [(0, kernel.image()), (0xFFFFF000, bytes(PAGE))]  # RAM, and the firmware's ROM
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    at = 64 + 3 * 56
    headers = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(note), len(note), 0)
    at += len(note)
    for address, data in loads:
        headers += struct.pack("<IIQQQQQQ", 1, 0, at, address, address, len(data), len(data), 0)
        at += len(data)
    path.write_bytes(header + headers + note + b"".join(data for _, data in loads))
    return path


def test_a_qemu_dump_without_vmcoreinfo_opens_and_null_faults(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.page(0)[:8] = b"\x53\xff\x00\xf0" * 2  # the BIOS interrupt table
    with open_path(qemu_dump(tmp_path / "dump", kernel)) as opened:
        assert_reads(opened, kernel)
        assert opened.notes == [f"VMCOREINFO found in memory at physical address {kernel.base + 2 * PAGE:#x}"]


def test_a_given_vmcoreinfo_replaces_the_dumps_own(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "vmcore"
    write_vmcore(path, kernel.vmcoreinfo.replace(b"phys_base)=", b"phys_base)=7"), kernel.segments())
    with open_path(path, vmcoreinfo=kernel.vmcoreinfo) as opened:
        assert_reads(opened, kernel)
    assert "VMCOREINFO" in refusal(path, vmcoreinfo=b"not it")


def test_a_core_dump_of_a_process_is_told_from_a_kernels(tmp_path: Path) -> None:
    path = tmp_path / "core"
    note = struct.pack("<III", 5, 4, 1) + b"CORE\0\0\0\0" + bytes(4)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 4, 0, 176, 0, 0, len(note), len(note), 0)
    header += struct.pack("<IIQQQQQQ", 1, 0, 200, 0x400000, 0, PAGE, PAGE, 0)
    path.write_bytes(header + note + bytes(PAGE))
    assert "of a process" in refusal(path)


def test_a_kdump_compressed_dump_opens_and_one_without_its_bitmaps_does_not(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "dump"
    data = kdump_file(kernel)
    path.write_bytes(data)
    with open_path(path) as opened:
        assert_reads(opened, kernel)
    for size in (100, PAGE, 2 * PAGE + 1):
        path.write_bytes(data[:size])
        assert "truncated" in refusal(path)
    for size in (4 * PAGE, 4 * PAGE + 25):
        path.write_bytes(data[:size])
        assert "cut off before its first page" in refusal(path)


def test_kdumps_that_libkdumpfile_would_misread_are_refused_or_noted(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "dump"
    path.write_bytes(kdump_file(kernel, machine=b"aarch64"))
    assert "arm64" in refusal(path)
    path.write_bytes(kdump_file(kernel, split=1))
    assert "--reassemble" in refusal(path)
    data = bytearray(kdump_file(kernel))
    struct.pack_into(
        "<I", data, 4 * PAGE + 8, 1 << 31
    )  # the size of the first page: libkdumpfile would crash
    path.write_bytes(data)
    assert "damaged: a page of 4096 bytes" in refusal(path)
    path.write_bytes(kdump_file(kernel, status=1 | 8))
    with open_path(path) as opened:
        assert "incomplete" in (opened.cut_off or "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    at=st.one_of(st.integers(0, 500), st.integers(PAGE, PAGE + 110)), junk=st.binary(min_size=1, max_size=8)
)
def test_a_damaged_kdump_opens_or_ends_in_a_target_error(tmp_path: Path, at: int, junk: bytes) -> None:
    data = bytearray(kdump_file(FakeKernel()))
    data[at : at + len(junk)] = junk
    path = tmp_path / "damaged"
    path.write_bytes(data)
    try:
        open_path(path).close()
    except TargetError as error:
        assert "\n" not in str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(at=st.integers(0, 1500), junk=st.binary(min_size=1, max_size=16))
def test_a_damaged_vmcore_opens_or_ends_in_a_target_error(tmp_path: Path, at: int, junk: bytes) -> None:
    data = bytearray(vmcore(tmp_path / "whole", FakeKernel()).read_bytes())
    data[at : at + len(junk)] = junk
    path = tmp_path / "damaged"
    path.write_bytes(data)
    try:
        open_path(path).close()
    except TargetError as error:
        assert "\n" not in str(error)


def test_more_segments_than_a_header_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 65,535 segments would be 256 MB: lower the limit instead of writing them.
    monkeypatch.setattr(elfcore, "_PN_XNUM", 3)
    kernel = FakeKernel()
    path = tmp_path / "vmcore"
    pages = [(at * 2 * PAGE, PAGE_OFFSET[4] + at * 2 * PAGE, bytes(PAGE)) for at in range(9)]
    size = write_vmcore(path, kernel.vmcoreinfo, pages)
    assert path.stat().st_size == size
    with path.open("rb") as file:
        core = read_elf_core(file, "vmcore")
    assert [part.physical_address for part in core.segments] == [at for at, _, _ in pages]
    assert core.vmcoreinfo == kernel.vmcoreinfo


def test_a_segment_that_is_not_whole_pages_is_the_callers_mistake(tmp_path: Path) -> None:
    for segments in (
        [(1, 0, bytes(PAGE))],
        [(0, 0, b"x")],
        [(0, 0, bytes(2 * PAGE)), (PAGE, 0, bytes(PAGE))],
    ):
        with pytest.raises(ValueError, match="segment at"):
            write_vmcore(tmp_path / "bad", b"", segments)


def test_a_full_disk_is_named_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(zstandard.compress(vmcore(path, FakeKernel()).read_bytes()))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("explorer.targets.dumps.containers.os.pwrite", full)
    assert "TMPDIR" in refusal(path)


GIB4 = 1 << 32


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("base", [2 << 20, GIB4 + (2 << 20)], ids=["kernel-low", "kernel-high"])
@pytest.mark.parametrize("below", [64 << 20, 6 << 20], ids=["64M", "6M"])
def test_the_hole_below_4_gib_is_found_in_an_image_of_ram(
    tmp_path: Path, levels: int, base: int, below: int
) -> None:
    kernel = FakeKernel(((0, below), (GIB4, GIB4 + (8 << 20))), base=base, levels=levels)
    path = tmp_path / "ram"
    path.write_bytes(kernel.image())
    if base > GIB4 and below == 6 << 20:
        # Nothing can be followed below the hole, and no machine has a hole there: the user has to say.
        assert "--ram-below-4g" in refusal(f"physmem:{path}")
        opened = open_path(f"physmem:{path}", ram_below_4g=below)
    else:
        opened = open_path(f"physmem:{path}")
    with opened:
        assert_reads(opened, kernel)
        assert opened.prog.read(GIB4 + (8 << 20) - 8, 8, True) == bytes(8)
        with pytest.raises(drgn.FaultError):
            opened.prog.read(below, 8, True)


def test_an_image_without_a_hole_is_read_as_it_is(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "ram"
    for compress in (bytes, zstandard.compress):
        path.write_bytes(compress(kernel.image()))
        with open_path(f"physmem:{path}") as opened:
            assert (opened.kind, opened.consistent) == ("physmem", True)
            assert_reads(opened, kernel)


def test_images_that_hold_no_kernel_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(1 << 20))
    assert "no VMCOREINFO" in refusal(f"physmem:{path}")
    path.write_bytes(b"short")
    assert "less than a page" in refusal(f"physmem:{path}")
    kernel = FakeKernel()
    path.write_bytes(kernel.image()[: kernel.base + 3 * PAGE])
    assert "cut short" in refusal(f"physmem:{path}")
    path.write_bytes(kernel.image())
    assert "--ram-below-4g" in refusal(f"physmem:{path}", ram_below_4g=5)


def test_a_snapshot_is_not_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(b'{"schema_version": 1}')
    assert "snapshot" in refusal(path)


@pytest.mark.skipif(Path("/proc/kcore").exists(), reason="this machine has /proc/kcore")
def test_a_machine_without_kcore_is_told_what_it_lacks() -> None:
    assert "CONFIG_PROC_KCORE" in refusal("live")


def test_of_the_sample_types_and_symbols_are_unpacked_when_they_are_read_and_all_is_what_its_file_holds() -> (
    None
):
    with open_program(detect_target("sample")) as sample, open_program(detect_target(str(SAMPLE))) as whole:
        (note,) = sample.notes
        assert note.startswith("decompressed 2 MB of 12 MB")
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(SAMPLE.read_bytes())
        large = []
        for kind, _, offset, virtual, physical, size, *_ in struct.iter_unpack(
            "<IIQQQQQQ", headers_of(plain)
        ):
            if kind != 1:
                continue
            for read in (sample.prog.read, whole.prog.read):
                assert read(virtual, size) == plain[offset : offset + size]
                assert read(physical + size // 2, 8, physical=True) == plain[offset + size // 2 :][:8]
            large += [size] if size >= elfcore.LARGE else []
        assert len(large) == 2


def headers_of(plain: bytes) -> bytes:
    """The program headers of an ELF file."""
    (count,) = struct.unpack_from("<H", plain, 56)
    return plain[64 : 64 + 56 * count]


def test_large_segments_come_last_in_a_dump_that_is_written(tmp_path: Path) -> None:
    sizes = (PAGE, elfcore.LARGE, PAGE, 2 * elfcore.LARGE, 3 * PAGE)
    segments = [
        (at << 32, 0xFFFF888000000000 + (at << 32), bytes([at]) * size) for at, size in enumerate(sizes)
    ]
    write_vmcore(tmp_path / "vmcore", b"OSRELEASE=7.3\n", segments)
    plain = (tmp_path / "vmcore").read_bytes()
    with (tmp_path / "vmcore").open("rb") as file:
        core, (begins, end) = read_elf_core(file, "vmcore"), elfcore.rarely_read(file, "vmcore")
    assert end == len(plain) == begins + 3 * elfcore.LARGE
    for part, (physical, virtual, data) in zip(core.segments, segments, strict=True):
        assert (part.physical_address, part.virtual_address) == (physical, virtual)
        assert plain[part.file_offset :][: part.file_size] == data
        assert (part.file_offset >= begins) is (len(data) >= elfcore.LARGE)
