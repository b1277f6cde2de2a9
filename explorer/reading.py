"""A target that was saved is loaded: a snapshot, or a frame of a recording."""

from __future__ import annotations

from explorer.codec import load_snapshot
from explorer.model import Snapshot
from explorer.naming import frame_words, moment_words
from explorer.recording import Recording
from explorer.targets import TargetSpec

__all__ = ("SAVED", "load_frames", "load_saved")

#: The kinds of targets that are loaded, and not captured.
SAVED = ("snapshot", "recording")


def load_saved(spec: TargetSpec) -> tuple[Snapshot, str]:
    """A saved snapshot, or a frame of a recording; and what to call it, not escaped.

    :raises SnapshotError: if it is a snapshot that cannot be read
    :raises RecordingError: if it is a recording that cannot be read, or has no such frame
    """
    assert spec.path is not None
    if spec.kind == "snapshot":
        snapshot = load_snapshot(spec.path, spec.file_name)
        of = snapshot.capture
        return snapshot, f"{spec.file_name} ({of.source.target}, {moment_words(of)})"
    with Recording.open(spec.path, spec.file_name) as recording:
        return _frame(recording, spec, still=False)


def load_frames(*specs: TargetSpec) -> list[tuple[Snapshot, str]]:
    """As :func:`load_saved`, frames of one recording that are to be compared: they share every record of which nothing
    but a clock differs, and clocks go on only of tasks in a path walk.

    :raises RecordingError: as there
    """
    assert specs[0].path is not None
    with Recording.open(specs[0].path, specs[0].file_name) as recording:
        return [_frame(recording, spec, still=True) for spec in specs]


def _frame(recording: Recording, spec: TargetSpec, *, still: bool) -> tuple[Snapshot, str]:
    snapshot, frame = recording.snapshot_at(spec.moment, still=still), recording.find(spec.moment)
    at = f"{frame_words(frame, len(recording))} at {recording.times[frame]:.3f} s"
    return snapshot, f"{spec.file_name}, {at} ({snapshot.capture.source.target})"
