"""Rights on a live kernel, with real users and the real sudo: none while it is parsed, and none for the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab.liveimage import boot_live

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]

_USER = "1000"
_HELD = ("CapInh", "CapPrm", "CapEff")
#: Commands that write a file, and what another user has put where it is to go.
ATTACKED = ("audit", "frame", "record", "slice", "snapshot", "trace", "trace FILE")
WAYS = (
    "pipe",
    "socket",
    "link to a file",
    "link to nothing",
    "link that is a directory",
    "link in a link",
)


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, Any]]:
    with boot_live(kernel_or_skip("7.3")) as guest:
        code, printed = guest.run_tool("@script", "/app/live_rights.py", timeout_s=1700)
        lines = [line.removeprefix("SAID ") for line in printed.splitlines() if line.startswith("SAID ")]
        assert code == 0, printed
        found: dict[str, Any] = {}
        for line in lines:
            found |= json.loads(line)
        yield found


def is_users(status: dict[str, str]) -> bool:
    """The user's, without a capability, and unable to gain any."""
    return (
        set(status["Uid"].split()) == {_USER}
        and not any(int(status[held], 16) for held in _HELD)
        and status["NoNewPrivs"] == "1"
    )


#: What is parsed, by the command that does it; debug info there is none.
_STEPS = {
    "snapshot": {"open_running", "load_symbols", "_read_btf"},
    "record": {"open_running", "load_symbols", "_read_btf"},
    "trace": {"open_running", "load_symbols", "nameidata_offsets", "understand", "_module_ranges"},
    "record --trace": {"open_running", "load_symbols", "nameidata_offsets", "understand", "_module_ranges"},
    "--types dwarf": {"open_running", "load_dwarf"},
}


@pytest.mark.parametrize("command", _STEPS)
def test_nothing_of_a_live_kernel_is_parsed_before_the_rights_are_given_up(
    said: dict[str, Any], command: str
) -> None:
    """By whatever process: a tracer has another one parse first."""
    found = said["parsing"][command]
    assert found["code"] in ((3,) if command == "--types dwarf" else (0, 1, 4)), found["said"]
    assert _STEPS[command] <= {step for process in found["seen"] for step in process}, found
    assert "trace" not in command or sum("open_running" in process for process in found["seen"]) == 2
    for process in found["seen"]:
        for step, status in process.items():
            assert is_users(status), (step, status)
            assert status["Seccomp"] == "2", (step, status)


def test_a_tracer_that_crashes_in_c_is_one_line_and_leaves_what_it_has_written_and_nothing_in_the_kernel(
    said: dict[str, Any],
) -> None:
    crash = said["crash"]
    assert crash["code"] == 3, crash
    (line,) = crash["said"]
    assert "the reader was ended by signal SIGSEGV" in line
    assert line.endswith(": what was written until then stays")
    assert crash["written"] == [["header"]]
    assert crash["owner"] == int(_USER)
    assert crash["left"] == []


def test_symbols_are_the_same_by_every_road_also_when_the_rights_are_gone(said: dict[str, Any]) -> None:
    tables = said["tables"]
    assert tables["drgn"] > 100_000
    assert tables["memory differs"] == tables["text differs"] == 0, tables


def test_the_screen_of_a_live_kernel_under_sudo_is_the_users_and_reads_and_traces_it_all_the_same(
    said: dict[str, Any],
) -> None:
    screen = said["screen"]
    assert screen["shown"] and screen["again"] and screen["traced"] and screen["instance"], screen["text"]
    assert is_users(screen["screen"]), screen["screen"]
    assert set(screen["starter"]["Uid"].split()) == {"0"}
    assert screen["held"] == ["/dev/null"] * 3 + ["socket"]
    assert screen["code"] == 0
    assert screen["left"] == []


def test_no_output_goes_through_what_another_user_has_put_in_its_way_whatever_the_command(
    said: dict[str, Any],
) -> None:
    assert set(said["attacks"]) == {f"{command}: {what}" for command in ATTACKED for what in WAYS}
    for attack, found in said["attacks"].items():
        assert found["code"] == 2, (attack, found)
        assert len(found["said"]) == 1 and found["said"][0].startswith("nullfs-explorer: "), (attack, found)
        assert found["got"] == "", attack
        assert found["victims"] == [["kept", "mine"]], (attack, found)
