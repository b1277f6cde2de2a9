"""Path lookups in a recording: each is in the frame behind it, whatever a path holds; the timeline tells of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.analysis.timeline import EventKind, build_timeline
from explorer.model import Lookup, Snapshot
from explorer.recording import Recording, RecordingError, RecordingWriter
from explorer.recording.format import MOST_LOOKUPS, RecordType
from tests.unit.recording.test_format import HEADER
from tests.unit.recordings import hand_made
from tests.unit.traces import ROOTFS, lookup


@pytest.fixture
def snapshot(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return fixture_snapshots["isolated"]


def record(
    path: Path, snapshot: Snapshot, *frames: tuple[list[Lookup], int] | None, rest: list[Lookup] | None = None
) -> Path:
    """A frame for each; ``None``: without lookups."""
    with RecordingWriter(path, mode="live", target="live", step_s=1.0, started_at="") as writer:
        writer.begin_segment(0.0, "start")
        for number, found in enumerate(frames):
            if found is not None:
                writer.add_lookups(float(number), *found)
            writer.add_snapshot(float(number), snapshot)
        if rest:
            writer.add_lookups(float(len(frames)), rest, 0)
        writer.end(float(len(frames)), "done", "x")
    return path


def test_each_lookup_is_in_the_frame_that_comes_next_and_the_last_ones_in_the_last(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    hostile = lookup("/a\n\x1b[2J\udcff" + "x" * 4000)
    path = record(
        tmp_path / "r.nxrec",
        snapshot,
        None,
        ([hostile], 0),
        None,
        ([lookup("/b"), lookup("/c", result=0)], 3),
        rest=[lookup("/d")],
    )
    with Recording.open(path) as recording:
        frames = list(recording.frames())
        assert [[each.path for each in frame.lookups] for frame in frames] == [
            [], [hostile.path], [], ["/b", "/c", "/d"],
        ]  # fmt: skip
        assert frames[1].lookups == (hostile,)
        assert [frame.lookups_lost for frame in frames] == [0, 0, 0, 3]
        assert all(frame.snapshot is not None for frame in frames)
        assert recording.damage is None


def test_more_lookups_than_a_frame_has_room_for_are_counted(tmp_path: Path, snapshot: Snapshot) -> None:
    many = [lookup(f"/{number}") for number in range(MOST_LOOKUPS + 5)]
    path = record(tmp_path / "r.nxrec", snapshot, (many, 2))
    with Recording.open(path) as recording:
        frame = recording.frame(0)
    assert len(frame.lookups) == MOST_LOOKUPS
    assert frame.lookups_lost == 7


def test_the_timeline_tells_of_lookups_that_failed_in_nullfs_and_of_no_others(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    found = [
        lookup("/etc/x"),
        lookup("/etc/x"),
        lookup("/etc/x", pid=8),
        lookup("/there", result=0),
        lookup("/elsewhere", ROOTFS),
        lookup("/unknown", result=None),
    ]
    path = record(tmp_path / "r.nxrec", snapshot, None, (found, 4))
    with Recording.open(path) as recording:
        events = [
            event for event in build_timeline(recording.frames()).events if event.kind is EventKind.LOOKUP
        ]
    words = "looked up /etc/x in nullfs: ENOENT, asked for by badfn [bad]"
    assert [(event.frame, event.text, event.pid) for event in events] == [
        (1, f"kworker/0:1 (7) {words}, 2 times", 7),
        (1, f"kworker/0:1 (8) {words}", 8),
        (1, "4 lookups or events of such were lost", None),
    ]


def test_a_flood_of_failures_is_a_few_events_and_a_count(tmp_path: Path, snapshot: Snapshot) -> None:
    path = record(tmp_path / "r.nxrec", snapshot, ([lookup(f"/{number}") for number in range(50)], 0))
    with Recording.open(path) as recording:
        events = [
            event.text
            for event in build_timeline(recording.frames()).events
            if event.kind is EventKind.LOOKUP
        ]
    assert len(events) == 21
    assert events[-1] == "30 other lookups failed in nullfs"


@pytest.mark.parametrize(
    ("record_of", "says"),
    [
        ({"lookups": [{"pid": 1}]}, "has no valid path lookup"),
        ({"lookups": "x"}, "lookups"),
        ({"lookups": [], "lost": -1}, "lost"),
    ],
)
def test_a_strangers_lookups_are_checked(tmp_path: Path, record_of: object, says: str) -> None:
    records: list[tuple[RecordType, object]] = [
        (RecordType.HEADER, HEADER),
        (RecordType.SEGMENT, {"why": "start"}),
        (RecordType.LOOKUPS, record_of),
        (RecordType.UNREADABLE, {"why": "x"}),
    ]
    with (
        Recording.open(hand_made(tmp_path / "r.nxrec", records)) as recording,
        pytest.raises(RecordingError, match=says),
    ):
        recording.frame(0)
