"""Searching for a text in what is shown in lines: the same keys wherever there are lines to be read."""

from __future__ import annotations

from textual.binding import BindingType

from explorer.tui.keys import hidden

__all__ = ("Searching", "search_keys")


def search_keys(prefix: str) -> list[BindingType]:
    """:param prefix: of the bindings' ids"""
    return [
        hidden("n", "match(1)", f"{prefix}.next-match", "The next line with what was searched for"),
        hidden("N", "match(-1)", f"{prefix}.previous-match", "The line with it before"),
    ]


class Searching:
    """Goes from match to match; what a line is, and how one goes to it, the widget knows that it is mixed into."""

    wanted = ""
    """What is searched for."""
    row = 0
    """The line that one is in."""

    def lines_with(self, text: str) -> list[int]:
        """The lines in which a text stands, in any case."""
        raise NotImplementedError

    def go_to_line(self, line: int) -> None:
        """Make it the line that one is in, and show it."""
        raise NotImplementedError

    def matches(self) -> list[int]:
        """The lines that have what is searched for."""
        return self.lines_with(self.wanted) if self.wanted else []

    def search(self, text: str) -> None:
        """Search for a text: to the first line that has it, from where one is."""
        self.wanted = text
        found = self.matches()
        if found:
            self.go_to_line(next((line for line in found if line >= self.row), found[0]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where nothing is searched for, its keys mean what they do elsewhere."""
        return action != "match" or bool(self.wanted)

    def action_match(self, step: int) -> None:
        found = self.matches()
        after = [line for line in found if (line - self.row) * step > 0]
        if after:
            self.go_to_line(after[0 if step > 0 else -1])
        else:
            self.past_the_last(found, step)

    def past_the_last(self, found: list[int], step: int) -> None:
        """There is no further one in this direction: from the other end."""
        if found:
            self.go_to_line(found[0 if step > 0 else -1])
