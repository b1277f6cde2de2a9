"""Drives the real app on a saved snapshot and writes what it shows as SVG: ``make screenshots``.

The files are committed: the README shows them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SAVED = HERE.parent / "tests" / "tui" / "data" / "lively.json.zst"

#: Name -> size of the terminal, and the keys that lead there.
SHOTS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "overview": ((120, 34), ()),
    "overview-80x24": ((80, 24), ()),
    "tasks": ((120, 34), ("t", "enter", "j", "j")),
    "tasks-filtered": ((120, 34), ("t", "slash", *"root:chroot or borrowing", "enter", "j")),
    "tasks-80x24": ((80, 24), ("t",)),
    "mounts": ((120, 34), ("m", "j", "j")),
    "findings": ((120, 34), ("n",)),
    "detail": ((160, 40), ("t", "slash", *"pid:142", "enter", "enter", "enter")),
}


async def take(name: str, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    """Press the keys, and write the screen that they lead to."""
    from explorer.output.snapshots import load_snapshot
    from explorer.tui.app import ExplorerApp

    app = ExplorerApp(snapshot=load_snapshot(SAVED))
    async with app.run_test(size=size) as pilot:
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        svg = app.export_screenshot(title=app.title)
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    """All of them, or those named on the command line."""
    wanted = sys.argv[1:] or list(SHOTS)
    with tempfile.TemporaryDirectory() as home:
        # Not with the theme that whoever runs this likes.
        os.environ["XDG_CONFIG_HOME"] = home
        for name in wanted:
            asyncio.run(take(name, *SHOTS[name]))


if __name__ == "__main__":
    main()
