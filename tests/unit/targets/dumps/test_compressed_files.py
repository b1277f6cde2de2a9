"""Compressed files that the command writes and reads: what is called .gz is gzip; what is not written is refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from tests.conftest import FIXTURES, Run

RFC = FIXTURES["rfc-v1"]


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


#: By what is not this tool: a reader that shared the writer's mistakes would see none.
UNPACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", gzip.decompress),
    (".xz", lzma.decompress),
    (".bz2", bz2.decompress),
    (".lz4", lz4.frame.decompress),
    (".zst", unzstd),
]


@pytest.mark.parametrize(("suffix", "unpack"), UNPACKERS)
def test_a_compressed_snapshot_is_what_its_name_says_and_is_read_again(
    run: Run, tmp_path: Path, suffix: str, unpack: Callable[[bytes], bytes]
) -> None:
    assert run("snapshot", RFC, "-o", "plain.json").returncode == 0
    packed = f"packed.json{suffix}"
    assert run("snapshot", "plain.json", "-o", packed).returncode == 0
    assert unpack((tmp_path / packed).read_bytes()) == (tmp_path / "plain.json").read_bytes()
    for command in (("tasks", "--all"), ("audit",)):
        plain, found = run(*command, "plain.json"), run(*command, packed)
        assert found.stdout.replace(packed, "plain.json") == plain.stdout
        assert found.returncode == plain.returncode
    assert run("diff", "plain.json", packed).returncode == 0


@pytest.mark.parametrize(("suffix", "unpack"), UNPACKERS)
def test_a_compressed_slice_is_what_its_name_says_and_opens_as_the_kernel(
    run: Run, tmp_path: Path, suffix: str, unpack: Callable[[bytes], bytes]
) -> None:
    packed = f"slice.elf{suffix}"
    result = run("slice", RFC, "-o", packed)
    assert result.returncode == 0, result.stderr
    assert unpack((tmp_path / packed).read_bytes()).startswith(b"\x7fELF")
    assert run("tasks", packed).stdout.splitlines()[0] == run("tasks", RFC).stdout.splitlines()[0]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz", ".7z", ".lzo", ".lzma", ".ZIP", ".zstd"])
def test_a_compression_that_is_not_written_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, suffix: str
) -> None:
    for command in (("snapshot", RFC, "-o", f"a.json{suffix}"), ("slice", RFC, "-o", f"a.elf{suffix}")):
        result = run(*command)
        assert result.returncode == 2, result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert f"{suffix.lower()} is not written: end the name in one of .zst, .gz" in result.stderr.lower()
        assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_cut_snapshot_is_one_line_in_every_compression(run: Run, tmp_path: Path) -> None:
    assert run("snapshot", RFC, "-o", "plain.json").returncode == 0
    for suffix, _ in UNPACKERS:
        path = tmp_path / f"s.json{suffix}"
        assert run("snapshot", "plain.json", "-o", path.name).returncode == 0
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], whole[:1000] + b"\xff" * 5000 + whole[6000:]):
            path.write_bytes(content)
            result = run("tasks", path.name)
            assert result.returncode == 3, (suffix, result.stdout[:200], result.stderr)
            assert len(result.stderr.splitlines()) == 1
            said = ("cut off: copy", "truncated", "damaged")
            assert any(word in result.stderr for word in said), (suffix, result.stderr)
