"""Drives the real app on a saved snapshot and writes what it shows, as SVG and as PNG: ``make screenshots``.

The files are committed: the README shows the PNGs, since a forge shows an SVG in whatever fonts the reader has, and box
drawing then has gaps. Chromium draws them, which the tests need anyway, in DejaVu Sans Mono. Same app, same bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
#: ``nullfs-explorer snapshot sample -o screenshots/sample.json.zst``: saved, so that no time in it changes.
SAVED = HERE / "sample.json.zst"
#: A kernel before and after its PID 1 abandoned ``userspace_init_fs``, saved in the same way, to compare.
BEFORE, AFTER = HERE / "healthy.json.zst", HERE / "abandoned.json.zst"
#: A boot of 7.3, recorded by ``make recording``.
BOOT = ROOT / "tests" / "data" / "boot-7.3.nxrec"
#: Lookups of a guest of 7.3 that was traced while its own module asked for them: some fail, some are borrowed.
TRACE = ROOT / "tests" / "data" / "trace" / "saved-7.3.jsonl"
#: Pixels of a PNG for one of the SVG: text of 16 pixels.
SCALE = 0.75
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: the size of the terminal, and the keys that lead there."""

    size: tuple[int, int]
    keys: tuple[str, ...] = ()
    theme: str = "nullfs-dark"
    saved: Path = SAVED
    compare: bool = False
    recording: Path | None = None
    trace: Path | None = None
    """Either of them: instead of a snapshot."""


WIDE = (120, 34)
SHOTS = {
    "overview": Shot(WIDE),
    "overview-80x24": Shot((80, 24)),
    "abandoned": Shot((120, 26), saved=AFTER),
    "overview-light": Shot(WIDE, theme="nullfs-light"),
    "tasks": Shot(WIDE, ("t", "enter", "j", "j")),
    "tasks-filtered": Shot(WIDE, ("t", "slash", *"root:chroot or borrowing", "enter", "j")),
    "tasks-80x24": Shot((80, 24), ("t",)),
    "fs_structs": Shot(WIDE, ("f", "j")),
    "mounts": Shot(WIDE, ("m", "j", "j")),
    "subsystems": Shot(WIDE, ("s", "j", "j", "j")),
    "findings": Shot(WIDE, ("n",)),
    "detail": Shot((160, 30), ("t", "slash", *"pid:142", "enter", "enter", "enter")),
    "compare": Shot(WIDE, saved=BEFORE, compare=True),
    "boot": Shot(WIDE, ("left_curly_bracket", *["right_square_bracket"] * 5), recording=BOOT),
    "lookups": Shot(WIDE, ("G", "enter"), trace=TRACE),
    "timeline": Shot(WIDE, ("left_curly_bracket", *["right_square_bracket"] * 5, "L"), recording=BOOT),
}


async def draw(shot: Shot) -> str:
    """Press the keys; the screen that they lead to, as SVG without a font from elsewhere."""
    from explorer.codec import load_snapshot
    from explorer.tui import ExplorerApp
    from explorer.tui.session import Session, View

    if shot.recording is not None:
        app = ExplorerApp(Session((str(shot.recording),), recording=shot.recording))
    elif shot.trace is not None:
        app = ExplorerApp(Session((str(shot.trace),), trace=shot.trace))
    else:
        app = ExplorerApp(snapshot=load_snapshot(shot.saved))
    async with app.run_test(size=shot.size) as pilot:
        app.theme = shot.theme
        await pilot.pause()
        while app.view is None and not app.tracing.is_file:
            await pilot.pause(0.1)
        await app.workers.wait_for_complete()
        if shot.compare:
            await app.show_other(View(load_snapshot(AFTER)))
        for key in shot.keys:
            await pilot.press(key)
            await app.workers.wait_for_complete()
            await pilot.pause()
        await app.workers.wait_for_complete()
        app.clear_notifications()
        await pilot.pause()
        svg = app.export_screenshot(title=app.title)
    # In a line that is 24.4 high, box drawing of this font meets from 21 on; the width of a text is given anyway.
    svg = svg.replace("font-size: 20px", "font-size: 21px")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)


def paint(svg: Path, png: Path, home: Path) -> None:
    """The picture as PNG. :raises subprocess.CalledProcessError: if chromium does not draw it"""
    from tests.tui.browser import chromium

    found = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg.read_text("utf-8"))
    assert found is not None
    width, height = (int(float(size)) for size in found.groups())
    page = home / "page.html"
    page.write_text(
        f"<!DOCTYPE html><style>body{{margin:0;background:#fff}}svg{{width:{width}px}}</style>{svg.read_text('utf-8')}",
        "utf-8",
    )
    command = [
        chromium(),
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--force-device-scale-factor={SCALE}",
        "--disable-lcd-text",
        "--font-render-hinting=none",
        f"--user-data-dir={home / 'profile'}",
        f"--window-size={width},{height}",
        f"--screenshot={png}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """All of them, or those named on the command line."""
    sys.path.insert(0, str(ROOT))
    wanted = sys.argv[1:] or list(SHOTS)
    with tempfile.TemporaryDirectory() as home:
        # Not with the theme that whoever runs this likes.
        os.environ["XDG_CONFIG_HOME"] = home
        for name in wanted:
            svg = HERE / f"{name}.svg"
            svg.write_text(asyncio.run(draw(SHOTS[name])), encoding="utf-8")
            paint(svg, svg.with_suffix(".png"), Path(home))


if __name__ == "__main__":
    main()
