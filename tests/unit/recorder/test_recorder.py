"""The recorder on a machine that is a real dump, and on one that fails as machines do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.analysis.query.condition import parse_condition
from explorer.recorder.loop import NotReadableError, Recorder, RecordRequest, RecordSummary
from explorer.recording.reader import Recording
from explorer.recording.writer import RecordingWriter
from explorer.targets.detect import detect_target
from explorer.targets.errors import TargetError
from explorer.targets.kernel import OpenKernel, open_kernel
from explorer.targets.qemu.control import GuestEndedError
from tests.conftest import SAMPLE


class DumpMachine:
    """A machine whose kernel is the sample dump: nothing moves in it but the clock on the wall.

    :param script: called at every step with its number: raises what happens then
    """

    def __init__(self, script: Callable[[int], None] = lambda step: None, *, readable_from: int = 0) -> None:
        self.steps = self.opened = self.resets = 0
        self.there = True
        self.running: bool | None = None
        self._script, self._readable_from = script, readable_from

    def advance(self, seconds: float) -> float:
        self.steps += 1
        self._script(self.steps)
        return seconds

    def take_resets(self) -> int:
        resets, self.resets = self.resets, 0
        return resets

    def open_kernel(self) -> OpenKernel:
        if self.steps < self._readable_from:
            raise NotReadableError("not yet")
        self.opened += 1
        return open_kernel(detect_target(str(SAMPLE)))

    def is_there(self) -> bool:
        return self.there

    def is_running(self) -> bool | None:
        return self.running

    def finds_another(self) -> bool:
        return False

    def declare_dead(self, clock: int, value: int) -> None:
        assert value > 0

    def forget_kernel(self) -> None:
        self.there = True


def record(path: Path, machine: DumpMachine, request: RecordRequest) -> RecordSummary:
    with RecordingWriter(
        path, mode="step", target="x", step_s=request.step_s, started_at="2026-01-01"
    ) as writer:
        return Recorder(machine, writer, request).run()


def test_it_ends_when_the_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    summary = record(path, DumpMachine(readable_from=2), RecordRequest(0.1, duration_s=0.5))
    assert (summary.code, summary.frames, summary.readable) == ("done", 6, 4)
    with Recording.open(path) as recording:
        assert recording.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
        assert recording.unreadable == [True, True, False, False, False, False]
        assert recording.segments[0].readable_s == pytest.approx(0.2)
        assert recording.frame(0).why == "not yet"


def test_it_ends_with_the_frame_that_meets_the_condition(tmp_path: Path) -> None:
    path = tmp_path / "a"
    condition = parse_condition("pid:1")
    request = RecordRequest(0.1, until=condition.holds, until_text=str(condition))
    summary = record(path, DumpMachine(readable_from=3), request)
    assert (summary.code, summary.frames, summary.readable) == ("until", 4, 1)


def test_what_ends_the_guest_is_in_the_recording_with_its_reason(tmp_path: Path) -> None:
    def die(step: int) -> None:
        if step == 3:
            raise GuestEndedError("panic", "the guest's kernel panicked", 0.02)

    path = tmp_path / "a"
    summary = record(path, DumpMachine(die), RecordRequest(0.1))
    assert (summary.code, summary.readable) == ("panic", 3)
    with Recording.open(path) as recording:
        assert recording.end is not None
        assert (recording.end.code, recording.end.reason) == ("panic", "the guest's kernel panicked")
        assert recording.end.seconds == pytest.approx(0.22)


def test_an_interrupt_while_it_waits_ends_it_at_once_and_in_good_order(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with RecordingWriter(path, mode="step", target="x", step_s=0.1, started_at="2026-01-01") as writer:
        recorder: list[Recorder] = []
        machine = DumpMachine(lambda step: recorder[0].interrupt() if step == 2 else None)
        recorder.append(Recorder(machine, writer, RecordRequest(0.1)))
        summary = recorder[0].run()
    assert (summary.code, summary.frames) == ("interrupted", 2)
    with Recording.open(path) as recording:
        assert (recording.indexed, recording.damage) == (True, None)


def test_an_interrupt_while_it_captures_waits_for_the_frame_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with RecordingWriter(path, mode="step", target="x", step_s=0.1, started_at="2026-01-01") as writer:
        recorder: list[Recorder] = []

        def interrupt(*_: object) -> bool:
            recorder[0].interrupt()
            return False

        recorder.append(Recorder(DumpMachine(), writer, RecordRequest(0.1, until=interrupt)))
        assert recorder[0].run().code == "interrupted"
    with Recording.open(path) as recording:
        assert len(list(recording.frames())) == 1


def test_a_reset_and_a_kernel_that_is_gone_begin_segments(tmp_path: Path) -> None:
    machine = DumpMachine(lambda step: happen(step))

    def happen(step: int) -> None:
        if step == 2:
            machine.resets = 1
        if step == 4:
            machine.there = False

    path = tmp_path / "a"
    record(path, machine, RecordRequest(0.1, duration_s=0.5))
    with Recording.open(path) as recording:
        assert [segment.why for segment in recording.segments] == ["start", "reset", "kexec"]
        assert [segment.first for segment in recording.segments] == [0, 2, 4]
        assert recording.segment_numbers == [0, 0, 1, 1, 2, 2]
    assert machine.opened == 3


def test_a_kernel_that_the_cpu_has_left_gives_no_frames_that_look_like_it(tmp_path: Path) -> None:
    machine = DumpMachine(lambda step: leave(step))

    def leave(step: int) -> None:
        machine.running = step < 2

    path = tmp_path / "a"
    summary = record(path, machine, RecordRequest(0.1, duration_s=0.3))
    assert (summary.frames, summary.readable) == (4, 2)
    with Recording.open(path) as recording:
        assert recording.unreadable == [False, False, True, True]
        assert "the CPU has left this kernel" in (recording.frame(2).why or "")


def test_a_target_that_cannot_be_opened_at_all_is_an_error_not_a_recording(tmp_path: Path) -> None:
    class Closed(DumpMachine):
        def open_kernel(self) -> OpenKernel:
            raise TargetError("needs root")

    with pytest.raises(TargetError, match="needs root"):
        record(tmp_path / "a", Closed(), RecordRequest(0.1))


@pytest.mark.parametrize("readable_from", [0, 99])
def test_a_machine_that_shows_nothing_is_not_waited_for_for_ever_and_one_that_did_is(
    tmp_path: Path, readable_from: int
) -> None:
    path = tmp_path / "a"
    request = RecordRequest(0.1, duration_s=0.5, proof_s=0.3)
    summary = record(path, DumpMachine(readable_from=readable_from), request)
    if readable_from:
        assert (summary.code, summary.frames, summary.readable) == ("stuck", 3, 0)
        assert "nothing of the guest could be read" in summary.reason
    else:
        assert (summary.code, summary.readable) == ("done", 6)


@pytest.mark.parametrize("proof_s", [None, 10.0])
def test_a_machine_that_resets_before_anything_is_readable_does_not_boot_in_a_circle(
    tmp_path: Path, proof_s: float | None
) -> None:
    machine = DumpMachine(lambda step: setattr(machine, "resets", 1), readable_from=99)
    request = RecordRequest(0.1, duration_s=0.3, proof_s=proof_s)
    summary = record(tmp_path / "a", machine, request)
    assert summary.readable == 0
    assert (summary.code, machine.steps) == (("done", 3) if proof_s is None else ("reset", 1))
