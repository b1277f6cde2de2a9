"""The overview of a large terminal has more on it, a small one's not; no text of a kernel pushes the rest away."""

from __future__ import annotations

import pytest

from explorer.analysis.worlds import find_worlds
from explorer.model import Generation, Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.session.state import View
from explorer.tui.views.more import make_more
from explorer.tui.views.verdict import show_verdict
from explorer.tui.widgets import DoorBox
from tests.tui.conftest import Pilots, press, run_at, screen_text
from tests.tui.later import HOSTILE

ABSURD = 65536


def make_absurd(snapshot: Snapshot, text: str) -> Snapshot:
    """The same kernel, with names that are very long wherever a kernel or a plugin gives one."""
    long = snapshot.model_copy(deep=True)
    long.kernel.release = long.kernel.cmdline = text
    long.capture.source.target = text
    some = [
        task for task in long.tasks if task.pid in (0, 1, 2) or task.borrowing or "root" in (task.comm or "")
    ]
    assert len(some) > 4
    for task in some:
        task.comm = text
        if task.walk is not None:
            task.walk.path = f"/{text}"
    for setting in long.settings:
        setting.value = setting.path = f"/{text}"
    for mount in long.mounts:
        mount.fstype = text
    for fs in filter(None, map(long.fs_of, some)):
        for place in filter(None, (fs.root, fs.pwd)):
            place.path, place.fstype = f"/{text}", text
    long.plugins = {"coredump": {"state": "loaded", "text": text, text: [text, text]}, text: {"state": text}}
    return long


# -- more where there is room --------------------------------------------------------------------------------


def test_a_large_overview_tells_who_borrows_what_is_shared_and_what_the_kernel_is_set_to(
    saved: Snapshot,
) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        text = screen_text(app)
        for said in (
            "borrowing now",
            "shared fs_structs",
            "this kernel",
            "walking /f/core",
            "fspair-a, fspair-b",
        ):
            assert said in text, said
        assert "modprobe_path /sbin/modprobe" in text and "63 in 8 mount namespaces" in text

    run_at(app, (200, 50), steps)


@pytest.mark.parametrize("size", [(80, 24), (149, 50), (200, 39)])
def test_an_overview_without_the_room_has_no_box_that_the_keyboard_could_go_to(
    saved: Snapshot, size: tuple[int, int]
) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        assert "this kernel" not in screen_text(app)
        assert not [box for box in app.screen.query("#more DoorBox") if box.display]
        await pilot.resize_terminal(200, 50)
        await press(pilot)
        assert "this kernel" in screen_text(app)
        await pilot.resize_terminal(*size)
        await press(pilot)
        assert "this kernel" not in screen_text(app)

    run_at(app, size, steps)


def test_down_from_the_findings_leads_to_the_boxes_below_and_enter_to_their_tasks(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        for name in ("borrowers", "shared"):
            await press(pilot, "o")
            box = app.screen.query_one(f"#{name}", DoorBox)
            door = getattr(make_more(saved, find_worlds(saved)), name)
            box.focus()
            await press(pilot, "enter")
            assert isinstance(app.screen, TasksScreen) and app.screen.tasks is not None
            assert app.screen.tasks.matching == door.count > 0
        await press(pilot, "o")
        app.screen.query_one("#findings").focus()
        await press(pilot, "end", "down")
        assert app.focused is not None and app.focused.id in ("borrowers", "shared")
        await press(pilot, "up")
        assert app.focused is not None and app.focused.id == "findings"

    run_at(app, (200, 50), steps)


def test_nobody_can_borrow_before_7_3_and_then_there_is_no_box_for_it(saved: Snapshot) -> None:
    old = saved.model_copy(deep=True)
    old.kernel.generation = Generation.LEGACY
    assert make_more(old, find_worlds(old)).borrowers is None


def test_what_is_missing_stands_first_and_every_text_is_escaped_and_short(saved: Snapshot) -> None:
    assert saved.settings and saved.kernel.cmdline
    for text in (HOSTILE, "x" * ABSURD, "\x1b" * ABSURD):
        long = make_absurd(saved, text)
        more = make_more(long, find_worlds(long))
        for door in (more.borrowers, more.shared, more.kernel):
            assert door is not None and 0 < len(door.lines) <= 8
            assert all(line.isprintable() and len(line) <= 120 for line in door.lines)


# -- absurdly long names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_names_of_64_kilobytes_push_nothing_off_any_screen(saved: Snapshot, size: tuple[int, int]) -> None:
    app = ExplorerApp(snapshot=make_absurd(saved, "n" * ABSURD))

    async def steps(pilot: Pilots) -> None:
        text = screen_text(app)
        for said in (
            "ISOLATED",
            "owns userspace_init_fs",
            "borrows",
            "users 2",
            "own fs",
            "(visible)",
            "findings ",
        ):
            assert said in text or (said == "own fs" and "own fs_struct" in text), said
        assert "high" in text and "SEVERITY" in text
        await app.show_other(View(saved))
        for key, said in (
            ("t", "FS_STRUCT"),
            ("f", "HELD BY"),
            ("m", "MOUNTPOINT"),
            ("M", "KEPT BY"),
            ("s", "FINDINGS"),
            ("n", "SEVERITY"),
            ("equals_sign", "IN A"),
        ):
            await press(pilot, key)
            text = screen_text(app)
            assert said in text and "Help" in text, key
            assert "evidence" in text or key != "n", "the title of a finding is all that its pane shows"
            if size[0] > 120 and key != "equals_sign":
                assert "   nnn" in text.splitlines()[0], "the release pushed the target away"

    run_at(app, size, steps)


def test_a_verdict_of_common_length_is_said_in_full(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        assert show_verdict(saved).sentence in " ".join(screen_text(app).split())

    run_at(app, (80, 24), steps)
