"""detect_target(): every kind of file by its content, every mistake in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import socket
import struct
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from explorer.targets.detect import detect_target
from explorer.targets.errors import TargetError
from explorer.targets.spec import TargetSpec
from tests.conftest import Run
from tests.unit.fake_kernel import FakeKernel
from tests.unit.traces import header, lookup, write_trace

SNAPSHOT = json.dumps({"schema_version": 1, "tasks": []}).encode()


def elf_header(kind: int = 4, machine: int = 62, bits: int = 2) -> bytes:
    return b"\x7fELF" + bytes((bits, 1, 1)) + bytes(9) + struct.pack("<HH", kind, machine) + bytes(44)


def refusal(text: str) -> str:
    with pytest.raises(TargetError) as caught:
        detect_target(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (elf_header(), "vmcore"),
        (b"KDUMP   " + bytes(500), "vmcore"),
        (b"DISKDUMP" + bytes(500), "vmcore"),
        (b"makedumpfile\0\0\0\0" + bytes(4080), "vmcore"),
        (SNAPSHOT, "snapshot"),
        (b"\xef\xbb\xbf \n" + SNAPSHOT, "snapshot"),
    ],
    ids=["elf", "kdump", "diskdump", "flattened", "snapshot", "snapshot-with-bom"],
)
@pytest.mark.parametrize(
    "compress", [bytes, zstandard.compress, gzip.compress, lzma.compress, bz2.compress, lz4.frame.compress]
)
def test_the_content_decides_and_not_the_name(
    tmp_path: Path, content: bytes, kind: str, compress: type[bytes]
) -> None:
    path = tmp_path / "misleading.json"
    path.write_bytes(compress(content))
    assert detect_target(str(path)) == TargetSpec(kind, str(path), path=path)  # type: ignore[arg-type]


def test_zstd_that_begins_with_a_skippable_frame_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(b"\x5e\x2a\x4d\x18" + struct.pack("<I", 3) + b"abc" + zstandard.compress(SNAPSHOT))
    assert detect_target(str(path)).kind == "snapshot"


def test_words_name_targets() -> None:
    assert detect_target("live") == TargetSpec("live", "live")
    assert detect_target("qemu:/run/vm.qmp").address == "/run/vm.qmp"
    assert detect_target("qemu:localhost:4444").address == "localhost:4444"
    assert detect_target("qemu:[::1]:4444").address == "[::1]:4444"


def test_a_file_called_like_a_word_is_reachable_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("live").write_bytes(SNAPSHOT)
    assert detect_target("./live").kind == "snapshot"


def test_a_socket_is_a_qemu_guest(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert detect_target(str(path)) == TargetSpec("qemu", str(path), address=str(path))


def test_physmem_is_never_guessed_but_suggested(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(FakeKernel().image())
    assert "physmem:FILE" in refusal(str(path))
    assert detect_target(f"physmem:{path}") == TargetSpec("physmem", f"physmem:{path}", path=path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (elf_header(machine=183), "arm64"),
        (elf_header(machine=22), "s390x"),
        (elf_header(kind=2), "an executable, not a vmcore; a vmlinux with debug info goes with -s"),
        (elf_header(bits=1), "only x86_64"),
        (elf_header()[:30], "truncated"),
        (b"", "the file is empty"),
        (zstandard.compress(b""), "the file is empty"),
        (zstandard.compress(gzip.compress(SNAPSHOT)), "compressed twice"),
        (zstandard.compress(SNAPSHOT)[:8], "truncated zstd"),
        (gzip.compress(SNAPSHOT)[:15], "truncated gzip"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "damaged zstd"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"\xfd7zXZ\0" + bytes(100), "damaged xz"),
        (b'{"tasks": []}', "no schema_version"),
        (bz2.compress(SNAPSHOT)[:20], "truncated bzip2"),
        (b"BZh91AY&SY" + bytes(100), "damaged bzip2"),
        (lz4.frame.compress(SNAPSHOT)[:-10], "truncated lz4"),
        (b"\x04\x22\x4d\x18" + bytes(100), "damaged lz4"),
        (bz2.compress(lz4.frame.compress(SNAPSHOT)), "compressed twice (bzip2, then lz4)"),
        (b"plain text\n", "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert expected in refusal(str(path))


def test_what_is_not_a_regular_file_is_named(tmp_path: Path) -> None:
    assert "no dump in this folder" in refusal(str(tmp_path))
    assert "a directory" in refusal(f"physmem:{tmp_path}")
    assert "no such file" in refusal(str(tmp_path / "missing"))
    assert "no such file" in refusal(f"physmem:{tmp_path / 'missing'}")
    assert "character device" in refusal("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in refusal(str(tmp_path / "pipe"))
    assert "port" in refusal("qemu:localhost:70000")
    for nothing in ("", "\0", "qemu:", "physmem:"):
        refusal(nothing)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_dump_of_root_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(elf_header())
    path.chmod(0)
    assert "sudo" in refusal(str(path))


def test_a_trace_of_lookups_is_a_target_of_its_own_which_the_app_shows_and_nothing_else_reads(
    tmp_path: Path, run: Run
) -> None:
    path = write_trace(tmp_path / "t.jsonl", header(), [lookup()])
    assert detect_target(str(path)) == TargetSpec("trace", str(path), path=path)
    packed = tmp_path / "t.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert detect_target(str(packed)) == TargetSpec("trace", str(packed), path=packed)
    for command in ("tasks", "audit", "snapshot"):
        ended = run(command, path)
        assert ended.returncode == 3
        assert "a trace of lookups, which has no tasks: open shows it" in ended.stderr
        assert ended.stderr.count("\n") == 1
