"""Recordings made to be expensive, or to hold what no recorder writes: each ends in one clear error."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from explorer.analysis.timeline.follow import build_timeline
from explorer.model import Snapshot
from explorer.recording.cache import WeighedCache
from explorer.recording.format import (
    KEY_INTERVAL,
    MAGIC,
    MAX_PLAIN,
    PREAMBLE,
    RECORD_HEAD,
    TRAILER,
    RecordingError,
    RecordType,
    encode_json,
    pack_record,
)
from explorer.recording.reader import Recording
from explorer.recording.writer import to_document
from tests.conftest import Run
from tests.unit.cli.test_cli import assert_one_clear_line
from tests.unit.recording.test_format import HEADER
from tests.unit.recordings import copy_of, hand_made, small

HUGE = 10**400
MIB = 1 << 20
#: A stranger's machine: more of it, and a bomb was not seen in time.
MEMORY = 300 * MIB


@pytest.fixture(scope="module")
def document(fixture_snapshots: dict[str, Snapshot]) -> dict[str, Any]:
    return to_document(small(copy_of(fixture_snapshots["isolated"]), 4))


def read_all(path: Path, *, still: bool = False) -> None:
    with Recording.open(path) as recording:
        build_timeline(recording.still_frames() if still else recording.frames())


def refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(RecordingError, match=match):
        read_all(path, still=True)
    with pytest.raises(RecordingError, match=match) as caught:
        read_all(path)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert not text.endswith(": ")
    assert len(text) < 700 + len(str(path))


def head_of(kind: RecordType, length: int, plain: int, payload: bytes = b"") -> bytes:
    """A head that announces what it likes, with the right checksum for ``payload``."""
    head = RECORD_HEAD.pack(kind, 0, 0, length, plain, 0, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


HEADER_FAULTS = [
    {"step_s": HUGE},
    {"step_s": -1},
    {"step_s": float("nan")},
    {"step_s": True},
    {"step_s": "1"},
    {"schema_version": True},
    {"schema_version": 0},
    {"schema_version": HUGE},
    {"tool_version": ["\x1b"]},
    {"mode": 5},
    {"target": None},
    {"started_at": {}},
]


@pytest.mark.parametrize("fault", HEADER_FAULTS, ids=str)
def test_a_header_with_a_value_of_another_type_or_range_is_one_clear_error(
    fault: dict[str, Any], tmp_path: Path
) -> None:
    refused(hand_made(tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER | fault)]))


SMALL_FAULTS: dict[RecordType, list[Any]] = {
    RecordType.SEGMENT: [{"why": 5}, {"why": None}, []],
    RecordType.KERNEL: [{}, {"release": 1}, {"release": "7", "notes": "x"}, {"release": "7", "notes": [1]}],
    RecordType.UNREADABLE: [{"why": {"a": 1}}, {"why": HUGE}],
    RecordType.END: [{}, {"code": "x"}, {"code": [], "reason": ""}],
}


@pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind, faults in SMALL_FAULTS.items() for fault in faults], ids=str
)
def test_a_small_record_that_is_not_what_its_type_says_is_one_clear_error(
    kind: RecordType, fault: Any, tmp_path: Path
) -> None:
    records = [(RecordType.HEADER, HEADER), (RecordType.SEGMENT, {"why": "start"}), (kind, fault)]
    refused(hand_made(tmp_path / "a.nxrec", records))


BAD_VALUES: dict[str, Any] = {
    "plugins that are a list": {"plugins": [1]},
    "plugins that are pairs": {"plugins": [["x", 5]]},
    "facts that are no object": {"plugins": {"overlay": 5}},
    "facts with a number that is none": {"plugins": {"x": {"a": [float("nan")]}}},
    "facts nested deeply": {"plugins": {"x": json.loads('{"a":' * 200 + "1" + "}" * 200)}},
    "a log that is no list": {"log": "abc"},
    "a log of numbers": {"log": [1]},
    "errors that are no list": {"errors": 5},
    "a table that is no list": {"tasks": {"0x1": {}}},
    "a table of other things": {"mounts": ["0x1"]},
    "a version that is none": {"schema_version": True},
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_frame_is_held_to_the_model_wherever_a_snapshot_would_be(
    name: str, document: dict[str, Any], tmp_path: Path
) -> None:
    key = (RecordType.KEY, document)
    as_key = [(RecordType.HEADER, HEADER), (RecordType.KEY, document | BAD_VALUES[name])]
    as_delta = [(RecordType.HEADER, HEADER), key, (RecordType.DELTA, {"values": BAD_VALUES[name]})]
    refused(hand_made(tmp_path / "key.nxrec", as_key), "frame #0")
    refused(hand_made(tmp_path / "delta.nxrec", as_delta), "frame #1")


def test_facts_that_are_no_object_do_not_reach_the_commands(
    document: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    bad = document | {"plugins": {"overlay": 5}}
    path = hand_made(tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), (RecordType.KEY, bad)])
    for words in (("plugins",), ("snapshot", "--redact")):
        assert_one_clear_line(run(*words, path), 3, "a.nxrec")


def bomb(opening: bytes, item: bytes, size: int) -> bytes:
    return b'{"schema_version":1,' + opening + item * (size // len(item)) + b"0]}"


BOMBS: dict[str, Callable[[], list[tuple[RecordType, object]]]] = {
    "key of empty lists": lambda: [(RecordType.KEY, bomb(b'"a":[', b"[],", 40 * MIB))],
    "key of empty objects": lambda: [(RecordType.KEY, bomb(b'"a":[', b"{},", 40 * MIB))],
    "key of spaces": lambda: [(RecordType.KEY, b"{" + b" " * (40 * MIB) + b"}")],
    "segments of lists": lambda: [(RecordType.SEGMENT, bomb(b'"a":[', b"[],", MIB // 2))] * 20,
    "segment of a MiB and more": lambda: [(RecordType.SEGMENT, {"why": os.urandom(MIB).hex()})],
    "many segments": lambda: [(RecordType.SEGMENT, {"why": "x"})] * 70_000,
    "segments that are large together": lambda: (
        [(RecordType.SEGMENT, {"why": os.urandom(300_000).hex()})] * 30
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_packed_a_thousandfold_is_refused_before_it_is_unpacked(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nxrec"
    packed: dict[int, bytes] = {}
    data = PREAMBLE.pack(MAGIC, 1, 0) + pack_record(RecordType.HEADER, 0, 0, encode_json(HEADER))
    for kind, content in BOMBS[name]():
        if id(content) not in packed:
            plain = content if isinstance(content, bytes) else encode_json(content)
            packed[id(content)] = pack_record(kind, 0, 0, plain)
        data += packed[id(content)]
    path.write_bytes(data)
    with limited_memory():
        try:
            read_all(path)
        except RecordingError as error:
            assert path.name in str(error)
        else:
            with Recording.open(path) as recording:  # a record that cannot be is the end of what is whole
                assert recording.damage is not None
                assert len(recording) == 0


@contextlib.contextmanager
def limited_memory(most: int = MEMORY) -> Iterator[None]:
    """No more than so many bytes of Python objects at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_values_that_would_fill_the_memory_are_refused_though_they_are_hardly_packed(tmp_path: Path) -> None:
    noise = b",".join(b"[]" if byte & 1 else b"{}" for byte in os.urandom(3 * MIB))
    path = hand_made(
        tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), (RecordType.KEY, b'{"a":[' + noise + b"]}")]
    )
    refused(path, "more values than a snapshot of its size")


def test_a_hundred_thousand_tasks_alike_are_no_bomb(document: dict[str, Any], tmp_path: Path) -> None:
    task = document["tasks"][1]
    tasks = [
        task | {"pid": pid, "tgid": pid, "address": hex(0xFFFF888000000000 + pid * 64)}
        for pid in range(100_000)
    ]
    path = hand_made(
        tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), (RecordType.KEY, document | {"tasks": tasks})]
    )
    quiet = {"tables": {"tasks": {"later": {"waiting_s": [50, "." * 100_000]}}}}
    with Recording.open(path) as recording:
        assert recording.frame(0).snapshot is not None
    data = path.read_bytes()
    assert len(data) < 1_000_000
    assert len(encode_json(quiet)) < 256 << 10  # nor is a frame in which nothing happened to them


def sparse(path: Path, head: bytes, length: int, copies: int = 1) -> Path:
    """Records of ``length`` bytes that nobody wrote."""
    path.write_bytes(PREAMBLE.pack(MAGIC, 1, 0))
    with path.open("r+b") as file:
        for number in range(copies):
            file.seek(PREAMBLE.size + number * (RECORD_HEAD.size + length))
            file.write(head)
        file.truncate(PREAMBLE.size + copies * (RECORD_HEAD.size + length))
    return path


@pytest.mark.parametrize("kind", [RecordType.INDEX, RecordType.HEADER, RecordType.KEY, RecordType.UNREADABLE])
def test_a_length_that_no_record_has_is_not_read(
    kind: RecordType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = 0xFFFFFFF0
    path = sparse(tmp_path / "a.nxrec", head_of(kind, length, 100), length)
    with path.open("ab") as file:
        if kind is RecordType.INDEX:
            file.write(TRAILER.pack(PREAMBLE.size, MAGIC))
        else:
            end = file.tell()
            file.write(pack_record(RecordType.INDEX, 0, 0, encode_json({"offsets": [PREAMBLE.size]})))
            file.write(TRAILER.pack(end, MAGIC))
    asked = watch_reads(monkeypatch)
    refused(path, "without a header")
    assert sum(asked) < MIB


def watch_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each ``pread()`` of the reader asks for, from now on."""
    asked: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        asked.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr("explorer.recording.records.os.pread", counted)
    return asked


def test_a_hole_in_the_file_is_not_read_for_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = 100 * MIB
    head = head_of(RecordType.KEY, length, MAX_PLAIN)
    path = tmp_path / "a.nxrec"
    sparse(path, head, length, copies=40)
    asked = watch_reads(monkeypatch)
    with pytest.raises(RecordingError):
        read_all(path)
    assert sum(asked) < MIB


def test_an_index_of_other_things_than_offsets_is_not_parsed(
    document: dict[str, Any], tmp_path: Path
) -> None:
    path = hand_made(tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), (RecordType.KEY, document)])
    end = path.stat().st_size
    index = bomb(b'"offsets":[', b"[],", 20 * MIB)
    with path.open("ab") as file:
        file.write(pack_record(RecordType.INDEX, 0, 0, index) + TRAILER.pack(end, MAGIC))
    with limited_memory(), Recording.open(path) as recording:
        assert not recording.indexed
        assert len(recording) == 1


def test_more_deltas_than_a_writer_makes_behind_a_key_frame_are_refused_in_any_order(
    document: dict[str, Any], tmp_path: Path
) -> None:
    deltas: list[tuple[RecordType, object]] = [
        (RecordType.DELTA, {}),
        (RecordType.UNREADABLE, {}),
    ] * KEY_INTERVAL
    path = hand_made(tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), (RecordType.KEY, document), *deltas])
    with Recording.open(path) as recording:
        last = len(recording) - 2
        with pytest.raises(RecordingError, match="without a key frame"):
            recording.frame(last)
        seen = [number for number in range(last) if not recording.unreadable[number]]
        assert all(recording.frame(number).snapshot for number in seen)
        with pytest.raises(RecordingError, match="without a key frame"):
            recording.frame(last)


def test_a_clock_that_goes_back_stands_still(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.nxrec"
    frame = encode_json(document)
    times = [5, 2**64 - 1, 0, 3]
    data = PREAMBLE.pack(MAGIC, 1, 0) + pack_record(RecordType.HEADER, 0, 0, encode_json(HEADER))
    path.write_bytes(data + b"".join(pack_record(RecordType.KEY, 0, at, frame) for at in times))
    with Recording.open(path) as recording:
        assert recording.times == sorted(recording.times)
        assert recording.index_at(1e-6) == 0
        read_all(path)


CLOCKS = [["x" * 1000, "0..."], [1, "0000"], [HUGE, "0..."], [0.5, "0..."], [True, "0..."]]


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda clock: str(clock)[:20])
def test_a_clock_that_is_text_is_not_multiplied(
    clock: list[Any], document: dict[str, Any], tmp_path: Path
) -> None:
    text = document | {"tasks": [task | {"waiting_s": "A" * 100_000} for task in document["tasks"]]}
    delta = {"tables": {"tasks": {"later": {"waiting_s": clock}}}}
    path = hand_made(
        tmp_path / "a.nxrec",
        [(RecordType.HEADER, HEADER), (RecordType.KEY, text), (RecordType.DELTA, delta)],
    )
    with (
        limited_memory(50 * MIB),
        Recording.open(path) as recording,
        pytest.raises(RecordingError, match="does not fit"),
    ):
        recording.frame(1)


def test_frames_are_kept_by_what_they_weigh_not_by_their_number() -> None:
    cache: WeighedCache[str] = WeighedCache(3, 100)
    for number, weight in enumerate((40, 40, 40)):
        cache.put(number, "x", weight)
    assert [number in cache for number in range(3)] == [False, True, True]
    cache.put(9, "alone", 1000)
    assert (len(cache), cache.weight) == (1, 1000)
    for number in range(9):
        cache.put(number, "light", 1)
    assert (len(cache), cache.weight) == (3, 3)
    assert cache.get(0) is None


def test_many_frames_that_share_nothing_do_not_stay_in_memory(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hand_made(tmp_path / "a.nxrec", [(RecordType.HEADER, HEADER), *[(RecordType.KEY, document)] * 40])
    monkeypatch.setattr("explorer.recording.reader._CACHED_BYTES", 5 * len(encode_json(document)))
    with Recording.open(path) as recording:
        for _ in recording.frames():
            pass
        assert len(recording._documents) <= 5
        assert len(recording._cache) <= 5


def test_a_pipe_or_a_device_is_refused_without_waiting_for_it(tmp_path: Path, run: Run) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, what in (
        (pipe, "a pipe"),
        (Path("/dev/zero"), "a character device"),
        (tmp_path, "a directory"),
    ):
        with pytest.raises(RecordingError, match=what):
            Recording.open(path)
    assert_one_clear_line(run("timeline", pipe), 3, "a pipe")


def test_a_name_with_a_nul_is_one_clear_error() -> None:
    with pytest.raises(RecordingError, match="cannot read"):
        Recording.open(Path("a\0b"))


def test_a_payload_of_another_size_than_announced_is_never_unpacked(tmp_path: Path) -> None:
    payload = zstandard.ZstdCompressor().compress(b" " * (300 << 10))
    data = PREAMBLE.pack(MAGIC, 1, 0) + pack_record(RecordType.HEADER, 0, 0, encode_json(HEADER))
    path = tmp_path / "a.nxrec"
    for plain in (300 << 10, (300 << 10) + 1, 200 << 10):
        path.write_bytes(data + head_of(RecordType.KEY, len(payload), plain, payload))
        refused(path)
