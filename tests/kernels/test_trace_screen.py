"""The screen of lookups inside a guest, on its live kernel: what a module on a kworker looks up comes as it happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.trace_guest import Order, Walk, load_walker, walk
from tests.kernels.traced import ours_in
from tests.tui.test_terminal import assert_only_own_controls

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]

_PATIENCE_S = 400.0
_HOSTILE = b"/tmp/\x1b[2J\nx"


@dataclass
class Seen:
    """What the screen showed of two lookups, and what it left."""

    made: list[Walk]
    begun: str
    lookups: str
    overview: str
    ended: str
    received: bytes
    code: int
    left: list[str]


def look(guest: Guest) -> Seen:
    """Trace from the overview, let the module look up, see it in both places, end the trace and quit."""
    load_walker(guest)
    screen = guest.start_screen(columns=160)
    screen.until(lambda text: re.search(r"findings +\d", text) is not None, _PATIENCE_S)
    screen.press("W")
    begun = screen.until(lambda text: "traced now" in text and "Linux" in text, _PATIENCE_S)
    made = walk(guest, Order(b"/etc/passwd"), Order(_HOSTILE))
    lookups = screen.until(lambda text: "/etc/passwd" in text and "/tmp/\\e[2J\\nx" in text, _PATIENCE_S)
    screen.press("o")
    overview = screen.until(
        lambda text: re.search(r"[1-9]\d* lookups? (failed|since)", text) is not None, _PATIENCE_S
    )
    screen.press("WE")
    ended = screen.until(lambda text: "ASKED BY" in text and "traced now" not in text, _PATIENCE_S)
    screen.press("q")
    code, _ = guest.end_screen(screen)
    return Seen(made, begun, lookups, overview, ended, screen.received, code, ours_in(guest))


@pytest.fixture(scope="module", params=["7.3", pytest.param("6.12", marks=pytest.mark.repetition)])
def seen(request: pytest.FixtureRequest) -> Iterator[tuple[str, Seen]]:
    """A guest that QEMU's emulation lets die is booted again, and it is said."""
    kernel = kernel_or_skip(request.param)
    guest, made = boot_until(lambda: boot_live(kernel, "walked"), look, f"{request.param} trace screen")
    with guest:
        yield request.param, made


def test_each_lookup_of_the_module_is_a_row_that_says_what_it_means(seen: tuple[str, Seen]) -> None:
    line, found = seen
    means = "fails in nullfs" if line == "7.3" else "would fail"
    for path, made in zip(("/etc/passwd", "/tmp/\\e[2J\\nx"), found.made, strict=True):
        rows = [row for row in found.lookups.splitlines() if f" {path} " in row]
        (row,) = [row for row in rows if "walker_work" in row]
        assert means in row and f"({made.pid})" in row, row
        assert ("ENOENT" in row) == (made.result == -2), row


def test_the_overview_counts_what_fails_while_the_trace_runs_and_no_longer_when_it_ended(
    seen: tuple[str, Seen],
) -> None:
    line, found = seen
    words = "failed in nullfs since" if line == "7.3" else "would fail on 7.3"
    count = re.search(rf"(\d+) lookups?.*{words}", found.overview)
    assert count is not None and int(count[1]) >= 2, found.overview


def test_nothing_of_the_tracer_is_left_and_no_byte_of_a_path_acts_on_the_terminal(
    seen: tuple[str, Seen],
) -> None:
    _, found = seen
    assert found.left == [] and found.code == 0
    assert "/etc/passwd" in found.ended, "what it has seen stays"
    assert_only_own_controls(found.received)
