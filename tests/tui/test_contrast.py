"""Contrast of what is really drawn: every text of every screen, placeholders and hints with it, in our own themes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from rich.color import Color
from textual.geometry import Region
from textual.widgets import Input
from textual.widgets._toast import Toast

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.session.state import View
from explorer.tui.themes import THEMES

from .conftest import Pilots, press
from .test_themes import _AA, contrast


def _hex(colour: Color | None) -> str | None:
    triplet = None if colour is None or colour.is_default else colour.get_truecolor()
    return None if triplet is None else triplet.hex


def faint_texts(app: ExplorerApp, box: str = "") -> Iterator[tuple[str, float]]:
    """Texts on the screen, the cursor's line too, whose contrast is below AA.

    :param box: of a dialog: only what is in it, as what is behind it is dimmed because it cannot be used
    """
    size = app.screen.size
    inside = app.screen.query_one(box).region if box else Region(0, 0, size.width, size.height)
    for strip in app.screen._compositor.render_strips()[inside.y : inside.bottom]:
        for segment in strip.crop(inside.x, inside.right):
            style = segment.style
            if style is None or not any(letter.isalnum() for letter in segment.text):
                continue
            text, ground = _hex(style.color), _hex(style.bgcolor)
            assert text is not None and ground is not None, f"no colours: {segment}"
            ratio = contrast(text, ground)
            if ratio < _AA or style.dim:
                yield segment.text.strip(), round(ratio, 2)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_no_text_of_any_screen_is_fainter_than_the_guidelines_allow(saved: Snapshot, theme: object) -> None:
    app = ExplorerApp(snapshot=saved)
    name = getattr(theme, "name")  # noqa: B009
    faint: dict[str, list[tuple[str, float]]] = {}

    def look(where: str, box: str = "") -> None:
        found = [*faint_texts(app, box)]
        if found:
            faint[where] = found[:6]

    async def steps(pilot: Pilots) -> None:
        app.theme = name
        await press(pilot)
        look("overview")
        for key, where in (("t", "tasks"), ("f", "fs_structs"), ("m", "mounts"), ("s", "subsystems")):
            await press(pilot, key)
            look(where)
        await press(pilot, "n", "c")
        assert app.screen.query(Toast)
        look("findings and a toast")
        await press(pilot, "t", "slash")
        assert app.screen.query_one("#filter", Input).has_focus
        look("filter with the focus")
        await press(pilot, "x", "y", "colon")
        look("filter with an error")
        await press(pilot, "escape", "escape", "x")
        look("export", "#exportbox")
        await press(pilot, "escape", "question_mark")
        look("help", "#textbox")
        await press(pilot, "escape", "equals_sign")
        app.screen.query_one("#target", Input).value = ""
        await press(pilot)
        look("the dialog that asks for a second target", "#promptbox")
        await press(pilot, "escape")
        await app.show_other(View(saved))
        await press(pilot)
        look("comparison")
        await press(pilot, "ctrl+p")
        look("palette", "CommandPalette > Vertical")

    async def run() -> None:
        async with app.run_test(size=(130, 30), notifications=True) as pilot:
            await steps(pilot)

    asyncio.run(run())
    assert not faint, faint
