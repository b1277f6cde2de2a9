"""The real program on a fleet, in a real terminal: a target is opened, and one is back on its row."""

from __future__ import annotations

from pathlib import Path

from explorer.codec import load_snapshot
from explorer.fleet import Outcome
from tests.tui.conftest import SAVED
from tests.tui.test_terminal import COMMAND, ROOT, Tmux, tmux
from tests.written_fleets import write_fleet

__all__ = ("tmux",)


def test_a_fleet_is_browsed_in_tmux(tmux: Tmux, tmp_path: Path) -> None:
    saved = load_snapshot(SAVED)
    abandoned = load_snapshot(ROOT / "screenshots" / "abandoned.json.zst")
    unread = [("dumps/broken.elf", Outcome.CANNOT_OPEN, "the file is empty")]
    targets = {"dumps/lively.json": saved, "dumps/gone.json": abandoned}
    fleet = write_fleet(tmp_path / "fleet", targets, unread, keep=True)
    tmux.keys(f"cd {ROOT} && {' '.join(COMMAND)} {fleet}", "Enter")
    tmux.until(lambda screen: "VERDICT" in screen and "the file is empty" in screen and "q Quit" in screen)
    tmux.keys("j")
    tmux.until(lambda screen: "left userspace_init_fs" in screen)
    tmux.keys("Enter")
    tmux.until(lambda screen: "ABANDONED" in screen and "overview" in screen.splitlines()[0])
    tmux.keys("BSpace")
    tmux.until(lambda screen: "VERDICT" in screen and "left userspace_init_fs" in screen)
    tmux.keys("/")
    tmux.keys("-l", "verdict:isolated")
    tmux.keys("Enter")
    tmux.until(lambda screen: "1 of 3 targets" in screen and "lively.json" in screen)
    tmux.keys("Enter")
    tmux.until(lambda screen: "ISOLATED" in screen and "overview" in screen.splitlines()[0])
    tmux.keys("q")
    tmux.until(lambda screen: "ISOLATED" not in screen)
