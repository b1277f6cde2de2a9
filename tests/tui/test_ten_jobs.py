"""A stranger's ten jobs, each in at most four keys from the overview, with the answer on the screen.

What counts: every key pressed is one, and a text typed into a field (a filter, the name of a target) is one, however
long it is; the key that opens the field, and enter that leaves it, are one each. What comes after the answer (to look
at it longer, to go back) is not on the way there; of the way back it is said below that it is as short.
"""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from tests.conftest import FIXTURES, capture_file
from tests.tui.conftest import Pilots, press, screen_text
from tests.tui.session.test_playback import BOOT, play
from tests.unit.audit_states import abandon, task_of

DATA = Path(__file__).parents[1] / "data"
MOST_KEYS = 4
_PATIENCE_S = 30.0
SIZES = [(80, 24), (120, 36), (200, 50)]

pytestmark = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
Size = tuple[int, int]


@pytest.fixture(scope="module")
def holders() -> Snapshot:
    return capture_file(DATA / "linux-7.3-holders.elf.zst")


class Stranger:
    """Presses keys, which are counted, and sees nothing but the screen."""

    def __init__(self, app: ExplorerApp, pilot: Pilots) -> None:
        self.app, self.pilot = app, pilot
        self.keys = 0

    async def press(self, *keys: str) -> None:
        self.keys += len(keys)
        await press(self.pilot, *keys)

    async def type(self, text: str) -> None:
        self.keys += 1
        await press(self.pilot, *("space" if char == " " else char for char in text))

    async def sees(self, *texts: str) -> str:
        """Wait until all of it is on the screen, wherever lines are wrapped there or in the pane on its right.

        :return: the screen as it is then
        """
        for _ in range(int(_PATIENCE_S / 0.05)):
            screen = screen_text(self.app)
            beside = "\n".join(line.rpartition("│")[2] for line in screen.splitlines())
            words = re.sub(r"[\s│▁▂▃▄▅▆▇█]+", " ", f"{screen}{beside}")
            if all(text in words for text in texts):
                return screen
            await self.pilot.pause(0.05)
        missing = [text for text in texts if text not in words]
        raise AssertionError(f"after {self.keys} keys {missing} is not on the screen:\n{screen}")


Job = Callable[[Stranger], Awaitable[None]]


def do(job: Job, snapshot: Snapshot, size: Size) -> None:
    """Do a job on a snapshot, from the overview on."""

    async def run() -> None:
        app = ExplorerApp(snapshot=snapshot)
        async with app.run_test(size=size) as pilot:
            await begin(job, app, pilot)

    asyncio.run(run())


async def begin(job: Job, app: ExplorerApp, pilot: Pilots) -> None:
    await press(pilot)
    assert app.current_mode == "overview"
    stranger = Stranger(app, pilot)
    await job(stranger)
    assert stranger.keys <= MOST_KEYS, f"{stranger.keys} keys"


def test_kernel_threads_outside_nullfs_are_four_keys_away(saved: Snapshot, size: Size) -> None:
    async def job(user: Stranger) -> None:
        await user.press("slash")
        await user.type("kind:kernel not placement:nullfs")
        await user.press("enter")
        screen = await user.sees("1 of 112 tasks", "kdevtmpfs", "devtmpfs#11:/")
        assert "kthreadd" not in screen

    do(job, saved, size)


def test_what_is_wrong_with_an_abandoned_kernel_is_said_at_once_and_explained_at_a_key(
    saved: Snapshot, size: Size
) -> None:
    abandoned = saved.model_copy(deep=True)
    abandon(abandoned)

    async def job(user: Stranger) -> None:
        await user.sees(
            "ABANDONED",
            "nx-init (1) left userspace_init_fs; it now points into nullfs.",
            "every kernel lookup fail with ENOENT",
            "1 critical",
        )
        await user.press("n")
        await user.sees(
            "critical: nx-init (1) abandoned userspace_init_fs, which now points into nullfs",
            "Every lookup that the kernel makes for itself begins at userspace_init_fs",
        )

    do(job, abandoned, size)


def test_who_shares_with_pid_1_is_a_key_away(fixture_snapshots: dict[str, Snapshot], size: Size) -> None:
    snapshot = fixture_snapshots["rfc-v1"]
    pid = task_of(snapshot, "sharesfs").pid

    async def job(user: Stranger) -> None:
        await user.sees(f"sharer sharesfs ({pid})")  # for few the overview says it
        await user.press("3")
        await user.sees("2 of 81 tasks", "users 2 = 2 holders", f"sharesfs {pid} S")

    do(job, snapshot, size)


def test_what_pins_a_lazily_unmounted_mount_is_beside_it(holders: Snapshot, size: Size) -> None:
    async def job(user: Stranger) -> None:
        await user.press("m", "slash")
        await user.type("attachment:detached")
        await user.press("enter")
        await user.sees("10 of 99 mounts", "references 1 = 1 holder", "▸ h-connected (104) fd 3 /opened")

    do(job, holders, size)


def test_two_dumps_are_compared_when_the_second_is_named(
    fixture_snapshots: dict[str, Snapshot], size: Size
) -> None:
    async def job(user: Stranger) -> None:
        await user.press("equals_sign")
        await user.type(str(FIXTURES["nullfs-rootfs"]))
        await user.press("enter")
        await user.sees("A ISOLATED", "B SHARED", "Different boots", "PID 1 owns userspace_init_fs init_fs")

    do(job, fixture_snapshots["isolated"], size)


def test_rows_are_written_as_csv(
    saved: Snapshot, size: Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def job(user: Stranger) -> None:
        await user.press("t", "x", "2")
        await user.sees("export 112 tasks", "▸ 2 CSV", "nullfs-explorer-tasks-", ".csv")
        await user.press("enter")
        # What says so then is gone after some seconds: the file stays.
        for _ in range(int(_PATIENCE_S / 0.05)):
            if "export 112 tasks" not in screen_text(user.app) and list(tmp_path.glob("*.csv")):
                return
            await user.pilot.pause(0.05)
        raise AssertionError(f"no file was written:\n{screen_text(user.app)}")

    do(job, saved, size)
    (path,) = tmp_path.glob("*.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 112
    assert sorted(int(row["pid"]) for row in rows) == sorted(task.pid or 0 for task in saved.tasks)


def test_the_road_from_a_task_to_its_namespace_is_a_key_a_step_there_and_back(
    saved: Snapshot, size: Size
) -> None:
    task, fs, mount, namespace = (
        "task 1 nx-init",
        "fs_struct userspace_init_fs",
        "mount rootfs#2",
        "mount namespace 4026531832",
    )

    async def job(user: Stranger) -> None:
        await user.press("3")
        await user.sees(task, "fs = real_fs ▸")
        await user.press("D")
        await user.sees(f"{task} ▸ {fs}", "users 2 = 1 holder + the global pointer")
        await user.press("D")
        await user.sees(f"{fs} ▸ {mount}", "fstype rootfs")
        await user.press("D")
        await user.sees(f"{mount} ▸ {namespace}", "initial yes: init_mnt_ns")
        there, user.keys = user.keys, 0
        for where in (f"{fs} ▸ {mount}", f"{task} ▸ {fs}", "fs = real_fs ▸"):
            await user.press("b")
            await user.sees(where)
        assert "▸ fs_struct" not in screen_text(user.app)
        assert user.keys < there
        user.keys = there

    do(job, saved, size)


def test_who_borrowed_when_in_a_recording_is_in_its_events(size: Size) -> None:
    async def job(user: Stranger) -> None:
        await user.press("L", "slash")
        await user.type("borrow")
        await user.press("enter")
        await user.sees(
            "2 of 40 events",
            "3.175 s 58 borrow begins kworker/u4:1 (31) borrows",
            "3.531 s 65 borrow ends kworker/u4:1 (31) no longer",
        )

    play(lambda app, pilot: begin(job, app, pilot), BOOT, size=size)


def test_a_misspelt_query_is_answered_and_put_right_with_tab(saved: Snapshot, size: Size) -> None:
    async def job(user: Stranger) -> None:
        await user.press("slash")
        await user.type("borowing")
        await user.sees("there is no flag borowing", "did you mean borrowing?")
        await user.press("tab", "enter")
        screen = await user.sees("filter ▏borrowing", "1 of 112 tasks", "task 142 borrower")
        assert "did you mean" not in screen

    do(job, saved, size)


def test_the_drgn_expression_of_a_task_is_shown_and_copied(saved: Snapshot, size: Size) -> None:
    address = f"0x{task_of(saved, 'borrower').address:x}"

    async def job(user: Stranger) -> None:
        await user.press("slash")
        await user.type("borrower")
        await user.press("enter", "C")
        await user.sees(f'drgn Object(prog, "struct task_struct *", {address})')
        assert user.app.clipboard == f'Object(prog, "struct task_struct *", {address})'

    do(job, saved, size)
