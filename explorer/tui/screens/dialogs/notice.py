"""A screen in place of what cannot be shown: why, the ways on, and what is known below."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from explorer.tui.shell import Shell, shell_of
from explorer.tui.widgets import TextView

__all__ = ("NoticeScreen",)


class NoticeScreen(Screen[None]):
    """Three texts; the last may be long: it scrolls, and can be searched.

    :cvar BOX: the id of what scrolls; its text's is the same without "box"
    """

    BOX: ClassVar[str]

    def compose(self) -> ComposeResult:
        with Vertical(id="problem"):
            yield Static(id="reason", markup=False)
            yield Static(id="ways", markup=False)
            yield TextView(body=self.BOX, text_id=self.BOX.removesuffix("box"))
        yield Footer(show_command_palette=False, compact=True)

    @property
    def shell(self) -> Shell:
        return shell_of(self)

    def say(self, part: str, text: str) -> None:
        """Put text, as it is, into ``reason``, ``ways`` or what scrolls."""
        if part == self.BOX.removesuffix("box"):
            self.query_one(TextView).show_text(text)
        else:
            self.query_one(f"#{part}", Static).update(Content(text))
