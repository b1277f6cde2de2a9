"""Whether the app is to end: for ctrl+c, which elsewhere ends a program, and is often meant to copy."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from explorer.tui.keys import shown

__all__ = ("LeaveScreen",)


class LeaveScreen(ModalScreen[None]):
    """Asks. Another ctrl+c is an answer, too: the app's key for it says yes here."""

    CSS = """
    LeaveScreen { align: center middle; }
    #leave { width: auto; height: auto; border: round $primary; background: $surface; padding: 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("enter,y,q", "app.quit", "leave.yes", "Quit", "End the app", first=True),
        shown("escape,n", "dismiss", "leave.no", "Stay", "Back to where you were", first=True),
    ]

    def compose(self) -> ComposeResult:
        box = Static(
            Content("enter or ctrl+c ends nullfs-explorer, esc stays"),
            id="leave",
            markup=False,
        )
        box.border_title = Content("quit?")
        yield box
        yield Footer(show_command_palette=False, compact=True)
