"""Memory as LiME and hypervisors save it, crash folders, and what is named because it is not read."""

from __future__ import annotations

import bz2
import io
import os
import struct
import tarfile
from pathlib import Path

import drgn
import pytest

from explorer.targets.detect import detect_target
from explorer.targets.dumps.elfcore import write_vmcore
from explorer.targets.dumps.lime import read_lime
from explorer.targets.dumps.ranges import FileRanges, Part
from explorer.targets.errors import TargetError
from explorer.targets.program import open_program
from tests.foreign import libvirt_save, lime_header, virtualbox_headers
from tests.unit.fake_kernel import PAGE, RELEASE, FakeKernel, kdump_file
from tests.unit.targets.test_program import assert_reads, open_path, refusal

MB = 1 << 20
#: A range that ends within a page, a hole, and two that adjoin, as AVML splits them: the kernel lies across.
RANGES = [(PAGE, 0x9FC00), (MB, 2 * MB + PAGE), (2 * MB + PAGE, 8 * MB)]


def lime(kernel: FakeKernel, ranges: list[tuple[int, int]] | None = None) -> bytes:
    image = kernel.image()
    return b"".join(lime_header(first, end) + image[first:end] for first, end in ranges or RANGES)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ---- LiME ---------------------------------------------------------------------------------------------------


def test_lime_is_read_across_its_ranges_and_what_no_range_holds_is_no_zero(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.page(0x9F000)[:] = b"x" * PAGE
    with open_path(write(tmp_path / "memory", lime(kernel))) as opened:
        assert_reads(opened, kernel)
        assert opened.prog.read(0x9FBFE, 2, True) == b"xx"
        for absent in (0, 0x9FC00, 0xA0000, MB - 1, 8 * MB):
            with pytest.raises(drgn.FaultError):
                opened.prog.read(absent, 1, True)
        with pytest.raises(drgn.FaultError):
            opened.prog.read(0x9FBFE, 4, True)
        assert any("while the kernel runs" in note for note in opened.notes)
        assert not opened.consistent
        assert opened.cut_off is None


def test_lime_is_read_whatever_the_order_of_its_ranges_and_in_a_compression(tmp_path: Path) -> None:
    kernel = FakeKernel()
    content = bz2.compress(lime(kernel, RANGES[::-1]))
    with open_path(write(tmp_path / "memory.bz2", content)) as opened:
        assert_reads(opened, kernel)


def test_a_given_vmcoreinfo_is_used_for_lime(tmp_path: Path) -> None:
    kernel = FakeKernel()
    info, kernel.page(2 * MB + 2 * PAGE)[:] = kernel.vmcoreinfo, bytes(PAGE)
    path = write(tmp_path / "memory", lime(kernel))
    assert "no VMCOREINFO in memory" in refusal(path)
    with open_path(path, vmcoreinfo=info) as opened:
        assert_reads(opened, kernel)


def test_lime_that_is_cut_is_read_as_far_as_it_goes_and_the_shortage_is_said(tmp_path: Path) -> None:
    kernel = FakeKernel()
    whole = lime(kernel)
    with open_path(write(tmp_path / "memory", whole[: len(whole) - 3 * MB])) as opened:
        assert_reads(opened, kernel)
        assert opened.cut_off == "the file is cut off: 3 MB of 8 MB of memory are missing"
        assert opened.prog.read(5 * MB - 1, 1, True) == b"\0"
        with pytest.raises(drgn.FaultError):
            opened.prog.read(5 * MB, 1, True)
    said = refusal(write(tmp_path / "memory", whole[: MB + MB // 2]))
    assert "the file is cut off: " in said and "no kernel is found: copy it again" in said
    # Within a header behind all that is needed: nothing tells how much is missing.
    with open_path(write(tmp_path / "memory", whole + whole[:20])) as opened:
        assert_reads(opened, kernel)
        assert opened.cut_off == "the file is cut off: nothing says how much of the memory is missing"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"EMiL", "cut off before its first byte"),
        (lime_header(0, PAGE), "cut off before its first byte"),
        (lime_header(PAGE, PAGE) + bytes(PAGE), "damaged LiME file: at byte 0 "),
        (struct.pack("<4sIQQ8x", b"EMiL", 1, 0, 2**64 - 1) + bytes(PAGE), "damaged LiME file: at byte 0 "),
        (struct.pack("<4sIQQ8x", b"EMiL", 2, 0, 4095) + bytes(PAGE), "LiME, version 2; version 1 is read"),
        (lime_header(0, PAGE) + bytes(PAGE) + b"x" * 40, f"damaged LiME file: at byte {PAGE + 32} "),
        ((lime_header(0, PAGE) + bytes(PAGE)) * 2, "damaged LiME file: 0x0 is in it twice"),
        (lime_header(0, PAGE) + bytes(PAGE), "no VMCOREINFO in memory"),
    ],
    ids=["magic", "header", "backwards", "endless", "version", "garbage", "twice", "zeros"],
)
def test_lime_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in refusal(write(tmp_path / "memory", content))


@pytest.mark.timeout(120)
def test_lime_of_a_terabyte_of_holes_or_of_a_million_ranges_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "memory", lime_header(0, 1 << 40))
    os.truncate(path, 32 + (1 << 40))
    assert "no VMCOREINFO" in refusal(path)
    path.write_bytes(b"".join(lime_header(at, at + 1) + b"x" for at in range((1 << 20) + 1)))
    assert "more than 1048576 ranges" in refusal(path)


def test_lime_is_not_taken_for_raw_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "memory", lime(FakeKernel()))
    assert "without physmem:" in refusal(f"physmem:{path}")


def test_a_read_across_parts_is_of_their_bytes_in_order_and_never_beyond_them(tmp_path: Path) -> None:
    path = write(tmp_path / "memory", b"0123456789")
    with path.open("rb") as file:
        ranges = FileRanges(file, [Part(100, 4, 6), Part(96, 4, 0), Part(104, 0, 0)])
        assert ranges.read(96, 8) == b"01236789"
        assert ranges.read(98, 4) == b"2367"
        assert [ranges.read(at, 1) for at in (95, 104)] == [None, None]
        assert ranges.read(103, 2) is None
        assert ranges.size == 8
    with (
        write(tmp_path / "memory", lime(FakeKernel())).open("rb") as file,
        pytest.raises(ValueError, match="0x61 is in it twice"),
    ):
        FileRanges(file, [Part(96, 4, 0), Part(97, 1, 0)])


def test_what_lime_says_of_its_memory_is_counted(tmp_path: Path) -> None:
    with write(tmp_path / "memory", lime(FakeKernel())).open("rb") as file:
        found = read_lime(file, "memory")
    assert (found.memory, found.missing, found.is_cut) == (0x9FC00 - PAGE + 7 * MB, 0, False)


# ---- cores of hypervisors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[(0, 8 * MB)], [(0, 0xA0000), (MB, 8 * MB)]], ids=["one", "two"])
def test_a_virtualbox_core_is_no_core_dump_of_a_process(tmp_path: Path, parts: list[tuple[int, int]]) -> None:
    kernel = FakeKernel()
    image = kernel.image()
    headers = virtualbox_headers([(first, end, first) for first, end in parts])
    path = write(tmp_path / "core", headers + b"".join(image[first:end] for first, end in parts))
    with open_path(path) as opened:
        assert_reads(opened, kernel)
        assert (opened.kind, opened.consistent, opened.cut_off) == ("vmcore", True, None)
    path.write_bytes(path.read_bytes()[: -2 * MB])
    with open_path(path) as opened:
        assert_reads(opened, kernel)
        assert opened.cut_off is not None and "2 MB of" in opened.cut_off
        with pytest.raises(drgn.FaultError):
            opened.prog.read(6 * MB, 1, True)


def test_a_core_whose_only_segment_is_at_0_is_read_with_its_own_note(tmp_path: Path) -> None:
    kernel = FakeKernel()
    path = tmp_path / "core"
    write_vmcore(path, kernel.vmcoreinfo, [(0, 0, kernel.image())])
    with open_path(path) as opened:
        assert_reads(opened, kernel)
        assert opened.notes == []


def test_a_xen_dump_is_named(tmp_path: Path) -> None:
    names = b"\0.shstrtab\0.note.Xen\0.xen_pages\0"
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64, 2, 1)
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, 192, len(names), 0, 0, 1, 0)
    path = write(tmp_path / "core", header + sections + names)
    assert "Xen" in refusal(path) and "kdump within the guest" in refusal(path)
    path.write_bytes(header + sections + b"\0.shstrtab\0")
    assert "damaged ELF header" in refusal(path)


# ---- crash folders ------------------------------------------------------------------------------------------


def folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def elf(kernel: FakeKernel) -> bytes:
    out = io.BytesIO()
    write_vmcore(out, kernel.vmcoreinfo, kernel.segments())
    return out.getvalue()


@pytest.mark.parametrize(
    "names",
    [
        ("dump.202611261200", "dmesg.202611261200"),
        ("dump-incomplete", "dmesg.202611261200"),
        ("vmcore", "vmcore-dmesg.txt", "kexec-dmesg.log"),
        ("vmcore-incomplete", "vmcore-dmesg-incomplete.txt", "kexec-dmesg.log"),
        ("vmcore.flat", "vmcore-dmesg.txt"),
        ("by-hand", "README", "notes.txt"),
    ],
)
def test_a_crash_folder_opens_the_dump_in_it(tmp_path: Path, names: tuple[str, ...]) -> None:
    kernel = FakeKernel()
    for number, content in enumerate(
        (kdump_file(kernel), elf(kernel), lime(kernel), bz2.compress(elf(kernel)))
    ):
        files = dict.fromkeys(names[1:], b"[    0.000000] Linux version 7.3\n")
        where = folder(tmp_path / f"{number}", {names[0]: content} | files)
        with open_path(where) as opened:
            assert_reads(opened, kernel)
            assert opened.target == str(where / names[0])


def test_a_folder_that_is_no_crash_folder_is_one_line_that_says_what_to_name(tmp_path: Path) -> None:
    dump, text = kdump_file(FakeKernel()), b"text\n"
    several = folder(tmp_path / "several", {"dump.1": dump, "dump.2": dump, "dmesg.1": text})
    assert "a folder with 2 dumps: name one of them: dump.1, dump.2" in refusal(several)
    assert "no dump in this folder, only dmesg.1: " in refusal(folder(tmp_path / "none", {"dmesg.1": text}))
    assert "no dump in this folder: " in refusal(folder(tmp_path / "empty", {}))
    assert "fleet report" in refusal(folder(tmp_path / "fleet", {"fleet.json": b"{}"}))
    vmlinux = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(44)
    assert "only vmlinux" in refusal(folder(tmp_path / "symbols", {"vmlinux": vmlinux}))
    empty = folder(tmp_path / "full-disk", {"vmcore-incomplete": b"", "vmcore-dmesg.txt": text})
    assert refusal(empty) == f"{empty}/vmcore-incomplete: the file is empty"
    cut = folder(tmp_path / "cut", {"dump.1": bz2.compress(dump)[:10]})
    assert "dump.1: truncated bzip2" in refusal(cut)
    arm = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 4, 183) + bytes(44)
    assert "arm64" in refusal(folder(tmp_path / "arm", {"vmcore": arm}))
    assert "a folder of crash folders: name one of them: arm, cut, full-disk, several" in refusal(tmp_path)


def test_nothing_in_a_crash_folder_is_waited_for(tmp_path: Path) -> None:
    kernel = FakeKernel()
    where = folder(tmp_path / "crash", {"dump.1": kdump_file(kernel)})
    os.mkfifo(where / "vmcore")
    (where / "dump.2").symlink_to("/nowhere")
    (where / "dump.3").symlink_to("/dev/zero")
    (where / "again").symlink_to(".")
    with open_path(where) as opened:
        assert_reads(opened, kernel)


def test_a_folder_of_everything_is_not_read_through(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"dump.{number}").touch()
    assert "more than 1000 files" in refusal(tmp_path)


# ---- what is named ------------------------------------------------------------------------------------------


def tar(names: tuple[str, ...], form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return out.getvalue()


FOREIGN = [
    (tar(("dump.1",), tarfile.USTAR_FORMAT), ("tar archive", "tar -xf")),
    (tar(("dump.1",), tarfile.GNU_FORMAT), ("tar archive", "tar -xf")),
    (b"AVML\2\0\0\0" + bytes(100), ("AVML", "avml-convert")),
    (libvirt_save(b"QEVM"), ("libvirt", "virsh dump --memory-only")),
    (libvirt_save(b"", whole=False), ("libvirt", "not saved to the end")),
    (b"QEVM\0\0\0\3" + bytes(100), ("QEMU migration stream", "dump-guest-memory")),
    (b"\x7fVirtualBox SavedState V2.0\n" + bytes(100), ("VirtualBox", "dumpvmcore")),
    *(
        (magic.to_bytes(4, "little") + bytes(100), ("VMware", "vmss2core", "physmem:FILE"))
        for magic in (0xBED2BED0, 0xBAD1BAD1, 0xBED2BED2, 0xBED3BED3)
    ),
    (b"Xen saved domain, xl format\n \0 \r" + bytes(100), ("Xen", "kdump within the guest")),
    (b"\xa8\x19\x01\x73\x61\x8f\x23\xfd" + bytes(4096), ("s390x",)),
    (b"PK\x03\x04" + bytes(100), ("zip", "unpack")),
    (b"\x89LZO\0\r\n\x1a\n" + bytes(100), ("lzop",)),
]


@pytest.mark.parametrize(("content", "words"), FOREIGN)
def test_what_another_tool_wrote_is_named_with_the_way_to_a_dump(
    tmp_path: Path, content: bytes, words: tuple[str, ...]
) -> None:
    for path, packed in ((tmp_path / "vmcore", content), (tmp_path / "vmcore.bz2", bz2.compress(content))):
        with pytest.raises(TargetError) as caught:
            detect_target(str(write(path, packed)))
        said = str(caught.value)
        assert all(word in said for word in words), said
        assert "\n" not in said and len(said) < 300


def test_an_old_tar_has_no_magic_and_a_page_of_zeros_is_none(tmp_path: Path) -> None:
    old = bytearray(tar(("dump.1",), tarfile.USTAR_FORMAT))
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old[:512])
    with pytest.raises(TargetError, match="tar archive"):
        detect_target(str(write(tmp_path / "old", bytes(old))))
    for content in (bytes(8192), bytes(148) + b"0" * 8 + bytes(4000)):
        with pytest.raises(TargetError, match="raw physical memory"):
            detect_target(str(write(tmp_path / "zeros", content)))


def test_the_release_is_read_from_each_of_them(tmp_path: Path) -> None:
    kernel = FakeKernel(release=RELEASE)
    spec = detect_target(str(write(tmp_path / "memory", lime(kernel))))
    assert (spec.kind, spec.path) == ("vmcore", tmp_path / "memory")
    with open_program(spec) as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE
