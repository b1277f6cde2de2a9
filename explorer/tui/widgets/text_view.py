"""A text to be read: it scrolls, and is searched as the detail is, with ``/``, ``n`` and ``N``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from explorer.tui.keys import hidden, shown

from .filter_bar import SearchBar
from .searching import Searching, search_keys

__all__ = ("TextView", "lines_with")

#: No colour is needed for either.
_FOUND, _HERE = "underline bold", "reverse"


class TextView(Searching, Vertical):
    """Lines of escaped text, which are wrapped to the width. What is found is marked in them."""

    DEFAULT_CSS = """
    TextView { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("slash", "search", "text.search", "Search", "Search in this text", first=True),
        *search_keys("text"),
        hidden("escape", "end_search", "text.end-search", "Search for nothing any longer"),
    ]

    def __init__(self, text: str = "", *, body: str, text_id: str | None = None) -> None:
        """:param body: the id of what scrolls; :param text_id: of what is in it"""
        super().__init__()
        self.text = text
        self._body, self._text_id = body, text_id

    def compose(self) -> ComposeResult:
        with VerticalScroll(id=self._body):
            yield Static(Content(self.text), id=self._text_id, markup=False)
        yield SearchBar(goal=f"#{self._body}")

    @property
    def body(self) -> VerticalScroll:
        return self.query_one(f"#{self._body}", VerticalScroll)

    def show_text(self, text: str) -> None:
        """Show another text, from its beginning."""
        if text != self.text:
            self.text, self.row = text, 0
            self._mark()
            self.body.scroll_home(animate=False)

    # -- search ----------------------------------------------------------------------------------------------

    def lines_with(self, text: str) -> list[int]:
        return lines_with(text, self.text.split("\n"))

    def go_to_line(self, line: int) -> None:
        self.row = line
        self._mark()
        self.call_after_refresh(self._bring_in)  # the text may be another one than is laid out

    def _bring_in(self) -> None:
        """Where the match is not on the screen: a third down, so that what is above it is read, too."""
        if not self.query(f"#{self._body}"):
            return  # it was closed in the meantime
        body, place = self.body, self._place_of(self.row)
        top, height = round(body.scroll_y), max(1, body.size.height)
        if not top <= place < top + height:
            body.scroll_to(y=max(0, place - height // 3), animate=False, force=True)

    def _mark(self) -> None:
        """Mark what is found; in the line that one is in, otherwise."""
        content = Content(self.text)
        if self.wanted:
            ends = list(accumulate(len(line) + 1 for line in self.text.split("\n")))
            first, last = (ends[self.row - 1] if self.row else 0), ends[self.row]
            for found in _pattern(self.wanted).finditer(self.text):
                style = _HERE if first <= found.start() < last else _FOUND
                content = content.stylize(style, found.start(), found.end())
        self.body.query_one(Static).update(content)

    def _place_of(self, line: int) -> int:
        """How many lines of the screen are above the match in a line of the text."""
        width = max(1, self.body.query_one(Static).size.width)
        lines = self.text.split("\n")
        above = sum(len(_wrapped(each, width)) for each in lines[:line])
        found = _pattern(self.wanted).search(lines[line])
        start, at = 0, 0 if found is None else found.start()
        for number, part in enumerate(_wrapped(lines[line], width)):
            start = lines[line].find(part, start) + len(part)
            if at < start:
                return above + number
        return above

    def say_found(self) -> None:
        """In the bar: how many lines there are."""
        self.query_one(SearchBar).say(len(self.matches()))

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        self.search(event.value)
        self._mark()
        self.say_found()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "search":  # in the bar a slash is a slash
            return not isinstance(self.screen.focused, Input)
        if action == "end_search":
            return bool(self.wanted)
        return super().check_action(action, parameters)

    def action_search(self) -> None:
        self.query_one(SearchBar).open()

    def action_end_search(self) -> None:
        self.query_one(SearchBar).close()


def lines_with(text: str, lines: Sequence[str]) -> list[int]:
    """The numbers of the lines that have a text, in any case."""
    wanted = _pattern(text)
    return [number for number, line in enumerate(lines) if wanted.search(line)]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _wrapped(line: str, width: int) -> list[str]:
    """The lines of the screen that a line of the text takes: one at least."""
    return [part.plain for part in Content(line).wrap(width)] or [line]
