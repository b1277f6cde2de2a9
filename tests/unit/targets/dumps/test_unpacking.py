"""Files made to keep the reader busy, to fill its memory or its disk, or to make it wait: each ends in one line, soon.

Where the old code would have been busy for minutes, the test's own time limit says so.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from explorer.cli.targets import TargetArguments
from explorer.compression import BZIP2, COMPRESSIONS, GZIP, LZ4, XZ, ZSTD, Damaged, Method, plain_chunks
from explorer.targets.detect import detect_target
from explorer.targets.dumps import containers
from explorer.targets.dumps.containers import Format, decompress, open_file, read_small_file
from explorer.targets.dumps.flattened import reassemble
from explorer.targets.errors import TargetError
from explorer.targets.program import open_program
from explorer.targets.symbols.dwarf import read_elf
from explorer.targets.vmcoreinfo import MAX_VMCOREINFO
from tests.unit.fake_kernel import FakeKernel, kdump_file

pytestmark = pytest.mark.timeout(120)

TIB = 1 << 40
PACKERS: list[tuple[Format, Callable[[bytes], bytes]]] = [
    (Format.ZSTD, zstandard.compress),
    (Format.GZIP, gzip.compress),
    (Format.XZ, lzma.compress),
    (Format.BZIP2, bz2.compress),
    (Format.LZ4, lz4.frame.compress),
]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(TargetError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def bomb(blocks: int, byte: int) -> bytes:
    """A zstd frame of blocks that each are one byte, 131,072 times."""
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + bytes([byte])
    last = (1 << 3 | 1 << 1 | 1).to_bytes(3, "little") + bytes([byte])
    return b"\x28\xb5\x2f\xfd\x00\x38" + block * blocks + last


# ---- what is compressed -------------------------------------------------------------------------------------


def test_a_small_file_does_not_unpack_to_forty_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "dump.zst"
    path.write_bytes(zstandard.compress(b"\x7fELF") + bomb(40 << 13, 0))
    with path.open("rb") as file:
        assert "no kernel's memory compresses so well; if you trust it, decompress it (zstd -d)" in refusal(
            lambda: decompress(file, Format.ZSTD, "dump")
        )


def test_a_small_file_does_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "dump.zst"
    path.write_bytes(bomb(2 << 13, 0xAA))
    with path.open("rb") as file:
        assert "no kernel's memory" in refusal(lambda: decompress(file, Format.ZSTD, "dump"))


@pytest.mark.parametrize(("form", "pack"), PACKERS)
def test_the_bound_is_kept_to_the_byte_and_holes_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setitem(containers._BOUNDS, form, containers._Bound(8 << 20, 1))
    monkeypatch.setattr(containers, "_STORED", containers._Bound(1 << 16, 1))
    path = tmp_path / "dump"
    for extra in (0, 1):
        path.write_bytes(pack(b"x" * 100 + bytes((8 << 20) - 100 + extra)))
        with path.open("rb") as file:
            if extra:
                assert "no kernel's memory" in refusal(lambda: decompress(file, form, "dump"))
            else:
                with decompress(file, form, "dump") as plain:
                    assert plain.read() == b"x" * 100 + bytes((8 << 20) - 100)
                    assert os.fstat(plain.fileno()).st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("form", [form for form, _ in PACKERS])
def test_a_guest_of_4_gb_that_does_nothing_is_not_taken_for_a_bomb(form: Format) -> None:
    assert containers._BOUNDS[form].floor >= (4 << 30) + (32 << 20)  # its RAM, and the memory of its devices


def test_every_compression_that_is_known_is_tried_here() -> None:
    assert [form.value for form, _ in PACKERS] == [method.name for method in COMPRESSIONS]


def read_all(path: Path, method: Method) -> bytes:
    with path.open("rb") as file:
        return b"".join(plain_chunks(file, method))


@pytest.mark.parametrize(
    ("method", "empty"),
    [
        (ZSTD, zstandard.compress(b"")),
        (GZIP, gzip.compress(b"")),
        (XZ, lzma.compress(b"")),
        (BZIP2, bz2.compress(b"")),
        (LZ4, lz4.frame.compress(b"")),
    ],
    ids=["zstd", "gzip", "xz", "bzip2", "lz4"],
)
def test_frames_with_nothing_in_them_end(tmp_path: Path, method: Method, empty: bytes) -> None:
    path = tmp_path / "dump"
    path.write_bytes(empty * 70_000)
    with pytest.raises(Damaged, match="next to nothing"):
        read_all(path, method)


def test_skippable_frames_are_skipped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    with path.open("wb") as file:
        for at in range(256):  # a terabyte of holes
            file.seek(at * ((1 << 32) + 7))
            file.write(b"\x50\x2a\x4d\x18\xff\xff\xff\xff")
        file.seek(256 * ((1 << 32) + 7))
        file.write(zstandard.compress(b"content"))
    assert read_all(path, ZSTD) == b"content"
    path.write_bytes(zstandard.compress(b"content") + b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + b"cut")
    with pytest.raises(EOFError):
        read_all(path, ZSTD)


@pytest.mark.parametrize(("method", "pack"), [(GZIP, gzip.compress), (XZ, lzma.compress)])
def test_a_terabyte_of_padding_is_passed_over_as_a_hole(
    tmp_path: Path, method: Method, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pack(b"first") + bytes(4))
    os.truncate(path, TIB)
    assert read_all(path, method) == b"first"
    with path.open("r+b") as file:
        file.seek(TIB // 2)
        file.write(pack(b"second"))
    assert read_all(path, method) == b"firstsecond"


@pytest.mark.parametrize(("form", "pack"), PACKERS)
def test_parts_that_were_compressed_one_after_the_other_come_out_as_one(
    tmp_path: Path, form: Format, pack: Callable[[bytes], bytes]
) -> None:
    parts = [os.urandom(100_000) + bytes(3_000_000), b"", os.urandom(70_000), b"end"]
    path = tmp_path / "dump"
    path.write_bytes(b"".join(map(pack, parts)))
    seen: list[int] = []
    with path.open("rb") as file:
        plain = decompress(file, form, "dump", lambda what, done, total: seen.append(done))
    with plain:
        assert plain.read() == b"".join(parts)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= path.stat().st_size


# ---- what is no file, or cannot be read ---------------------------------------------------------------------


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, Path]]:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        yield {
            "a pipe": tmp_path / "pipe",
            "a socket": tmp_path / "socket",
            "a directory": tmp_path,
            "a character device": Path("/dev/zero"),
            "Input/output error": Path("/proc/self/mem"),
            "No such file": tmp_path / "missing",
        }


def arguments(**given: object) -> TargetArguments:
    values = dict.fromkeys(TargetArguments._fields)
    return TargetArguments(**{**values, **given})  # type: ignore[arg-type]


def test_a_vmcoreinfo_that_is_no_file_is_neither_waited_for_nor_read_without_end(
    special: dict[str, Path],
) -> None:
    for what, path in special.items():
        message = refusal(arguments(vmcoreinfo=path).open_options)
        assert what in message
        assert message.startswith(f"--vmcoreinfo {path}")
        assert "targets are" not in message


def test_a_vmcoreinfo_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "info"
    path.touch()
    os.truncate(path, TIB)
    assert "too long to be true" in refusal(arguments(vmcoreinfo=path).open_options)
    path.write_bytes(b"x" * MAX_VMCOREINFO)
    assert read_small_file(path, "--vmcoreinfo", MAX_VMCOREINFO) == b"x" * MAX_VMCOREINFO


def test_symbols_that_are_no_file_are_not_waited_for(special: dict[str, Path]) -> None:
    for what, path in special.items():
        assert what in refusal(lambda: read_elf(path))  # noqa: B023


def test_a_file_that_cannot_be_read_is_the_targets_fault_and_not_the_outputs(
    special: dict[str, Path],
) -> None:
    path = special["Input/output error"]
    assert refusal(lambda: detect_target(str(path))) == f"{path}: Input/output error"
    assert "Input/output error" in refusal(lambda: detect_target(f"physmem:{path}"))
    assert "File name too long" in refusal(lambda: detect_target("x" * 300))


def test_a_disk_that_fails_while_a_dump_is_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(kdump_file(FakeKernel()))
    spec = detect_target(str(path))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("explorer.targets.dumps.kdump.os.pread", fail)
    assert refusal(lambda: open_program(spec)) == f"{path}: Input/output error"


def test_a_block_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fstat() would say of one: there need be none here."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(4096))
    monkeypatch.setattr("explorer.files.os.fstat", lambda _: os.stat_result((0o060660, *(0,) * 9)))
    with pytest.raises(TargetError, match="a block device"):
        containers.open_file(path)


# ---- flattened dumps, and symbols ---------------------------------------------------------------------------

HEADER = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
END = struct.pack(">qq", -1, -1)


def unflatten(path: Path) -> bytes:
    with path.open("rb") as file, reassemble(file, "dump")[0] as plain:
        return plain.read()


def test_records_with_nothing_in_them_end(tmp_path: Path) -> None:
    path = tmp_path / "flat"
    path.write_bytes(HEADER + struct.pack(">qq", 0, 0) * 100_000 + END)
    assert "next to nothing" in refusal(lambda: unflatten(path))


def test_records_of_zeros_overwrite_what_was_there_and_count_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "flat"
    records = [(0, b"abcdefgh"), (2, bytes(3)), (8, bytes(100)), (50, b"x"), (40, bytes(20))]
    path.write_bytes(
        HEADER + b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records) + END
    )
    expected = io.BytesIO()
    for at, data in records:
        expected.seek(at)
        expected.write(data)
    assert unflatten(path) == expected.getvalue()


def test_a_terabyte_of_holes_in_a_flattened_dump_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "flat"
    path.write_bytes(HEADER + struct.pack(">qq", 0, TIB))
    os.truncate(path, 4096 + 16 + TIB)
    with path.open("ab") as file:
        file.write(END)
    assert "holes" in refusal(lambda: unflatten(path))


def test_symbols_with_thousands_of_megabytes_of_notes_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vmlinux"
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 64, 0, 0, 64, 56, 4096, 0, 0, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 0, 1 << 20, 0, 0, 1 << 20, 1 << 20, 0)
    path.write_bytes(header + notes * 4096)
    os.truncate(path, 2 << 20)
    searched: list[int] = []
    monkeypatch.setattr("explorer.targets.symbols.dwarf._build_id", lambda notes: searched.append(len(notes)))
    assert read_elf(path).build_id is None
    assert sum(searched) <= 1 << 20


def test_opening_a_file_says_what_it_is_in_the_words_of_the_option(tmp_path: Path) -> None:
    assert refusal(lambda: open_file(tmp_path, "-s")) == f"-s {tmp_path}: a directory"
    assert "targets are" in refusal(lambda: open_file(tmp_path / "missing"))
