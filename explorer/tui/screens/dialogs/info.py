"""A text over the other screens: one object, or the state of the app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer

from explorer.tui.keys import hidden, shown
from explorer.tui.shell import shell_of
from explorer.tui.widgets import TextView

__all__ = ("TextScreen",)


class TextScreen(ModalScreen[None]):
    """Lines of escaped text, to be read, searched, copied and closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        shown("escape,q,question_mark", "dismiss", "text.close", "Close", "Close this"),
        shown("c,y", "copy", "text.copy", "Copy", "Copy all of it"),
        hidden("down,j", "scroll(1)", "text.down", "A line down"),
        hidden("up,k", "scroll(-1)", "text.up", "A line up"),
    ]
    AUTO_FOCUS = "#textbody"

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._text = "\n".join(lines)

    def compose(self) -> ComposeResult:
        with Vertical(id="textbox") as box:
            box.border_title = Content(self._title)
            yield self.make_view()
        yield Footer(show_command_palette=False, compact=True)

    @property
    def is_there(self) -> bool:
        """Whether it can be asked for its text: not while it is taken down, and the last keys still come."""
        return bool(self.query("#textbody"))

    def make_view(self) -> TextView:
        """What the text is read in."""
        return TextView(self._text, body="textbody")

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with

    def action_copy(self) -> None:
        shell_of(self).copy_text(self._text)

    def action_scroll(self, step: int) -> None:
        if self.is_there:
            self.query_one("#textbody").scroll_relative(y=step, animate=False)
