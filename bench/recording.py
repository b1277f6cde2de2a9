"""What a recording costs beyond the time that the guest itself runs, and how large its file is."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import Row
from explorer.plugin import load_plugins
from explorer.recorder import QemuMachine, Recorder, RecordRequest, RecordSummary
from explorer.recording import Recording, RecordingWriter
from tests.kernels.lab import Guest
from tests.kernels.recordings import boot_options

__all__ = (
    "BOOT_FILE",
    "BOOT_FRAME",
    "BOOT_SEARCH",
    "BOOT_TOTAL",
    "RECORDING_FILE",
    "RECORDING_FRAME",
    "RECORDING_TOTAL",
    "measure_boot",
    "measure_recording",
)

RECORDING_TOTAL = "recording in steps of 50 ms: over the guest's time, in all, a frame"
RECORDING_FRAME = "recording in steps of 50 ms: over the guest's time, a frame"
RECORDING_FILE = "recording in steps of 50 ms: file, a frame"
BOOT_TOTAL = "recording a boot: over the guest's time, in all, a frame"
BOOT_SEARCH = "recording a boot: before the kernel is readable, a frame"
BOOT_FRAME = "recording a boot: from then on, a frame"
BOOT_FILE = "recording a boot: file, a readable frame"

#: Between two frames: the default of ``record``.
_STEP_S = 0.05
#: What the cost of a frame is promised for: so many tasks, give or take a few, are in this scenario.
_SCENARIO = "lively"


@dataclass
class _Clock:
    """For each frame but the last: seconds on the wall for it and the step behind it, and how long the guest ran."""

    wall: list[float] = field(default_factory=list)
    ran: list[float] = field(default_factory=list)

    @property
    def over(self) -> list[float]:
        return [wall - ran for wall, ran in zip(self.wall, self.ran, strict=True)]


class _Timed(QemuMachine):
    """Notes when each step is over. Between two of these lie a frame, read and written, and a step, run and stopped."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(str(guest.qmp_socket), str(guest.control_socket), stopping=True)
        self.clock = _Clock()
        self._last = time.perf_counter()

    def advance(self, seconds: float) -> float:
        ran = super().advance(seconds)
        now = time.perf_counter()
        self.clock.wall.append(now - self._last)
        self.clock.ran.append(ran)
        self._last = now
        return ran


@dataclass(frozen=True)
class _Recorded:
    summary: RecordSummary
    clock: _Clock
    total_s: float
    """From opening QEMU's sockets to the file's end."""
    size: int
    tasks: int
    """In the last readable frame."""
    unreadable: list[bool]
    """For each frame."""

    @property
    def over_s(self) -> float:
        """What a frame cost beyond the guest's own time, with opening and closing all that is opened, on average."""
        return (self.total_s - self.summary.seconds) / self.summary.frames

    @property
    def note(self) -> str:
        ran = self.summary.seconds
        return f"{self.summary.frames} frames; the guest ran {ran:.2f} s, the wall clock {self.total_s:.2f} s"


def _record(guest: Guest, duration_s: float) -> _Recorded:
    """As the command does it, without starting a process."""
    plugins = [plugin for plugin in load_plugins().plugins if plugin.name == "initramfs"]
    request = RecordRequest(_STEP_S, duration_s, plugins=plugins)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bench.nxrec")
        started = time.perf_counter()
        with (
            _Timed(guest) as machine,
            RecordingWriter(path, mode="step", target="bench", step_s=_STEP_S, started_at="") as writer,
        ):
            summary = Recorder(machine, writer, request).run()
        total = time.perf_counter() - started
        with Recording.open(path) as recording:
            tasks = len(recording.snapshot_at(None).tasks)
            return _Recorded(summary, machine.clock, total, recording.size, tasks, recording.unreadable)


def measure_recording(duration_s: float) -> list[Row]:
    """So many seconds of a guest's own time, in steps; its types are cached, as after the first recording."""
    with Guest.boot("7.3", _SCENARIO) as guest:
        _record(guest, _STEP_S)
        done = _record(guest, duration_s)
    return [
        Row(RECORDING_TOTAL, _ms(done.over_s), "ms", done.tasks, done.note),
        Row(RECORDING_FRAME, _ms(statistics.median(done.clock.over)), "ms", done.tasks),
        Row(RECORDING_FILE, done.size / done.summary.readable / 1e3, "KB", done.tasks),
    ]


def measure_boot(duration_s: float) -> list[Row]:
    """So many seconds from a guest's first instruction on: what a frame costs before there is a kernel, and after."""
    with Guest.boot("7.3", "switch-root", boot_options()) as guest:
        done = _record(guest, duration_s)
    costs = list(zip(done.clock.over, done.unreadable, strict=False))
    before = [over for over, unreadable in costs if unreadable]
    after = [over for over, unreadable in costs if not unreadable]
    if not before or not after:
        raise RuntimeError(
            f"{duration_s:g} s of a boot: {len(before)} frames without a kernel, {len(after)} with one"
        )
    opening = f"{len(after)} frames; the first, which opens the kernel, {_ms(after[0]):.0f} ms"
    searched = f"{len(before)} frames; the guest has 512 MB"
    return [
        Row(BOOT_TOTAL, _ms(done.over_s), "ms", done.tasks, done.note),
        Row(BOOT_SEARCH, _ms(statistics.median(before)), "ms", note=searched),
        Row(BOOT_FRAME, _ms(statistics.median(after)), "ms", done.tasks, opening),
        Row(BOOT_FILE, done.size / done.summary.readable / 1e3, "KB", done.tasks),
    ]


def _ms(seconds: float) -> float:
    return seconds * 1e3
