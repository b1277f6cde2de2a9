"""Recordings for tests: small ones made of a real kernel's snapshot, changed from frame to frame."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from explorer.model import Frame, Snapshot
from explorer.recording.format import (
    FORMAT_VERSION,
    MAGIC,
    PREAMBLE,
    RecordType,
    dictionary_of,
    encode_json,
    pack_record,
)
from explorer.recording.writer import RecordingWriter

__all__ = ("STEP_S", "copy_of", "frames_of", "hand_made", "make_snapshots", "small", "write_recording")

STEP_S = 0.05


def copy_of(snapshot: Snapshot) -> Snapshot:
    """A copy that may be changed."""
    return Snapshot.model_validate(snapshot.model_dump())


def small(snapshot: Snapshot, tasks: int) -> Snapshot:
    """The snapshot with its first tasks, and none of the rest that makes it large."""
    found = copy_of(snapshot)
    found.tasks[:] = found.tasks[:tasks]
    owned = {task.owned_fs for task in found.tasks}
    found.fs_structs[:] = [fs for fs in found.fs_structs if fs.address in owned]
    found.mounts[:] = found.mounts[:3]
    del found.workqueues[:], found.modules[:], found.settings[:]
    return found


def make_snapshots(start: Snapshot, number: int, seed: int = 1) -> list[Snapshot]:
    """Snapshots of a kernel that goes on: clocks move, states change, tasks come, go and exec."""
    dice = random.Random(seed)
    found = [start]
    for _ in range(number - 1):
        now = copy_of(found[-1])
        for task in now.tasks:
            if task.waiting_s is not None:
                task.waiting_s = round(task.waiting_s + 0.05 + dice.choice((0, 0.001)), 3)
        changed = dice.choice(now.tasks)
        changed.state, changed.waiting_s = "R", None
        if dice.random() < 0.3 and len(now.tasks) > 3:
            del now.tasks[dice.randrange(2, len(now.tasks))]
        if dice.random() < 0.3:
            child = now.tasks[-1].model_copy(deep=True)
            child.address, child.pid = child.address + 0x2000, child.pid + 1
            now.tasks.append(child)
        found.append(now)
    return found


def write_recording(path: Path, snapshots: Iterable[Snapshot | None], *, end: bool = True) -> None:
    """A recording of one boot; ``None`` is a frame that could not be read."""
    writer = RecordingWriter(
        path, mode="step", target="test", step_s=STEP_S, started_at="2026-01-01T00:00:00+00:00"
    )
    with writer:
        writer.begin_segment(0.0, "start")
        seconds = 0.0
        for snapshot in snapshots:
            if snapshot is None:
                writer.add_unreadable(seconds, "not yet")
            else:
                if not writer.readable:
                    writer.kernel_found(seconds, snapshot.kernel.release, snapshot.kernel.build_id, [])
                writer.add_snapshot(seconds, snapshot)
            seconds += STEP_S
        if end:
            writer.end(seconds, "done", "the test is over")


def frames_of(snapshots: Iterable[Snapshot | None]) -> list[Frame]:
    """The same as frames, without a file."""
    return [
        Frame(index, index * STEP_S, 0, snapshot, None if snapshot else "not yet")
        for index, snapshot in enumerate(snapshots)
    ]


def hand_made(
    path: Path, records: Iterable[tuple[RecordType, object]], version: int = FORMAT_VERSION
) -> Path:
    """A file with these records and no index: JSON documents, or bytes that take the place of JSON."""
    data = PREAMBLE.pack(MAGIC, version, 0)
    dictionary = None
    for kind, document in records:
        plain = document if isinstance(document, bytes) else encode_json(document)
        data += pack_record(kind, 0, 0, plain, dictionary if kind is RecordType.DELTA else None)
        if kind is RecordType.KEY:
            dictionary = dictionary_of(plain)
    path.write_bytes(data)
    return path
