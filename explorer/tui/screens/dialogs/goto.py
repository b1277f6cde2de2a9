"""Go to anything that has a number: an address from an oops, a pid, a mount's id, a namespace's inode number."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from explorer.analysis import Located, locate
from explorer.model import escape_text
from explorer.tui.faults import Guarded
from explorer.tui.shell import Shell, shell_of
from explorer.tui.widgets import NO_CONTROL

__all__ = ("GoToPrompt",)

_HINT = "0xffff…, a pid, a mount's id, a namespace's inode number"
_SHOWN = 200
_MAX_LENGTH = 64


class GoToPrompt(Guarded, ModalScreen[None]):
    """What is typed is looked up at once; enter goes to the object that is chosen among those found."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "down", "move(1)", "Next", id="goto.next", priority=True, tooltip="The next of what was found"
        ),
        Binding(
            "up",
            "move(-1)",
            "Previous",
            id="goto.previous",
            priority=True,
            tooltip="The one before",
            show=False,
        ),
        Binding("enter", "go", "Go there", id="goto.go", priority=True, tooltip="To what is chosen"),
        Binding("escape", "dismiss", "Close", id="goto.close", priority=True, tooltip="Stay where you are"),
    ]
    AUTO_FOCUS = "#where"

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Located] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="promptbox") as box:
            box.border_title = Content("go to")
            yield Input(
                id="where", restrict=NO_CONTROL, placeholder=_HINT, compact=True, max_length=_MAX_LENGTH
            )
            yield OptionList(id="located", markup=False)
            yield Static(id="promptstate", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @property
    def shell(self) -> Shell:
        return shell_of(self)

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with
        self.query_one("#located", OptionList).can_focus = False

    @on(Input.Changed, "#where")
    def _typed(self, event: Input.Changed) -> None:
        view = self.shell.view
        self._found = [] if view is None else locate(event.value, view.snapshot)
        options = self.query_one("#located", OptionList)
        options.clear_options()
        options.add_options(
            Option(Content(escape_text(f"{each.reference.kind} {each.reference.label}   {each.words}")))
            for each in self._found[:_SHOWN]
        )
        options.highlighted = 0 if self._found else None
        self.query_one("#promptstate", Static).update(Content(self._said(event.value)))

    def _said(self, text: str) -> str:
        if len(self._found) > _SHOWN:
            return f"and {len(self._found) - _SHOWN} more"
        return "" if self._found or not text.strip() else "nothing in this snapshot has or holds that"

    def action_move(self, step: int) -> None:
        options = self.query_one("#located", OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(OptionList.OptionSelected, "#located")
    def action_go(self) -> None:
        chosen = self.query_one("#located", OptionList).highlighted
        if chosen is not None and chosen < len(self._found):
            shell = self.shell
            self.dismiss()
            shell.go_to(self._found[chosen].reference)
