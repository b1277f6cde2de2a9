"""Recordings as files: what is written comes back, from a file that is whole, cut off, damaged or hostile."""

from __future__ import annotations

import os
import random
import signal
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from explorer.model import Snapshot
from explorer.recording.format import (
    MAGIC,
    PREAMBLE,
    RECORD_HEAD,
    TRAILER,
    RecordingError,
    RecordType,
    encode_json,
    pack_record,
)
from explorer.recording.reader import Recording, parse_moment
from explorer.recording.records import list_records
from explorer.recording.writer import KEY_INTERVAL, RecordingWriter, WriteError, to_document
from tests.unit.recordings import STEP_S, copy_of, hand_made, make_snapshots, small, write_recording

KILLS = 50
HEADER: dict[str, Any] = {"schema_version": 1, "tool_version": "1", "mode": "step", "target": "x", "step_s": 0.05,
                          "started_at": "2026-01-01"}  # fmt: skip


@pytest.fixture(scope="module")
def snapshots(fixture_snapshots: dict[str, Snapshot]) -> list[Snapshot]:
    return make_snapshots(copy_of(fixture_snapshots["isolated"]), KEY_INTERVAL + 20)


def dumps(snapshots: list[Snapshot]) -> list[dict[str, Any]]:
    return [snapshot.model_dump() for snapshot in snapshots]


def read_back(recording: Recording) -> list[Snapshot]:
    return [frame.snapshot for frame in recording.frames() if frame.snapshot is not None]


def test_every_frame_comes_back_as_it_was_across_key_frames(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a.nxrec"
    write_recording(path, [None, *snapshots])
    with Recording.open(path) as recording:
        assert (recording.indexed, recording.damage) == (True, None)
        assert recording.end is not None
        assert recording.end.code == "done"
        assert recording.unreadable == [True] + [False] * len(snapshots)
        assert recording.segments[0].release == snapshots[0].kernel.release
        assert recording.segments[0].readable_s == pytest.approx(STEP_S)
        assert dumps(read_back(recording)) == dumps(snapshots)
        assert recording.frame(0).why == "not yet"


def test_frames_are_the_same_in_whatever_order_they_are_visited(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a.nxrec"
    write_recording(path, snapshots)
    order = [*range(len(snapshots) - 1, -1, -1), *random.Random(3).choices(range(len(snapshots)), k=60)]
    with Recording.open(path) as recording:
        for index in order:
            found = recording.frame(index).snapshot
            assert found is not None
            assert found.tasks == snapshots[index].tasks, index


def test_a_frame_is_found_by_its_time(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    path = tmp_path / "a.nxrec"
    write_recording(path, snapshots[:10])
    with Recording.open(path) as recording:
        assert [recording.index_at(at) for at in (0, 0.049, 0.05, 0.051, 0.45, 99)] == [0, 0, 1, 1, 9, 9]
        assert recording.snapshot_at("#3").tasks == snapshots[3].tasks
        assert recording.snapshot_at("0.2s").tasks == snapshots[4].tasks
        assert recording.snapshot_at(None).tasks == snapshots[9].tasks
        with pytest.raises(RecordingError, match="the last is #9"):
            recording.snapshot_at("#10")


@pytest.mark.parametrize("text", ["", "#", "#-1", "x", "-1", "nan", "inf", "1_0", "#1x", "1e99"])
def test_what_names_no_moment_is_one_clear_error(text: str) -> None:
    with pytest.raises(RecordingError, match="names no moment"):
        parse_moment(text)


def test_a_frame_that_could_not_be_read_names_the_next_one_that_could(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a.nxrec"
    write_recording(path, [None, None, snapshots[0]])
    with (
        Recording.open(path) as recording,
        pytest.raises(RecordingError, match=r"#0 .*not yet.*#2 at 0\.100 s can"),
    ):
        recording.snapshot_at("#0")


def test_the_file_is_its_owners_alone_and_replaces_what_was_there(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a.nxrec"
    path.write_text("old")
    path.chmod(0o666)
    write_recording(path, snapshots[:1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(MAGIC)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nxrec"]


def test_a_file_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot write"):
        RecordingWriter(tmp_path / "no" / "a.nxrec", mode="step", target="x", step_s=None, started_at="")
    with pytest.raises(WriteError, match="cannot write"):
        RecordingWriter(tmp_path, mode="step", target="x", step_s=None, started_at="")


def test_cut_off_at_every_byte_every_whole_frame_reads_back(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    few = make_snapshots(small(snapshots[0], 3), 5)
    whole = tmp_path / "whole"
    write_recording(whole, [None, *few])
    data = whole.read_bytes()
    with whole.open("rb") as file:
        records = list_records(file.fileno(), "whole")
    ends = [
        offset + RECORD_HEAD.size + head.length
        for offset, head in zip(records.offsets, records.heads, strict=True)
    ]
    frame_ends = [
        end for end, head in zip(ends, records.heads, strict=True) if head.type in (ord("K"), ord("D"))
    ]
    cut = tmp_path / "cut"
    expected = dumps(few)
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        if length < ends[0]:
            with pytest.raises(RecordingError):
                Recording.open(cut)
            continue
        with Recording.open(cut) as recording:
            assert dumps(read_back(recording)) == expected[: sum(end <= length for end in frame_ends)], length
            if length <= ends[-1]:
                assert (recording.damage is None) == (length in ends), length


def test_without_its_index_or_with_a_wrong_one_the_file_reads_the_same(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a"
    write_recording(path, snapshots[:5])
    data = path.read_bytes()
    index_at = struct.unpack("<Q8s", data[-TRAILER.size :])[0]
    lies = [[16], [16, 17], [16, 2**80], ["16"], [], [16] * 50, [-1], [16.5]]
    wrong = [
        data[:index_at] + pack_record(RecordType.INDEX, 0, 0, encode_json({"offsets": lie})) for lie in lies
    ]
    for bad in (data[:index_at], data[:-1], data[: index_at + 30], *wrong):
        trailer = TRAILER.pack(index_at, MAGIC) if bad in wrong else b""
        path.write_bytes(bad + trailer)
        with Recording.open(path) as recording:
            assert not recording.indexed
            assert dumps(read_back(recording)) == dumps(snapshots[:5])


def test_a_damaged_record_costs_what_is_behind_it_and_is_said(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a"
    write_recording(path, snapshots[:5], end=False)
    with path.open("rb") as file:
        offsets = list_records(file.fileno(), "a").offsets
    data = bytearray(path.read_bytes())
    data[offsets[5] + RECORD_HEAD.size + 3] ^= 0x40
    path.write_bytes(data)
    with Recording.open(path) as recording:
        assert recording.damage is not None
        assert dumps(read_back(recording)) == dumps(snapshots[:2])


def _write_until_killed(path: Path, snapshots: list[Snapshot], said: int) -> None:
    writer = RecordingWriter(path, mode="step", target="x", step_s=None, started_at="")
    writer.begin_segment(0.0, "start")
    for number in range(1_000_000):
        writer.add_snapshot(number * STEP_S, snapshots[number % len(snapshots)])
        os.write(said, b".")


def test_a_recorder_killed_at_fifty_moments_leaves_every_whole_frame(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    dice, few = random.Random(50), snapshots[:7]
    expected, seen = dumps(few), set()
    for kill in range(KILLS):
        path = tmp_path / f"{kill}.nxrec"
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _write_until_killed(path, few, theirs)
            finally:
                os._exit(1)
        os.close(theirs)
        told = sum(
            len(os.read(ours, 1)) for _ in range(dice.randint(1, 20))
        )  # its file has so many frames by now
        time.sleep(dice.random() * 0.003)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while block := os.read(ours, 4096):
            told += len(block)
        os.close(ours)
        with Recording.open(path) as recording:
            assert told <= len(recording) <= told + 1
            assert recording.end is None
            for frame in recording.frames():
                assert frame.snapshot is not None
                assert frame.snapshot.model_dump() == expected[frame.index % len(few)]
        seen.add(told)
    assert len(seen) > 5, "the moments were all the same"


Hostile = Callable[[Path, Snapshot], Path]


def _bomb(path: Path, snapshot: Snapshot) -> Path:
    return hand_made(path, [(RecordType.HEADER, HEADER), (RecordType.KEY, b"[" + b" " * (64 << 20) + b"]")])


def _announces_too_much(path: Path, snapshot: Snapshot) -> Path:
    payload = zstandard.ZstdCompressor().compress(b"{}")
    head = RECORD_HEAD.pack(RecordType.HEADER, 0, 0, len(payload), 1 << 31, 0, 0)[:-4]
    crc = struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))
    path.write_bytes(PREAMBLE.pack(MAGIC, 1, 0) + head + crc + payload)
    return path


def _not_zstd(path: Path, snapshot: Snapshot) -> Path:
    head = RECORD_HEAD.pack(RecordType.HEADER, 0, 0, 4, 4, 0, 0)[:-4]
    crc = struct.pack("<I", zlib.crc32(b"junk", zlib.crc32(head)))
    path.write_bytes(PREAMBLE.pack(MAGIC, 1, 0) + head + crc + b"junk")
    return path


def _raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _case(*records: tuple[RecordType, object]) -> Hostile:
    return lambda path, snapshot: hand_made(path, [(RecordType.HEADER, HEADER), *records])


def _on_key(delta: object) -> Hostile:
    def make(path: Path, snapshot: Snapshot) -> Path:
        document = to_document(snapshot)
        return hand_made(
            path, [(RecordType.HEADER, HEADER), (RecordType.KEY, document), (RecordType.DELTA, delta)]
        )

    return make


HOSTILE: dict[str, Hostile] = {
    "bomb": _bomb,
    "announces too much": _announces_too_much,
    "not zstd": _not_zstd,
    "empty": lambda path, snapshot: _raw(path, b""),
    "only magic": lambda path, snapshot: _raw(path, MAGIC),
    "newer format": lambda path, snapshot: hand_made(path, [(RecordType.HEADER, HEADER)], version=2),
    "newer schema": lambda path, snapshot: hand_made(
        path, [(RecordType.HEADER, HEADER | {"schema_version": 99})]
    ),
    "no header": lambda path, snapshot: hand_made(path, [(RecordType.SEGMENT, {"why": "start"})]),
    "not json": _case((RecordType.KEY, b"{")),
    "nested": _case((RecordType.KEY, b"[" * 1_000_000)),
    "a list": _case((RecordType.KEY, [])),
    "no snapshot": _case((RecordType.KEY, {"tasks": 5})),
    "delta first": _case((RecordType.DELTA, {})),
    "unreadable then delta": _case(
        (RecordType.SEGMENT, {}), (RecordType.UNREADABLE, {}), (RecordType.DELTA, {})
    ),
    "delta of nothing": _on_key({"tables": {"tasks": {"gone": ["0x1"]}}}),
    "delta of an unknown table": _on_key({"tables": {"x": {}}}),
    "delta with a short clock": _on_key({"tables": {"tasks": {"later": {"waiting_s": [1, "0"]}}}}),
    "delta with a bad clock": _on_key({"tables": {"tasks": {"later": {"pid": [10**400, "0"]}}}}),
    "delta with a record without a key": _on_key({"tables": {"tasks": {"put": [{}]}}}),
    "delta with an unhashable key": _on_key({"tables": {"tasks": {"gone": [[1]]}}}),
    "delta that is a list": _on_key([]),
    "delta whose tables are a list": _on_key({"tables": []}),
    "delta with a bad order": _on_key({"tables": {"tasks": {"order": ["0x1"]}}}),
    "delta that breaks a task": _on_key({"tables": {"tasks": {"put": [{"address": "0x5", "pid": "x"}]}}}),
    "delta that merges elsewhere": _on_key({"merge": {"tasks": {}}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_file_ends_in_one_clear_error(
    name: str, tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = HOSTILE[name](tmp_path / "a.nxrec", small(snapshots[0], 3))
    with pytest.raises(RecordingError) as caught, Recording.open(path) as recording:
        list(recording.frames())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_random_damage_is_an_error_or_a_shorter_recording_and_nothing_else(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    path = tmp_path / "a"
    write_recording(path, make_snapshots(small(snapshots[0], 4), 6))
    data, dice = path.read_bytes(), random.Random(7)

    def damaged() -> Iterator[bytes]:
        for _ in range(400):
            bad = bytearray(data)
            for _ in range(dice.randint(1, 6)):
                bad[dice.randrange(len(bad))] = dice.randrange(256)
            yield bytes(bad)

    for bad in damaged():
        path.write_bytes(bad)
        try:
            with Recording.open(path) as recording:
                list(recording.frames())
        except RecordingError:
            continue
