"""``record live`` inside a guest, on its own kernel: what it records is what the guest does, and it needs no rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from explorer.model import Snapshot
from tests.kernels.compare import common_tasks, disagreements
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, Oracle
from tests.kernels.lab.liveimage import boot_live

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

#: Part of the recording, and in neither listing of the guest: what makes it, and the child that chroots.
_OURS = ("python3", "wanderer")
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
_FILE_CAPABILITIES = 0b110


class Live:
    """A guest that recorded itself between two listings."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.before: Oracle = guest.oracle()
        code, printed = guest.run_tool(
            "@script", "/app/record_live.py", "--interval", "500ms", "--for", "6s", timeout_s=500
        )
        assert code == 0, printed
        self.said: dict[str, Any] = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
        self.after: Oracle = guest.oracle()


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with boot_live(kernel_or_skip("7.3")) as guest:
        yield Live(guest)


def test_a_live_recording_ends_as_asked_with_frames_at_the_interval(live: Live) -> None:
    assert (live.said["code"], live.said["end"]) == (0, "done"), live.said["said"]
    times = live.said["times"]
    assert len(times) >= 3
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    assert live.said["mode"] == 0o600


def test_a_chroot_during_a_live_recording_is_an_event_of_its_frame(live: Live) -> None:
    pid = live.said["wanderer"]
    (event,) = [
        event
        for event in live.said["timeline"]["events"]
        if event["kind"] == "chroot" and event["pid"] == pid
    ]
    roots, frame = live.said["roots"], event["frame"]
    assert 2 <= frame < len(roots)
    assert len({tuple(root) for root in roots[:frame]}) == 1, "where it was before"
    assert len({tuple(root) for root in roots[frame:]}) == 1, "and where it is from then on"
    assert roots[frame - 1] != roots[frame]
    assert "wanderer" in event["text"]


def test_a_frame_of_a_live_recording_agrees_with_the_guest_on_every_task_that_stayed(live: Live) -> None:
    snapshot = Snapshot.model_validate(live.said["last"])
    assert snapshot.capture.source.kind == "live"
    assert not snapshot.capture.consistent
    assert {"python3", "wanderer"} <= {task.comm for task in snapshot.tasks}
    snapshot.tasks[:] = [task for task in snapshot.tasks if task.comm not in _OURS]
    owned = {task.owned_fs for task in snapshot.tasks}
    snapshot.fs_structs[:] = [fs for fs in snapshot.fs_structs if fs.address in owned]
    assert disagreements(snapshot, live.before, live.after) == []
    assert len(common_tasks(live.before, live.after)) > 80


def test_a_live_recorder_has_no_capability_left_and_cannot_get_one(live: Live) -> None:
    status = live.said["status"]
    for held in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[held], 16) == 0, (held, status)
    # what making the file needed; with no_new_privs nothing can be had from it
    assert int(status["CapBnd"], 16) & ~_FILE_CAPABILITIES == 0
    assert status["NoNewPrivs"] == "1"


def test_a_live_kernel_that_cannot_be_opened_leaves_no_recording(live: Live) -> None:
    code, printed = live.guest.run_tool("@nobody", "record", "live", "-o", "/tmp/nobody.nxrec")
    assert code == 3, printed
    assert len(printed.splitlines()) == 1, printed
    code, printed = live.guest.run_tool("timeline", "/tmp/nobody.nxrec")
    assert code == 3 and "no such" in printed.lower(), printed
