"""The real program in a real terminal of each size: jumps, and the way back along them, row for row."""

from __future__ import annotations

import pytest

from tests.tui.conftest import SAVED
from tests.tui.screens.test_places import crumbs_of
from tests.tui.test_goldens import SIZES
from tests.tui.test_terminal import COMMAND, ROOT, Tmux, tmux

__all__ = ("tmux",)

#: The keys that lead on, and how the first line ends then.
_JUMPS = (("t", "tasks"), ("m", "mounts"), ("M", "namespaces"), ("s", "subsystems"), ("f", "fs_structs"))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_backspace_paints_each_screen_that_was_left_as_it_was(tmux: Tmux, size: tuple[int, int]) -> None:
    tmux("resize-window", "-x", str(size[0]), "-y", str(size[1]))
    tmux.keys(f"cd {ROOT} && {' '.join(COMMAND)} {SAVED.relative_to(ROOT)}", "Enter")
    tmux.until(lambda screen: "ISOLATED" in screen and "Quit" in screen)
    left: list[str] = []
    for key, mode in _JUMPS:
        tmux.keys(key)
        first = tmux.until(lambda screen, mode=mode: crumbs_of(screen).endswith(mode))  # type: ignore[misc]
        tmux.keys("j")
        left.append(tmux.until(lambda screen, first=first: screen != first))  # type: ignore[misc]
    tmux.keys("o")
    tmux.until(lambda screen: "ISOLATED" in screen)
    for before, (_, mode) in zip(reversed(left), reversed(_JUMPS), strict=True):
        tmux.keys("BSpace")
        assert tmux.until(lambda screen, mode=mode: crumbs_of(screen).endswith(mode)) == before  # type: ignore[misc]
    tmux.keys("BSpace")
    tmux.until(lambda screen: "ISOLATED" in screen and crumbs_of(screen) == "overview")
    tmux.keys("q")
    tmux.until(lambda screen: "ISOLATED" not in screen)
