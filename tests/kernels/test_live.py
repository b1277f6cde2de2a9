"""The tool inside a guest, on its live kernel: /proc/kcore, BTF and kallsyms, no debug info."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from explorer.model import Snapshot, TaskKind
from tests.kernels.compare import common_tasks, disagreements, forget_readers, printed_snapshot
from tests.kernels.lab import Guest, Oracle, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.proc import differences

pytestmark = pytest.mark.kernel


class Live:
    """A guest that has the tool in it, and one capture of itself between two listings."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.before: Oracle = guest.oracle()
        self.code, printed = guest.run_tool("snapshot", "live", "--no-cache")
        self.snapshot: Snapshot = printed_snapshot(printed)
        self.after: Oracle = guest.oracle()


@pytest.fixture(scope="module", params=["7.3", "6.12"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """QEMU's emulation lets 6.12 die at work as it does at boot: such a guest is booted again, and it is said."""
    guest, made = boot_until(lambda: boot_live(request.param), Live, f"{request.param} live")
    with guest:
        yield made


def test_a_live_capture_agrees_with_the_guest_on_every_task_that_stayed(live: Live) -> None:
    assert live.code == 0
    # The reader, and the process that waits for it, live only during the capture: they are in neither listing.
    assert forget_readers(live.snapshot) == 2
    assert disagreements(live.snapshot, live.before, live.after) == []
    assert len(common_tasks(live.before, live.after)) > 80


def test_a_live_capture_says_that_the_kernel_ran(live: Live) -> None:
    assert live.snapshot.capture.consistent is False
    assert live.snapshot.capture.source.kind == "live"
    assert live.snapshot.capture.types == "btf"
    assert [task for task in live.snapshot.tasks if task.kind is TaskKind.IDLE]


def test_doctor_finds_everything_inside_the_guest(live: Live) -> None:
    code, printed = live.guest.run_tool("doctor")
    assert code == 0
    for line in ("ok    root", "ok    kcore", "ok    BTF", "ok    kallsyms", "ok    drgn", "ok    sample"):
        assert line in printed, printed


def test_an_ordinary_user_is_told_to_use_sudo_in_one_line(live: Live) -> None:
    code, printed = live.guest.run_tool("@nobody", "snapshot", "live")
    assert code == 3
    assert len(printed.splitlines()) == 1, printed
    assert "sudo" in printed


def test_the_json_on_the_line_is_the_json_of_the_export(live: Live) -> None:
    code, printed = live.guest.run_tool("schema")
    assert code == 0
    assert json.loads(printed)["title"] == "Snapshot"


def _proc(live: Live, *who: str) -> tuple[int, Snapshot]:
    code, printed = live.guest.run_tool(*who, "snapshot", "proc")
    return code, printed_snapshot(printed, "proc")


def test_what_proc_tells_root_the_kernels_memory_has_in_the_same_words(live: Live) -> None:
    code, seen = _proc(live)
    assert code == 4, (
        "one working directory has no name that fits a page; what is rooted in failfs cannot be looked at"
    )
    missing = {(error.where, error.what): error.why for error in seen.errors}
    expected = {("1 task", "cwd"): "File name too long"}
    if live.snapshot.kernel.knullfs is not None:
        expected["1 task", "root"] = "Operation not supported"
    assert missing == expected
    assert differences(seen, live.snapshot) == []
    assert len([task for task in seen.tasks if task.fs is not None]) > 80
    for wrong in (_with_other_root(seen), _with_other_sharers(seen)):
        assert differences(wrong, live.snapshot), "the comparison sees nothing"


def _with_other_root(seen: Snapshot) -> Snapshot:
    wrong = seen.model_copy(deep=True)
    [fs, *_] = [fs for fs in wrong.fs_structs if fs.root is not None and fs.root.path == "/"]
    assert fs.root is not None
    fs.root.path = "/elsewhere"
    return wrong


def _with_other_sharers(seen: Snapshot) -> Snapshot:
    wrong = seen.model_copy(deep=True)
    one, other = (task for task in wrong.tasks if task.comm in ("plain-a", "plain-b"))
    assert one.fs != other.fs
    one.fs = other.fs
    return wrong


def test_proc_tells_a_user_of_the_tasks_that_are_that_users(live: Live) -> None:
    code, seen = _proc(live, "@nobody")
    assert code == 4, "the others may not be asked about, which is said"
    assert [error.what for error in seen.errors if error.what == "fs"] == ["fs"], "once"
    assert differences(seen, live.snapshot) == []
    assert [task for task in seen.tasks if task.fs is not None], "its own reader at least"


def test_live_and_doctor_name_proc_as_the_way_out(live: Live) -> None:
    _, printed = live.guest.run_tool("@nobody", "tasks", "live")
    assert "the target proc needs none of it" in printed
    _, printed = live.guest.run_tool("@nobody", "doctor")
    assert "the target proc needs none" in printed
