"""The filter: an input that gives the focus back at once, so that keys typed ahead go where they belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from explorer.analysis.query import Completion

__all__ = ("NO_CONTROL", "FilterBox")

#: What may be in it: an input shows what is pasted as it is, so control characters stay out.
NO_CONTROL = r"[^\x00-\x1f\x7f-\x9f]*"
_MOST_REMEMBERED = 50


def _key(keys: str, action: str, id: str, label: str, sentence: str, show: bool = False) -> Binding:
    return Binding(keys, action, label, show=show, priority=True, id=id, tooltip=sentence)


class FilterBox(Input):
    """Its keys are handled before the next one is dispatched, as ordinary ones are not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("enter", "leave", "filter.leave", "To the rows", "To the rows, with the filter as it is", True),
        _key("escape", "clear", "filter.close", "Clear", "Clear the filter, and to the rows", True),
        _key(
            "tab",
            "complete(1)",
            "filter.complete",
            "Complete",
            "Complete the word, then the next choice",
            True,
        ),
        _key("shift+tab", "complete(-1)", "filter.complete-back", "Complete", "The choice before"),
        _key("up", "recall(1)", "filter.older", "Older", "The filter before, of those that were used"),
        _key(
            "down", "recall(-1)", "filter.newer", "Newer", "The filter after; after the newest: to the rows"
        ),
    ]

    class Offered(Message):
        """What the word at the cursor may become."""

        def __init__(self, box: FilterBox, words: tuple[str, ...], chosen: str) -> None:
            super().__init__()
            self.box = box
            self.words = words
            """None: nothing is known that fits."""
            self.chosen = chosen

        @property
        def control(self) -> FilterBox:
            return self.box

    def __init__(self, *, id: str, placeholder: str = "", goal: str = "#rows") -> None:
        """:param goal: what has the keyboard when this is left"""
        super().__init__(id=id, restrict=NO_CONTROL, compact=True, placeholder=placeholder)
        self.completer: Callable[[str], Completion] | None = None
        self.used: list[str] = []
        """Filters that were left as they were, the last one last."""
        self._goal = goal
        self._recalled = 0
        """How many filters back it is; 0: what is typed."""
        self._typed = ""
        self._choices: tuple[str, ...] = ()
        self._choice = -1
        self._start = 0
        self.made = ""
        """What completion has made of the text: whatever else is there was typed."""

    @property
    def is_at_end(self) -> bool:
        """Whether somebody types on at the end of what is in it."""
        return self.has_focus and self.cursor_position == len(self.value)

    def remember(self) -> None:
        """Put what is in it among the filters that were used."""
        text = self.value.strip()
        if text:
            self.used = [*(each for each in self.used if each != text), text][-_MOST_REMEMBERED:]
        self._recalled = 0

    def action_leave(self) -> None:
        self.remember()
        # Widget.focus() would do it later: after the next key.
        self.screen.set_focus(self.screen.query_one(self._goal))

    def action_clear(self) -> None:
        self.remember()
        self.value = ""
        self.screen.set_focus(self.screen.query_one(self._goal))

    def action_recall(self, step: int) -> None:
        if step < 0 and not self._recalled:
            self.action_leave()
            return
        if not self._recalled:
            self._typed = self.value
        # What stands there now is no other filter.
        known = [each for each in self.used if each != self._typed.strip()]
        self._recalled = max(0, min(self._recalled + step, len(known)))
        self._put(known[-self._recalled] if self._recalled else self._typed)

    def _put(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)

    def action_complete(self, step: int) -> None:
        """First as far as all choices agree, then one after the other."""
        if self.completer is None:
            return
        rest = self.value[self.cursor_position :]
        if self._choices and self.value == self.made:
            self._choice = (self._choice + step) % len(self._choices) if self._choice >= 0 else min(step, 0)
            word = self._choices[self._choice]
            self._replace(word, rest)
            self.post_message(self.Offered(self, self._choices, word))
            return
        found = self.completer(self.value[: self.cursor_position])
        self._choices, self._choice, self._start = found.words, -1, found.start
        if len(found.common) > self.cursor_position - found.start or len(found.words) == 1:
            self._replace(found.common, rest)
        self.made = self.value
        if len(found.words) == 1:
            self._choices = ()
        self.post_message(self.Offered(self, found.words, ""))

    def _replace(self, word: str, rest: str) -> None:
        """Put a word in the place of what is begun."""
        text = self.value[: self._start] + word
        self.value = text + rest
        self.cursor_position = len(text)
        self.made = self.value
