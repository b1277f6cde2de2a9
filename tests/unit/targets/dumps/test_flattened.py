"""Flattened dumps: whatever the order and size of the records, the dump comes out; damage is named."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.targets.detect import detect_target
from explorer.targets.dumps.elfcore import write_vmcore
from explorer.targets.dumps.flattened import reassemble
from explorer.targets.errors import TargetError
from explorer.targets.program import open_program
from tests.unit.fake_kernel import RELEASE, FakeKernel

HEADER = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
END = struct.pack(">qq", -1, -1)


def flatten(records: list[tuple[int, bytes]]) -> bytes:
    return HEADER + b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records) + END


def unflatten(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    with path.open("rb") as file, reassemble(file, "dump")[0] as plain:
        plain.seek(0)
        return plain.read()


@given(st.lists(st.tuples(st.integers(0, 9000), st.binary(max_size=5000)), max_size=12))
def test_records_land_where_they_belong(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes]]
) -> None:
    expected = io.BytesIO()
    for at, data in records:
        if data:
            expected.seek(at)
            expected.write(data)
    assert unflatten(tmp_path_factory.getbasetemp() / "flat", flatten(records)) == expected.getvalue()


def test_what_follows_the_end_mark_is_ignored(tmp_path: Path) -> None:
    assert unflatten(tmp_path / "flat", flatten([(0, b"abc")]) + b"trailing") == b"abc"


@given(cut=st.integers(0, 4096 + 2 * 16 + 50 - 1))
def test_a_truncated_dump_is_named_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    content = flatten([(0, b"x" * 50)])[:cut]
    with pytest.raises(TargetError, match="truncated"):
        unflatten(tmp_path_factory.getbasetemp() / "cut", content)


@pytest.mark.parametrize(
    ("offset", "size"), [(-2, 1), (0, -5), (1 << 47, 1), (1 << 62, 1 << 62), (0, 1 << 50)]
)
def test_a_record_that_cannot_be_is_damage(tmp_path: Path, offset: int, size: int) -> None:
    with pytest.raises(TargetError, match="damaged"):
        unflatten(tmp_path / "flat", HEADER + struct.pack(">qq", offset, size) + b"data" + END)


def test_an_unknown_version_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="version 2"):
        unflatten(tmp_path / "flat", struct.pack(">16sqq", b"makedumpfile", 1, 2).ljust(4096, b"\0") + END)


def test_a_flattened_vmcore_opens(tmp_path: Path) -> None:
    kernel = FakeKernel()
    plain = io.BytesIO()
    write_vmcore(plain, kernel.vmcoreinfo, kernel.segments())
    data = plain.getvalue()
    records = [(at, data[at : at + 1000]) for at in range(0, len(data), 1000)]
    path = tmp_path / "flat"
    path.write_bytes(flatten(records[::-1]))
    with open_program(detect_target(str(path))) as opened:
        assert opened.vmcoreinfo.osrelease == RELEASE
        assert any("flattened" in note for note in opened.notes)
