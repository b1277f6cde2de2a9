"""Tracing a guest under load, and killed: what is not caught is counted, and what is left is removed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, boot_until
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.subsystems import run_steps, wait_until
from tests.kernels.trace_guest import Storm, load_walker, start_storm, walks
from tests.kernels.traced import ours_in

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(2400)]

THREADS, RATE, SECONDS = 8, 1250, 30
#: Moments; with the repetition.
KILLS, MOST_KILLS = 4, 20
_BEGIN_S = 240.0
#: Lookups of the guest's other kernel threads in half a minute: most often there are none.
_MOST_UNSEEN = 8


def _said(printed: str) -> dict[str, Any]:
    [row] = [row for row in printed.splitlines() if row.startswith("SAID ")]
    said: dict[str, Any] = json.loads(row.removeprefix("SAID "))
    return said


def _missed(guest: Guest) -> list[str]:
    """The problems that a trace tells whose probes wait for two returns at once, of eight lookups that hang."""
    run_steps(
        guest, "rm -f /img/tmp/end; mkdir -p /f", "insmod /modules/fuse.ko || true", "/init lab-fuse /f"
    )
    start = guest.start_tool("@script", "/app/trace_walks.py", "few", "/f")
    guest.line.read_until(rb'\{"header":.*', _BEGIN_S, start)
    start_storm(guest, THREADS, RATE, SECONDS, b"/f/hang")
    wait_until(guest, f"test $(grep -l link_path_walk /proc/[0-9]*/stack | wc -l) -ge {THREADS}")
    run_steps(guest, "touch /img/tmp/end")
    code, printed = guest.end_tool(start, 600)
    assert code == 0, printed[-3000:]
    problems: list[str] = _said(printed)["problems"]
    return problems


class Limits:
    """A guest after a storm of lookups, and after traces that were killed."""

    def __init__(self, guest: Guest, line: str, kills: int) -> None:
        self.line = line
        load_walker(guest)
        run_steps(guest, "rm -f /img/tmp/end")
        start = guest.start_tool("@script", "/app/trace_walks.py", "storm", "/storm")
        guest.line.read_until(rb'\{"header":.*', _BEGIN_S, start)
        start_storm(guest, THREADS, RATE, SECONDS, b"/storm")
        wait_until(guest, "grep -q '\"over\": true' /proc/walker", 10 * SECONDS)
        run_steps(guest, "touch /img/tmp/end")
        code, printed = guest.end_tool(start, 600)
        assert code == 0, printed[-3000:]
        self.storm: Storm | None = walks(guest)[1]
        self.said = _said(printed)
        code, printed = guest.run_tool("@script", "/app/trace_kills.py", str(kills), "18", timeout_s=1800)
        assert code == 0, printed[-3000:]
        self.kills = _said(printed)
        self.left = ours_in(guest)
        # On 7.3 a task itself has room for its returns, and a storm in nullfs finds nothing that hangs.
        self.missed: list[str] = [] if kills < MOST_KILLS or line == "7.3" else _missed(guest)


@pytest.fixture(
    scope="module",
    params=[
        ("7.3", KILLS),
        *(pytest.param((line, MOST_KILLS), marks=pytest.mark.repetition) for line in ("7.3", "6.12", "6.1")),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def limits(request: pytest.FixtureRequest) -> Iterator[Limits]:
    line, kills = request.param
    kernel = kernel_or_skip(line)
    guest, made = boot_until(
        lambda: boot_live(kernel, "walked"), lambda guest: Limits(guest, line, kills), f"{line} storm"
    )
    with guest:
        yield made


def test_ten_thousand_lookups_a_second_are_caught_or_counted_to_the_last_one(limits: Limits) -> None:
    storm, said = limits.storm, limits.said
    assert storm is not None and len(storm.made) == THREADS
    made = sum(storm.made.values())
    assert made > THREADS * RATE * SECONDS // 4
    assert storm.failed == storm.made
    assert said["seen"] and said["twice"] == 0 and said["wrong"] == {} and said["problems"] == []
    # Each walk has four events: itself, its stack, its path and its end; those that were read and those that were
    # counted as lost are all of them. Other threads may have looked something up, too, of which nothing was read.
    unseen = said["events"] + said["lost"] - 4 * (made + said["others"])
    assert unseen % 4 == 0 and 0 <= unseen // 4 <= _MOST_UNSEEN, (made, said)
    if not said["lost"]:
        assert (said["seen"], said["stacks"]) == (made, made + said["others"])


def test_calls_that_the_probes_missed_are_counted_and_said(limits: Limits) -> None:
    """None are in a storm that does not hang, and on 7.3 none can be."""
    assert limits.said["problems"] == []
    if not limits.missed:
        assert limits.line == "7.3" or len(limits.kills["kills"]) < MOST_KILLS
        return
    [words] = limits.missed
    number = re.match(r"the probes missed (\d+) calls", words)
    assert number is not None and int(number[1]) >= THREADS - 2, words


def test_a_trace_that_is_killed_at_any_moment_leaves_nothing_that_the_next_start_does_not_remove(
    limits: Limits,
) -> None:
    kills = limits.kills["kills"]
    assert len(kills) >= KILLS
    assert [kill for kill in kills if kill["still"] or kill["there"]] == []
    assert any(kill["left"] for kill in kills), "no kill came while there was anything"
    assert limits.left == []


def test_a_trace_that_alone_is_killed_is_cleaned_up_by_the_process_that_waits_for_that(
    limits: Limits,
) -> None:
    assert limits.kills["alone"] == []
