"""The first line: what it gives up where the terminal is narrow, and what never."""

from __future__ import annotations

import pytest

from explorer.model import display_width
from explorer.tui.views.crumbs import first_line

HEADER = "Linux 7.3.4+deb13-cloud-amd64   sample   3 values not readable   types: BTF   112 tasks in 0.01 s"
CRUMBS = ["overview", "tasks kind:kernel", "task 2 kthreadd", "fs_struct init_fs", "mount 3 nullfs"]


def test_where_there_is_room_every_crumb_and_the_whole_header_are_said() -> None:
    assert first_line(CRUMBS, HEADER, 300) == (" › ".join(CRUMBS), HEADER)


def test_crumbs_lose_their_middle_and_keep_home_and_where_one_is() -> None:
    shown, header = first_line(CRUMBS, HEADER, 110)
    assert shown == "overview › … › mount 3 nullfs"
    assert header.startswith("Linux 7.3.4+deb13-cloud-amd64   sample   3 values not readable")
    assert first_line(CRUMBS, HEADER, 90)[0] == "… › mount 3 nullfs"
    assert first_line(CRUMBS, HEADER, 79)[0] == "mount 3 nullfs"


def test_that_values_are_missing_is_said_at_80_columns_beside_every_screen() -> None:
    for mode in ("tasks", "fs_structs", "mounts", "namespaces", "subsystems", "findings", "events"):
        shown, header = first_line(["overview", mode], HEADER, 78)
        assert shown == mode and "3 values not readable" in header


@pytest.mark.parametrize("width", [0, 1, 2, 5, 20, 78, 118, 198])
@pytest.mark.parametrize(
    "crumbs", [["overview"], CRUMBS, ["overview", "x" * 65536], ["界" * 40, "a", "界" * 65536]]
)
@pytest.mark.parametrize("header", ["", HEADER, "Linux " + "r" * 65536, "   ".join(["y" * 5000] * 9)])
def test_the_line_is_never_longer_than_the_terminal(crumbs: list[str], header: str, width: int) -> None:
    shown, beside = first_line(crumbs, header, width)
    assert display_width(shown) <= max(1, width)
    assert display_width(beside) <= max(0, width - display_width(shown) - 3)
