"""Asks for the name under which a view is saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from explorer.model import escape_text
from explorer.tui.faults import Guarded
from explorer.tui.widgets import NO_CONTROL

__all__ = ("NamePrompt",)

_LONGEST = 40


class NamePrompt(Guarded, ModalScreen[str | None]):
    """Enter gives the name, escape none."""

    DEFAULT_CSS = """
    NamePrompt { align: center middle; }
    #namebox { width: 60; max-width: 90%; height: auto; border: round $primary; background: $surface; padding: 0 1; }
    #known { height: auto; max-height: 6; color: $secondary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="name.leave", priority=True, tooltip="Save nothing"),
    ]
    AUTO_FOCUS = "#name"

    def __init__(self, known: Sequence[str]) -> None:
        """:param known: names that there are; one of these is replaced"""
        super().__init__()
        self._known = known

    def compose(self) -> ComposeResult:
        with Vertical(id="namebox") as box:
            box.border_title = Content("save this view as")
            yield Input(
                id="name",
                restrict=NO_CONTROL,
                max_length=_LONGEST,
                compact=True,
                placeholder="a name; enter saves",
            )
            names = ", ".join(map(escape_text, self._known))
            yield Static(Content(f"replaces one of: {names}" if names else ""), id="known", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @on(Input.Submitted, "#name")
    def _submitted(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        if name:
            self.dismiss(name)

    def action_leave(self) -> None:
        self.dismiss(None)
