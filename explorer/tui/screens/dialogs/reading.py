"""While a target is being read: for what the user waits, how far it is, and how to stop it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from explorer.model import escape_text
from explorer.tui.keys import shown
from explorer.tui.shell import shell_of

__all__ = ("ReadingScreen",)

_TICK_S = 0.5


class ReadingScreen(Screen[None]):
    """Nothing is shown but how far it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        shown("escape", "app.stop_reading", "reading.stop", "Stop", "End the reader"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(id="reading"):
            yield Static(id="what", markup=False)
            yield Static(id="far", markup=False)
            yield Static("esc stops it", id="hint", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.set_interval(_TICK_S, self.tick)
        self.tick()

    def tick(self) -> None:
        """Say how far it is."""
        source = shell_of(self).source
        target = escape_text(source.session.target)
        self.query_one("#what", Static).update(Content(f"Reading {target}"))
        self.query_one("#far", Static).update(
            Content(f"{source.target.progress}   {source.target.seconds:.0f} s")
        )
