"""Traces as JSON Lines: what is written is read back, cut off anywhere, and damaged in every way a file can be."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from explorer.codec import TraceError, encode_trace_line, is_trace, load_trace, read_trace
from explorer.compression import COMPRESSIONS, GZIP, XZ, Method
from explorer.model import Trace
from tests.unit.traces import END, header, lookup

HEADER = header()
LOOKUP = lookup("/a\n\x1b[2J\udcff" + "x" * 4000, root=None, tries=2)
WHOLE = encode_trace_line(HEADER) + encode_trace_line(LOOKUP) + encode_trace_line(END)


def test_a_trace_is_read_back_as_it_was_written_whatever_a_path_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(WHOLE)
    assert load_trace(path) == Trace(header=HEADER, lookups=[LOOKUP], end=END)
    assert WHOLE.isascii()
    assert WHOLE.count(b"\n") == 3
    assert is_trace(WHOLE[:200])


def test_a_trace_that_was_cut_off_anywhere_has_the_lookups_whose_lines_are_whole() -> None:
    first, second = (len(encode_trace_line(record)) for record in (HEADER, LOOKUP))
    for length in range(first, len(WHOLE), 7):
        trace = read_trace(io.BytesIO(WHOLE[:length]), "t")
        assert trace.end is None
        assert trace.lookups == ([LOOKUP] if length >= first + second else [])
    for length in range(0, first, 7):
        with pytest.raises(TraceError, match="no trace"):
            read_trace(io.BytesIO(WHOLE[:length]), "t")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "t is no trace"),
        (b'{"schema_version":1,\n', "t is no trace"),
        (WHOLE.replace(b'"version":1', b'"version":2'), "version 2; this version reads up to 1"),
        (WHOLE.replace(b'"version":1', b'"version":true'), "version True"),
        (WHOLE.replace(b'"isolated"', b'"strange"'), "t: generation"),
        (WHOLE.replace(b'"pid":7', b'"pid":"x"'), "t, line 2: pid"),
        (WHOLE.replace(b'{"lookup"', b'{"nothing"'), "t, line 2: neither a lookup nor the end"),
        (WHOLE.replace(b'{"lookup"', b"["), "t, line 2: not JSON"),
        (encode_trace_line(HEADER) + b"[]\n", "t, line 2: no JSON object"),
        (encode_trace_line(HEADER) + b"[" * 100_000 + b"\n", "t, line 2: not JSON"),
        (encode_trace_line(HEADER) + b"x" * (1 << 20) + b"x\n", "a line of more than 1 MiB"),
    ],
)
def test_a_damaged_trace_ends_in_one_line_that_says_where(data: bytes, says: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(io.BytesIO(data), "t")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def packed_as(method: Method, data: bytes, path: Path) -> bytes:
    with path.open("wb") as file, method.writer(file) as out:
        out.write(data)
    return path.read_bytes()


@pytest.mark.parametrize("method", COMPRESSIONS, ids=lambda method: method.name)
def test_a_compressed_trace_is_read_as_it_was_written_and_one_cut_off_as_far_as_it_got(
    method: Method, tmp_path: Path
) -> None:
    many = encode_trace_line(HEADER) + encode_trace_line(LOOKUP) * 400 + encode_trace_line(END)
    path = tmp_path / "t"
    packed = packed_as(method, many, path)
    assert load_trace(path) == Trace(header=HEADER, lookups=[LOOKUP] * 400, end=END)
    path.write_bytes(packed[:-8])
    try:
        cut = load_trace(path)
    except TraceError as error:
        assert "is no trace" in str(error), "nothing of its only block had come"
    else:
        assert cut.lookups == [LOOKUP] * len(cut.lookups) and (cut.end is None or len(cut.lookups) == 400)


def test_a_damaged_compression_and_a_bomb_are_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t"
    packed = bytearray(packed_as(GZIP, WHOLE, path))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(TraceError, match="is damaged"):
        load_trace(path)
    packed_as(XZ, encode_trace_line(HEADER) + encode_trace_line(LOOKUP) * 16_000, path)
    with pytest.raises(TraceError, match="holds more than a trace of its size can"):
        load_trace(path)


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(TraceError, match=says):
            load_trace(path)


def test_a_line_has_one_member_that_says_what_it_is() -> None:
    assert [list(json.loads(line)) for line in WHOLE.splitlines()] == [["header"], ["lookup"], ["end"]]
