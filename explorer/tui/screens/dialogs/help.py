"""Help: the keys that work here, made from the bindings; queries to run, the words, the colours."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, ClassVar

from textual.app import App
from textual.binding import ActiveBinding, BindingType
from textual.content import Content

from explorer.tui.keys import hidden, shown
from explorer.tui.shell import shell_of
from explorer.tui.views import QUERIES, help_colours, help_queries, help_words
from explorer.tui.widgets import SearchBar, TextView, lines_with

from .info import TextScreen

__all__ = ("HelpScreen", "help_screen")

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


class _Pages(TextView):
    """A page of several: where one has no more of what is searched for, the next one is looked through."""

    def past_the_last(self, found: list[int], step: int) -> None:
        screen = self.screen
        if not isinstance(screen, HelpScreen) or not screen.turn_to(self.wanted, step):
            super().past_the_last(found, step)
            return
        self.say_found()
        matches = self.matches()
        self.go_to_line(matches[0 if step > 0 else -1])

    def say_found(self) -> None:
        screen = self.screen
        others = screen.found_elsewhere(self.wanted) if isinstance(screen, HelpScreen) and self.wanted else 0
        elsewhere = f", {others} on other pages: n" if others else ""
        self.query_one(SearchBar).say(len(self.matches()), elsewhere)


class HelpScreen(TextScreen):
    """Pages of help. On that of the queries a digit runs one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        shown("tab,right", "page(1)", "help.next", "Next page", "The next page of help"),
        hidden("shift+tab,left", "page(-1)", "help.previous", "The page before"),
        *(
            hidden(key, f"run({key!r})", f"help.query-{key}", f"Run the query {query}")
            for key, (query, _) in QUERIES.items()
        ),
    ]

    def __init__(self, keys: Sequence[str]) -> None:
        """:param keys: the lines of the first page"""
        super().__init__("keys that work here", keys)
        self._keys = keys
        self._page = 0

    def _pages(self) -> tuple[tuple[str, Sequence[str]], ...]:
        width = max(40, self.query_one("#textbody").size.width - 2)
        return (
            ("keys that work here", self._keys),
            ("queries", help_queries(width)),
            ("words", help_words(width)),
            ("colours and signs", help_colours(width)),
        )

    def on_mount(self) -> None:
        super().on_mount()
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        if not self.is_there:
            return
        pages = self._pages()
        title, lines = pages[self._page]
        self._text = "\n".join(lines)
        box = self.query_one("#textbox")
        box.border_title = Content(title)
        box.border_subtitle = Content("  ".join(f"[{name}]" if name == title else name for name, _ in pages))
        self.query_one(_Pages).show_text(self._text)

    def make_view(self) -> TextView:
        return _Pages(self._text, body="textbody")

    def _counts(self, wanted: str) -> list[int]:
        """How many lines of each page have a text."""
        return [len(lines_with(wanted, lines)) for _, lines in self._pages()]

    def found_elsewhere(self, wanted: str) -> int:
        """How many lines of the other pages have a text."""
        counts = self._counts(wanted)
        return sum(counts) - counts[self._page]

    def turn_to(self, wanted: str, step: int) -> bool:
        """To the next page that has a text. False: no other has it."""
        counts = self._counts(wanted)
        pages = ((self._page + step * far) % len(counts) for far in range(1, len(counts)))
        page = next((each for each in pages if counts[each]), None)
        if page is not None:
            self._page = page
            self._show()
        return page is not None

    def action_page(self, step: int) -> None:
        if not self.is_there:
            return
        self._page = (self._page + step) % len(self._pages())
        self._show()
        self.query_one(_Pages).say_found()

    def action_run(self, key: str) -> None:
        shell = shell_of(self)
        if self._page == 1 and shell.view is not None:
            self.dismiss()
            shell.filter_tasks(QUERIES[key][0])


def help_screen(app: App[Any]) -> HelpScreen:
    """That of the screen that is shown."""
    bindings = list(app.screen.active_bindings.values())
    keys = {active.binding.key: app.get_key_display(active.binding) for active in bindings}
    return HelpScreen(help_lines(bindings, keys))
