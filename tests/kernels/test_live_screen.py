"""The app inside a guest, on its live kernel, over the guest's serial line; in a storm of processes, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kernels.churn import calm, start_storm
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, Oracle, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.tui.test_terminal import assert_only_own_controls

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

_PATIENCE_S = 240.0
_KTHREADD = 2
_QUERY = "comm:chroot-slash or comm:*title*"
_KWORKERS = (*(b"kworker/%d" % digit for digit in range(10)), b"kworker/u")
_VERDICTS = {
    "7.3": "ISOLATED   Kernel threads live in nullfs. ",
    "6.12": "SHARED (normal before 7.3)   ",
}


@dataclass
class Driven:
    """What the screen showed, and how it ended."""

    overviews: list[str]
    """The second one is of a reading while processes came and went."""
    table: str
    """The task table, filtered for ``chroot-slash`` and a task with a hostile name."""
    received: bytes
    code: int
    is_terminal_as_before: bool


def drive(guest: Guest) -> Driven:
    """Open the app with no argument, look at the overview and at a filtered task table, read again, and quit."""
    screen = guest.start_screen(columns=160)
    overview = screen.until(_is_audited, _PATIENCE_S)
    screen.press("t")
    screen.until(lambda text: "FS_STRUCT" in text, _PATIENCE_S)
    screen.press(f"/{_QUERY}\r")
    table = screen.until(lambda text: f"▏{_QUERY} " in text and "2 of " in text, _PATIENCE_S)
    start_storm(guest, 1)
    screen.press("or")
    read_again = screen.until(lambda text: _is_audited(text) and _tasks(text) > _tasks(overview), _PATIENCE_S)
    calm(guest)
    screen.press("q")
    code, as_before = guest.end_screen(screen)
    return Driven([overview, read_again], table, screen.received, code, as_before)


def _is_audited(text: str) -> bool:
    return re.search(r"findings +\d", text) is not None


def _tasks(text: str) -> int:
    found = re.search(r"(\d+) tasks", text)
    return int(found[1]) if found else 0


class Live:
    """A guest in which the app ran between two listings."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.before: Oracle = guest.oracle()
        words = ("@script", "-c", "print(open('/proc/sys/kernel/osrelease').read())")
        code, printed = guest.run_tool(*words)
        assert code == 0
        self.release = printed.strip()
        self.verdict = next(text for line, text in _VERDICTS.items() if self.release.startswith(f"{line}."))
        self.driven = drive(guest)
        self.after: Oracle = guest.oracle()


@pytest.fixture(scope="module", params=["7.3", "6.12"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A guest that QEMU's emulation lets die is booted again, and it is said."""
    kernel = kernel_or_skip(request.param)
    guest, made = boot_until(lambda: boot_live(kernel), Live, f"{request.param} screen")
    with guest:
        yield made


def test_the_overview_names_the_running_release_and_gives_the_verdict_of_its_line(live: Live) -> None:
    for overview in live.driven.overviews:
        assert overview.startswith(f" overview   Linux {live.release}   live   ")
        assert live.verdict in overview


def test_the_overview_counts_the_kernel_threads_that_the_guest_has(live: Live) -> None:
    for overview in live.driven.overviews:
        shown = re.findall(r"(?:rescuers|kthreads) +(\d+) ━", overview)
        for listing in (live.before, live.after):
            # kworkers come and go; those that are not named after a CPU or a pool are rescuers, and stay. kdevtmpfs
            # lives in a mount namespace of its own, which is another box.
            (first,) = (task for task in listing.tasks if task.pid == _KTHREADD)
            stay = [
                task
                for task in listing.tasks
                if task.is_kthread and task.mnt_ns == first.mnt_ns and not task.comm.startswith(_KWORKERS)
            ]
            assert sum(map(int, shown)) == len(stay), overview


def test_a_filtered_task_is_shown_with_the_pid_that_the_guest_gave_it(live: Live) -> None:
    pid = live.guest.states["chroot-slash"]
    assert re.search(rf"^ +chroot-slash +{pid}  S  ", live.driven.table, re.MULTILINE), live.driven.table


def test_a_hostile_task_name_is_shown_escaped_and_no_byte_of_it_acts_on_the_line(live: Live) -> None:
    pid = live.guest.states["comm-osc"]
    assert re.search(rf"^ +\\e\]0;title\\x07 +{pid}  S  ", live.driven.table, re.MULTILINE), live.driven.table
    assert_only_own_controls(live.driven.received)


def test_quitting_leaves_the_terminal_as_it_was(live: Live) -> None:
    driven = live.driven
    assert driven.code == 0
    assert driven.is_terminal_as_before
    entered, left = driven.received.rfind(b"\x1b[?1049h"), driven.received.rfind(b"\x1b[?1049l")
    assert 0 <= entered < left, "the alternate screen is left"
    assert driven.received.rfind(b"\x1b[?25h") > entered, "the cursor is back"
