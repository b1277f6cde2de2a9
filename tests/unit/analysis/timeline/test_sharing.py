"""Frames that share the records of which nothing but clocks changed: a timeline of them is that of whole frames."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.analysis.timeline import EventKind, build_timeline
from explorer.model import STUCK_S, Owner, Placement, Snapshot, TaskKind, Walk
from explorer.recording.reader import Recording
from tests.conftest import DATA
from tests.unit.recordings import copy_of, make_snapshots, write_recording

BOOT = DATA / "boot-7.3.nxrec"


def test_frames_that_share_what_did_not_change_tell_what_whole_ones_tell() -> None:
    with Recording.open(BOOT) as recording:
        assert recording.end is not None
        end = (recording.end.seconds, recording.end.reason)
        boot = build_timeline(recording.frames(), end)
        assert build_timeline(recording.still_frames(), end) == boot
        frames = [
            replace(frame, snapshot=None if frame.snapshot is None else copy_of(frame.snapshot))
            for frame in recording.frames()
        ]
    assert build_timeline(frames, end) == boot


@pytest.mark.parametrize("seed", range(6))
def test_tasks_that_come_and_go_between_frames_that_share_records_are_told_alike(
    fresh: Callable[[str], Snapshot], tmp_path: Path, seed: int
) -> None:
    """The snapshots walk, wait, borrow, chroot and move to other groups at random."""
    dice, snapshots = random.Random(seed), make_snapshots(fresh("isolated"), 12, seed=seed)
    for snapshot in snapshots[1:]:
        for task in dice.sample(snapshot.tasks, 3):
            task.borrowing, task.cgroup = dice.random() < 0.5, dice.choice(("/a", "/b"))
            task.owner = dice.choice((*Owner, task.owner))
            fs = snapshot.fs_of(task)
            if fs is not None and fs.root is not None:
                fs.root.placement = dice.choice(list(Placement))
                task.state, task.waiting_s = "D", dice.choice((None, 1.0, STUCK_S, STUCK_S + dice.random()))
                task.walk = dice.choice((None, Walk(path="/x", root=None, start=fs.root, in_init=False)))
    write_recording(tmp_path / "r.nxrec", snapshots)
    with Recording.open(tmp_path / "r.nxrec") as recording:
        told = build_timeline(recording.still_frames())
        assert told == build_timeline(recording.frames())
        apart = [replace(frame, snapshot=copy_of(snapshots[frame.index])) for frame in recording.frames()]
    assert told == build_timeline(apart)
    assert len({event.kind for event in told.events}) > 4


def test_a_walk_of_which_only_the_clock_moves_hangs_from_the_frame_on_in_which_it_is_due(
    fresh: Callable[[str], Snapshot], tmp_path: Path
) -> None:
    """Clocks of all tasks move alike, which a recording says in a character each: no record is another one then."""
    snapshots = [fresh("isolated") for _ in range(6)]
    for number, snapshot in enumerate(snapshots):
        for task in snapshot.tasks:
            task.waiting_s = round(number * 0.05, 3)
        walker = next(task for task in snapshot.tasks if task.kind is TaskKind.USER)
        fs = snapshot.fs_of(walker)
        assert fs is not None
        walker.walk = Walk(path="/x", root=None, start=fs.root, in_init=False)
        walker.state, walker.waiting_s = "D", round(STUCK_S - 0.15 + number * 0.05, 3)
    write_recording(tmp_path / "r.nxrec", snapshots)
    with Recording.open(tmp_path / "r.nxrec") as recording:
        frames = list(recording.still_frames())
        assert frames[0].snapshot is not None and frames[5].snapshot is not None
        same = [a is b for a, b in zip(frames[0].snapshot.tasks, frames[5].snapshot.tasks, strict=True)]
        assert same == [task.walk is None for task in snapshots[0].tasks]
        told = build_timeline(frames)
        assert told == build_timeline(recording.frames())
    assert [event.frame for event in told.events if event.kind is EventKind.HANG_BEGIN] == [3]
