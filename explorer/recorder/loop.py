"""Records a machine: lets it run for a step, captures it, and appends the frame, until told to end.

A kernel that cannot be read yet (nothing booted, VMCOREINFO not in memory) gives frames that say so; a reset, a reboot
or a kexec begins a new segment. Whatever ends the recording is written into it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import drgn

from explorer.capture import CaptureRequest, capture_snapshot
from explorer.model import Lookup, Snapshot
from explorer.plugin import Plugin
from explorer.recording import RecordingWriter
from explorer.targets import OpenKernel, TargetError
from explorer.targets.qemu import GuestEndedError

__all__ = ("Machine", "NotReadableError", "RecordRequest", "RecordSummary", "Recorder")

#: A kernel whose jiffies stand still for so many frames while its CPUs run is not the one that runs.
_STILL_FRAMES = 6

_OVERWRITTEN = (
    "the kernel's clock stands still while its memory changes: another kernel is being started over it"
)
_LEFT = "the CPU has left this kernel, whose memory is still there: another one is being started"


class NotReadableError(Exception):
    """There is no kernel to read yet; the message says why."""


class Machine(Protocol):
    """What is recorded."""

    def advance(self, seconds: float) -> float:
        """Let it run. Returns how long it ran. :raises GuestEndedError: when it ends"""

    def take_resets(self) -> int:
        """How often it was reset since this was last asked."""

    def open_kernel(self) -> OpenKernel:
        """Its kernel. :raises NotReadableError: if there is none yet; :raises TargetError: if there never will be"""

    def is_there(self) -> bool:
        """Whether the kernel that was opened still is in memory."""

    def is_running(self) -> bool | None:
        """Whether the CPU is in the kernel that was opened; ``None`` if that cannot be told."""

    def finds_another(self) -> bool:
        """Whether another kernel is in memory too."""

    def declare_dead(self, clock: int, value: int) -> None:
        """The kernel that was opened runs no more: not to be opened again while the clock there stands still."""

    def forget_kernel(self) -> None:
        """Let go of the kernel that was opened."""


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """How long, and what of each frame."""

    step_s: float
    duration_s: float | None = None
    """``None``: until something else ends it."""
    until: Callable[[Snapshot], bool] | None = None
    """Asked of every frame: true ends the recording."""
    until_text: str = ""
    plugins: Sequence[Plugin] = ()
    proof_s: float | None = None
    """The machine may not run its kernel at all: end if nothing is readable within so long, or before a reset."""
    lookups: Callable[[], tuple[Sequence[Lookup], int]] | None = None
    """Path lookups that have ended since this was last asked, and how many more were lost; ``None``: not traced."""
    report: Callable[[str, int, int | None], None] = lambda what, done, total: None


@dataclass(slots=True)
class RecordSummary:
    """What came of it."""

    code: str = ""
    """As in the recording's end record."""
    reason: str = ""
    frames: int = 0
    readable: int = 0
    seconds: float = 0.0
    """By the recording's clock."""
    capture_s: list[float] = field(default_factory=list)
    """What each readable frame cost the recorder: capturing and writing."""
    lookups: int = 0
    """Path lookups, where these were traced."""
    errors: int = 0
    """Values that could not be read, in all frames."""


class Recorder:
    """One recording of one machine."""

    def __init__(self, machine: Machine, writer: RecordingWriter, request: RecordRequest) -> None:
        self._machine = machine
        self._writer = writer
        self._request = request
        self._kernel: OpenKernel | None = None
        self._seconds = 0.0
        self._jiffies: int | None = None
        self._still = self._errors = 0
        self._has_ticked = False
        self._advancing = self._interrupted = False
        self.summary = RecordSummary()

    def run(self) -> RecordSummary:
        """Record. Returns normally for whatever ends a recording; a Ctrl-C is one of these.

        :raises TargetError: if the machine cannot be read at all
        :raises RecordingError: if the file cannot be written
        """
        self._writer.begin_segment(0.0, "start")
        try:
            self._record()
        except KeyboardInterrupt:
            self._end("interrupted", "the recorder was interrupted")
        except GuestEndedError as ended:
            self._seconds += ended.seconds
            self._end(ended.code, str(ended))
        except TargetError as error:
            self._end("error", str(error))
            if not self._writer.frames:
                raise
        finally:
            self._forget()
        self.summary.frames, self.summary.readable = self._writer.frames, self._writer.readable
        self.summary.seconds = self._seconds
        return self.summary

    def interrupt(self) -> None:
        """End the recording at the next chance; a signal handler may call it. Waiting is cut short, writing is not."""
        self._interrupted = True
        if self._advancing:
            raise KeyboardInterrupt

    def _advance(self) -> None:
        self._advancing = True
        try:
            if self._interrupted:
                raise KeyboardInterrupt
            self._seconds += self._machine.advance(self._request.step_s)
        finally:
            self._advancing = False

    def _end(self, code: str, reason: str) -> None:
        self.summary.code, self.summary.reason = code, reason
        self._add_lookups()
        self._writer.end(self._seconds, code, reason)

    def _record(self) -> None:
        request = self._request
        while True:
            snapshot = self._frame()
            if snapshot is not None and request.until is not None and request.until(snapshot):
                return self._end("until", f"the condition became true: {request.until_text}")
            if request.duration_s is not None and self._seconds >= request.duration_s - 1e-9:
                return self._end("done", f"{request.duration_s:g} s were recorded")
            request.report("recording", self._writer.frames, None)
            self._advance()
            resets = self._machine.take_resets()
            if request.proof_s is not None and not self._writer.readable:
                if resets:
                    return self._end("reset", "the guest was reset before anything of it could be read")
                if self._seconds >= request.proof_s:
                    return self._end("stuck", f"nothing of the guest could be read in {self._seconds:.0f} s")
            if resets:
                self._new_segment("reset")

    def _new_segment(self, why: str) -> None:
        if self._kernel is not None:
            clock = self._kernel.types.symbol_address("jiffies")
            value = None if clock is None else _read_clock(self._kernel, clock)
            if clock is not None and value is not None:
                self._machine.declare_dead(clock, value)
        self._forget()
        self._writer.begin_segment(self._seconds, why)

    def _forget(self) -> None:
        self._jiffies, self._still, self._errors, self._has_ticked = None, 0, 0, False
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None
        self._machine.forget_kernel()

    def _frame(self) -> Snapshot | None:
        """Capture and append one frame; ``None`` for one without a snapshot."""
        self._add_lookups()
        if self._kernel is not None:
            successor = self._successor(self._kernel)
            if successor is not None:
                self._new_segment(successor)
        try:
            if self._kernel is None:
                self._open()
            snapshot, started = self._capture()
        except NotReadableError as error:
            self._writer.add_unreadable(self._seconds, str(error))
            return None
        self._writer.add_snapshot(self._seconds, snapshot)
        self.summary.capture_s.append(time.perf_counter() - started)
        self.summary.errors += len(snapshot.errors)
        return snapshot

    def _add_lookups(self) -> None:
        if self._request.lookups is not None:
            lookups, lost = self._request.lookups()
            if lookups or lost:
                self._writer.add_lookups(self._seconds, lookups, lost)
                self.summary.lookups += len(lookups)

    def _open(self) -> None:
        kernel = self._machine.open_kernel()
        self._kernel = kernel
        info = kernel.program.vmcoreinfo
        self._writer.kernel_found(self._seconds, info.osrelease, kernel.types.build_id or None, kernel.notes)

    def _capture(self) -> tuple[Snapshot, float]:
        """A snapshot, and when it was begun (``perf_counter()``)."""
        started = time.perf_counter()
        kernel = self._kernel
        assert kernel is not None
        running = self._machine.is_running()
        if running is False:
            raise NotReadableError(_LEFT)
        kernel.types.refresh()
        try:
            request = CaptureRequest.from_kernel(kernel, self._request.plugins)
            snapshot = capture_snapshot(request)
        except (LookupError, drgn.FaultError) as error:
            # What a kernel has not set up yet, or no longer has, is a moment without a snapshot, not the end.
            text = " ".join(str(error).split())
            raise NotReadableError(f"the kernel cannot be captured at this moment: {text}") from error
        # An idle kernel's clock stands still too, but then nothing in its memory changes; early on it has not begun.
        if not running and self._still and self._has_ticked and len(snapshot.errors) > self._errors:
            raise NotReadableError(_OVERWRITTEN)
        if not self._still:
            self._errors = len(snapshot.errors)
        return snapshot, started

    def _successor(self, kernel: OpenKernel) -> str | None:
        """Why the kernel that was opened is not the one that runs now; ``None`` if it is.

        A kexec leaves the old kernel's memory as it was for a while: its clock stands still. One that starts again in
        the same place sets its clock back.
        """
        if not self._machine.is_there():
            return "kexec"
        address = kernel.types.symbol_address("jiffies")
        if address is None:
            return None
        now = _read_clock(kernel, address)
        if now is None:
            return "kexec"
        before, self._jiffies = self._jiffies, now
        if before is None:
            return None
        if now < before:
            return "reboot"
        self._still = self._still + 1 if now == before else 0
        self._has_ticked |= now > before
        if self._still and self._still % _STILL_FRAMES == 0 and self._machine.finds_another():
            return "kexec"
        return None


def _read_clock(kernel: OpenKernel, address: int) -> int | None:
    """``jiffies``; ``None`` if there is nothing to read there any more."""
    try:
        return int(kernel.prog.read_u64(address))
    except drgn.FaultError:
        return None
