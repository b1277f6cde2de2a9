"""Two screens over the others: the keys, made from the bindings; and one object, or the state of the app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from explorer.tui.keys import hidden, shown

__all__ = ("TextScreen", "help_lines")

#: Groups of bindings, the first part of their ids: what is asked for most comes first.
_ORDER = ("go", "tasks", "overview", "detail", "copy", "app", "door", "table")


def help_lines(bindings: Sequence[ActiveBinding], keys: dict[str, str]) -> list[str]:
    """One line an action, by what it belongs to. :param keys: key -> how it is shown"""
    grouped: dict[str, dict[str, tuple[list[str], str]]] = {}
    for active in bindings:
        binding = active.binding
        if not binding.id or binding.system:
            continue
        group = grouped.setdefault(binding.id.partition(".")[0], {})
        names, _ = group.setdefault(binding.id, ([], binding.tooltip or binding.description))
        names.append(keys.get(binding.key, binding.key))
    lines = []
    for name in sorted(grouped, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
        actions = grouped[name]
        lines.append(name)
        lines += [f"  {' '.join(names):<16} {what}" for names, what in actions.values()]
        lines.append("")
    return lines


class TextScreen(ModalScreen[None]):
    """Lines of escaped text, to be read, copied and closed."""

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
            with VerticalScroll(id="textbody"):
                yield Static(Content(self._text), markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def action_copy(self) -> None:
        copy = getattr(self.app, "copy_text")  # noqa: B009  # the app is imported by nobody below it
        copy(self._text)

    def action_scroll(self, step: int) -> None:
        self.query_one("#textbody").scroll_relative(y=step, animate=False)
