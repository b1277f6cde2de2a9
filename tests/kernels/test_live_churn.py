"""The tool on a live kernel while processes come and go: by root, and by an ordinary user through sudo."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from explorer.codec.snapshots import parse_snapshot
from explorer.model import Snapshot
from explorer.targets.qemu.attach import query_guest
from explorer.targets.qemu.control import GuestControl
from explorer.targets.qemu.watch import GuestWatch
from tests.kernels.churn import Captures, calm, capture_many, start_storm, wrong_rows
from tests.kernels.lab import Guest, Oracle, boot_until
from tests.kernels.lab.liveimage import boot_live

pytestmark = pytest.mark.kernel

_CAPTURES = 10
_STOPS = 2000


class Churn:
    """What was captured in the storm, between two listings of the calm guest."""

    def __init__(self, guest: Guest) -> None:
        self.before: Oracle = guest.oracle()
        start_storm(guest)
        self.by_root = _document(guest.run_tool("snapshot", "live", "--no-cache"))
        self.by_sudo = _document(guest.run_tool("@sudo", "snapshot", "live", "--no-cache"))
        self.audit = guest.run_tool(
            "audit", "live", "--no-cache", "--format", "json", "--fail-on", "critical"
        )
        self.many: Captures = capture_many(guest, _CAPTURES)
        self.is_in_kernel = _stop_often(guest)
        calm(guest)
        self.after: Oracle = guest.oracle()


def _stop_often(guest: Guest) -> Counter[bool | None]:
    """What the recorder would hear of the CPU at so many moments."""
    answers: Counter[bool | None] = Counter()
    control = GuestControl(str(guest.control_socket))
    try:
        _, ram = query_guest(control, "guest")
        control.settle()
        watch = GuestWatch(str(guest.qmp_socket), ram, stopped=True)
        assert watch.find_kernel() is not None and watch.landmark is not None
        for _ in range(_STOPS):
            control.run_for(0.002, stopping=True)
            answers[control.maps(*watch.landmark)] += 1
        watch.release()
        control.execute("cont")
    finally:
        control.close()
    return answers


def _document(ran: tuple[int, str]) -> tuple[int, Snapshot]:
    code, printed = ran
    assert "Traceback" not in printed and "a fault of this program" not in printed, printed[-3000:]
    assert code in (0, 4), printed[-3000:]
    # The line carries stderr too: what is not the document is progress, and the line about errors behind it.
    end = printed.rindex("\n}") + 2
    return code, parse_snapshot(printed[printed.index('{"schema_version"') : end].encode(), "live")


@pytest.fixture(scope="module", params=["7.3", pytest.param("6.12", marks=pytest.mark.repetition)])
def churn(request: pytest.FixtureRequest) -> Iterator[Churn]:
    """A guest that QEMU's emulation lets die is booted again, and it is said."""
    guest, made = boot_until(lambda: boot_live(request.param), Churn, f"{request.param} churn")
    with guest:
        yield made


@pytest.mark.parametrize("road", ["by_root", "by_sudo"])
def test_every_task_that_outlives_the_storm_is_what_the_guest_says(churn: Churn, road: str) -> None:
    _, snapshot = getattr(churn, road)
    assert wrong_rows(snapshot, churn.before, churn.after) == []
    assert any(task.comm == "storm" for task in snapshot.tasks)


@pytest.mark.parametrize("road", ["by_root", "by_sudo"])
def test_what_could_not_be_read_in_the_storm_is_said(churn: Churn, road: str) -> None:
    code, snapshot = getattr(churn, road)
    assert (code == 4) == bool(snapshot.errors)
    assert snapshot.capture.consistent is False


@pytest.mark.parametrize("road", ["by_root", "by_sudo"])
def test_nobody_who_comes_or_goes_in_the_storm_is_called_hidden(churn: Churn, road: str) -> None:
    _, snapshot = getattr(churn, road)
    assert snapshot.capture.pids_checked is True
    assert [task for task in snapshot.tasks if task.only_in is not None] == []


def test_the_audit_runs_in_the_storm(churn: Churn) -> None:
    code, printed = churn.audit
    assert code in (0, 1, 4), printed
    assert json.loads(printed[printed.index("{") : printed.rindex("\n}") + 2])["findings"] is not None


def test_ten_captures_in_the_storm_show_stable_tasks_unchanged_and_leak_nothing(churn: Churn) -> None:
    assert churn.many.code == 0, churn.many.printed[-3000:]
    assert len(churn.many.said) == _CAPTURES
    assert churn.many.wrong() == []
    assert churn.many.leaks() == []


def test_a_cpu_that_enters_or_leaves_the_kernel_is_not_said_to_have_left_it_for_another(churn: Churn) -> None:
    """With PTI it has then page tables without the kernel, and its privileges: one stop in fifteen, in the storm."""
    assert churn.is_in_kernel[False] == 0
    assert churn.is_in_kernel[True] and churn.is_in_kernel[None]
