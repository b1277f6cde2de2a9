"""From what was named to a snapshot: a kernel that is open is captured, what was saved is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from explorer.capture import CaptureProgress, CaptureRequest, CaptureStats, capture_snapshot
from explorer.codec import load_snapshot
from explorer.model import CaptureError, Snapshot
from explorer.naming import frame_words, moment_words
from explorer.plugin import LoadedPlugins
from explorer.recording import Recording
from explorer.targets import CrashGuard, OpenKernel, TargetError, TargetSpec
from explorer.targets.symbols import BtfError

__all__ = ("SAVED", "capture_errors", "capture_kernel", "load_saved")

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
        snapshot, frame = recording.snapshot_at(spec.moment), recording.find(spec.moment)
        at = f"{frame_words(frame, len(recording))} at {recording.times[frame]:.3f} s"
        return snapshot, f"{spec.file_name}, {at} ({snapshot.capture.source.target})"


@contextmanager
def capture_errors(kernel: OpenKernel) -> Iterator[None]:
    """What the kernel's types lack, or where they are damaged, as one line. :raises TargetError: for that"""
    try:
        yield
    except LookupError as error:
        raise TargetError(f"{kernel.source.target}: cannot be captured: {error.args[0]}") from error
    except BtfError as error:
        raise TargetError(
            f"{kernel.source.target}: its BTF is damaged ({error}): give a vmlinux with -s"
        ) from error


def capture_kernel(
    kernel: OpenKernel,
    plugins: LoadedPlugins,
    progress: CaptureProgress | None,
    stats: CaptureStats,
    guard: CrashGuard,
    holders_of: Callable[[Snapshot], Collection[int]] | None = None,
) -> Snapshot:
    """Capture an open kernel. :raises TargetError: if its types lack what a capture needs"""
    with capture_errors(kernel):
        request = CaptureRequest.from_kernel(kernel, plugins.plugins, guard)
        if holders_of is not None:
            request = dataclasses.replace(request, holders_of=holders_of)
        snapshot = capture_snapshot(request, progress, stats)
    for broken in plugins.errors:
        snapshot.errors.append(CaptureError(where=f"plugin {broken.name}", what="load", why=broken.why))
        stats.tracebacks.append(broken.traceback)
    return snapshot
