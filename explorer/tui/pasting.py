"""What is pasted is text: into a field as one line of it, and where no text is wanted it is nothing."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import App
from textual.widgets import Input

from explorer.model import escape_text

__all__ = ("MOST_PASTED", "one_line", "paste")

#: Longer than any path (PATH_MAX) and any query.
MOST_PASTED = 4096


def one_line(text: str) -> str:
    """Pasted text as a field may have it: its lines one after the other, what cannot be seen in visible form."""
    # Cut before and after: to escape all of 10 MB would take its time, and escapes are longer than what they stand for.
    lines = (line.strip() for line in text[: MOST_PASTED + 1].replace("\t", " ").splitlines())
    # A backslash is one: what is copied from the screen is escaped already.
    parts = " ".join(line for line in lines if line).split("\\")
    return "\\".join(escape_text(part) for part in parts)[:MOST_PASTED]


def paste(app: App[Any], text: str) -> None:
    """Give pasted text to the field that has the focus."""
    field = app.focused
    if not isinstance(field, Input):
        _say(app, "Nothing here takes text: what was pasted is left out.")
        return
    field._forward_event(events.Paste(one_line(text)))
    if len(text) > MOST_PASTED:
        _say(app, f"What was pasted is cut off after {MOST_PASTED:,} characters.")


def _say(app: App[Any], text: str) -> None:
    """Once, and not again while it can be read."""
    if all(notice.message != text for notice in app._notifications):
        app.notify(text, markup=False)
