"""Two screens over the others: the keys, made from the bindings; and one object, or the state of the app."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from explorer.tui.keys import hidden, shown
from explorer.tui.shell import shell_of

__all__ = ("TextScreen", "help_screen")

#: What help calls a group, and the first parts of the ids that are in it; what is in none is of the screen's own.
_GROUPS = (
    ("go to", ("go",)),
    ("on this screen", ()),
    ("filter", ("filter", "facets")),
    ("detail", ("detail",)),
    ("copy and export", ("copy", "export")),
    ("recording", ("frame",)),
    ("move", ("table", "door", "text")),
    ("app", ("app",)),
)
_OWN = "on this screen"
_ABOUT_FILTERS = ("filter", "clear", "last-filter", "facets")
_KEYS_WIDTH = 14
_SENTENCE_WIDTH = 48


def _group_of(id: str) -> str:
    first, _, last = id.partition(".")
    if last in _ABOUT_FILTERS:
        return "filter"
    return next((title for title, firsts in _GROUPS if first in firsts), _OWN)


def help_lines(bindings: Sequence[ActiveBinding], keys: dict[str, str]) -> list[str]:
    """One line an action, by what it belongs to. :param keys: key -> how it is shown"""
    grouped: dict[str, dict[str, tuple[list[str], str]]] = {title: {} for title, _ in _GROUPS}
    for active in bindings:
        binding = active.binding
        if not binding.id or binding.system:
            continue
        group = grouped[_group_of(binding.id)]
        names, _ = group.setdefault(binding.id, ([], binding.tooltip or binding.description))
        names.append(keys.get(binding.key, binding.key))
    lines: list[str] = []
    for title, actions in grouped.items():
        if not actions:
            continue
        lines += ["", title] if lines else [title]
        for names, sentence in actions.values():
            first, *more = wrap(sentence, _SENTENCE_WIDTH) or [""]
            shown = " ".join(names)
            if len(shown) > _KEYS_WIDTH:
                lines.append(f"  {shown}")
                shown = ""
            lines.append(f"  {shown:<{_KEYS_WIDTH}} {first}")
            lines += [f"  {'':<{_KEYS_WIDTH}} {line}" for line in more]
    return [*lines, "", "nullfs-explorer keys lists the ids by which settings.json", "moves any of them"]


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

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with

    def action_copy(self) -> None:
        shell_of(self).copy_text(self._text)

    def action_scroll(self, step: int) -> None:
        self.query_one("#textbody").scroll_relative(y=step, animate=False)


def help_screen(app: App[Any]) -> TextScreen:
    """The keys that work on the screen that is shown."""
    bindings = list(app.screen.active_bindings.values())
    keys = {active.binding.key: app.get_key_display(active.binding) for active in bindings}
    return TextScreen("keys that work here", help_lines(bindings, keys))
