"""Recordings of what an init may do to its root and to its kernel: pivot_root, leaving userspace_init_fs, kexec."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from explorer.analysis.diff.snapshots import diff_snapshots
from explorer.analysis.mounts.overmounts import overmount_stack
from explorer.model import Frame, Snapshot, TaskKind
from explorer.recording.reader import Recording
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, GuestOptions
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.scenarios import find_scenario
from tests.kernels.recordings import COMMAND, await_frames, boot_options, recorder

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

_LONGEST = ("--for", "60s")


@dataclass(frozen=True)
class Recorded:
    """A recording, open, and its timeline."""

    recording: Recording
    timeline: dict[str, Any]

    def event(self, kind: str) -> dict[str, Any]:
        """The only event of that kind."""
        found = [event for event in self.timeline["events"] if event["kind"] == kind]
        assert len(found) == 1, [(event["frame"], event["kind"]) for event in self.timeline["events"]]
        return dict(found[0])

    def at(self, frame: int) -> Snapshot:
        return self.recording.snapshot_at(f"#{frame}")

    def stack(self, frame: int) -> list[str | None]:
        return [mount.fstype for mount in overmount_stack(self.at(frame))]


def timeline_of(path: Path) -> dict[str, Any]:
    said = subprocess.run([*COMMAND, "timeline", "--json", str(path)], capture_output=True, check=True)
    document: dict[str, Any] = json.loads(said.stdout)
    return document


@pytest.fixture(scope="module")
def pivoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    path = tmp_path_factory.mktemp("pivot") / "boot.nxrec"
    with (
        Guest.boot(kernel_or_skip("7.3"), "pivot-root", boot_options(filler_mb=0)) as guest,
        recorder(guest, path, *_LONGEST) as process,
    ):
        guest.wait_ready()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    with Recording.open(path) as recording:
        yield Recorded(recording, timeline_of(path))


def test_pivot_root_is_told_from_switch_root_with_the_stacks_before_and_after(pivoted: Recorded) -> None:
    event = pivoted.event("pivot_root")
    frame = event["frame"]
    # pivot_root() moves the mounts first and the tasks' roots after it: a frame may fall between the two.
    assert pivoted.stack(frame - 1) in (["nullfs", "rootfs"], ["nullfs", "squashfs", "rootfs"])
    assert pivoted.stack(frame - 2) == ["nullfs", "rootfs"]
    assert pivoted.stack(frame)[:2] == ["nullfs", "squashfs"], "the new root is where the old one was"
    assert "rootfs" not in pivoted.stack(len(pivoted.recording) - 1), "in the end the old root is gone"
    assert event["pid"] == 1
    assert "/ was nullfs#" in event["text"] and "squashfs#" in event["text"]
    assert not [event for event in pivoted.timeline["events"] if event["kind"] == "switch_root"]


def test_the_frame_in_which_pid_1_abandons_userspace_init_fs_is_known(pivoted: Recorded) -> None:
    event = pivoted.event("abandonment")
    frame = event["frame"]
    assert frame > pivoted.event("pivot_root")["frame"]
    before, after = pivoted.at(frame - 1), pivoted.at(frame)
    shared = after.kernel.userspace_init_fs
    assert shared is not None and shared == before.kernel.userspace_init_fs

    def owners(snapshot: Snapshot) -> dict[str, int | None]:
        return {
            task.name: task.owned_fs for task in snapshot.tasks if task.pid == 1 or task.name == "init-share"
        }

    assert owners(before) == {"nx-init": shared, "init-share": shared}
    assert owners(after)["init-share"] == shared
    assert owners(after)["nx-init"] not in (shared, None)
    diff = diff_snapshots(before, after)
    moved = {
        change.after.comm for change in diff.changed if change.after.kind in (TaskKind.INIT, TaskKind.USER)
    }
    assert moved == {"nx-init", "init-share"}, (
        "PID 1 left, its sharer was moved, and nobody else went anywhere"
    )
    (pid1,) = (task for task in after.tasks if task.pid == 1)
    assert (event["pid"], event["address"]) == (1, f"0x{pid1.address:x}")


@pytest.fixture(scope="module")
def kexeced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    directory = tmp_path_factory.mktemp("kexec")
    path, initrd = directory / "kexec.nxrec", directory / "initrd"
    kernel = kernel_or_skip("7.3")
    initrd.write_bytes(build_initramfs(kernel, find_scenario("healthy")))
    files = {"/next/vmlinuz": kernel.vmlinuz, "/next/initrd": initrd}
    scenario = replace(find_scenario("kexec"), files=files)
    with (
        Guest(kernel, scenario, GuestOptions(paused=True)) as guest,
        recorder(guest, path, "--step", "20ms", *_LONGEST) as process,
    ):
        guest.wait_ready()  # which only the second kernel's init says
        await_frames(path, 2)  # the first of them may have been begun before that
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    with Recording.open(path) as recording:
        yield Recorded(recording, timeline_of(path))


def test_a_kexec_begins_a_new_segment(kexeced: Recorded) -> None:
    first, second = kexeced.recording.segments
    assert (first.why, second.why) == ("start", "kexec")
    assert first.release == second.release
    assert first.build_id == second.build_id is not None
    begun: dict[int, Snapshot] = {}
    ended: dict[int, Snapshot] = {}
    for frame in kexeced.recording.frames():
        if frame.snapshot is not None:
            begun.setdefault(frame.segment, frame.snapshot)
            ended[frame.segment] = frame.snapshot
    for segment in (first, second):
        seen = ended[segment.number].tasks
        assert "nx-init" in {task.comm for task in seen if task.pid == 1}
        seen = begun[segment.number].tasks
        assert "nx-init" not in {task.comm for task in seen}, "each boot is seen from its beginning"
    assert "new boot" in {event["kind"] for event in kexeced.timeline["events"]}


def test_what_is_left_of_a_kernel_that_another_overwrites_is_no_frame_of_it(kexeced: Recorded) -> None:
    wrong: list[int] = []
    first: dict[int, int] = {}
    unread: list[Frame] = []
    for frame in kexeced.recording.frames():
        if frame.snapshot is None:
            unread.append(frame)
        else:
            first.setdefault(frame.segment, frame.index)
            wrong += [frame.index] * bool(frame.snapshot.errors)
    assert wrong == []
    between = [frame for frame in unread if first[0] <= frame.index < first[1]]
    assert between, "the next kernel is not there at once"
    # Either the CPU has left before the old kernel is overwritten, or its page tables go in the same step.
    for frame in between:
        assert frame.why is not None
        assert ("has left this kernel" in frame.why) == (frame.segment == 0), (frame.index, frame.why)
    at = [frame.index for frame in between]
    assert at == list(range(at[0], first[1])), "the CPU does not come back"
