"""A screen in place of what cannot be shown: why, the ways on, and what is known below."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from explorer.tui.shell import Shell, shell_of

__all__ = ("NoticeScreen",)


class NoticeScreen(Screen[None]):
    """Three texts; the last may be long, and scrolls.

    :cvar BOX: the id of what scrolls; its text's is the same without "box"
    """

    BOX: ClassVar[str]

    def compose(self) -> ComposeResult:
        with Vertical(id="problem"):
            yield Static(id="reason", markup=False)
            yield Static(id="ways", markup=False)
            with VerticalScroll(id=self.BOX):
                yield Static(id=self.BOX.removesuffix("box"), markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @property
    def shell(self) -> Shell:
        return shell_of(self)

    def say(self, part: str, text: str) -> None:
        """Put text, as it is, into ``reason``, ``ways`` or what scrolls."""
        self.query_one(f"#{part}", Static).update(Content(text))
