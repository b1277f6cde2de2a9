"""A box of the overview: a world and who lives in it. Enter or a click goes inside."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from explorer.model import display_width
from explorer.tui.keys import hidden
from explorer.tui.views import Door

__all__ = ("DoorBox", "titled_width")

#: Terminal columns of border and padding around a box's lines; and of border and gaps around its title.
_FRAME = 4
_TITLE_FRAME = 6


def titled_width(door: Door) -> int:
    """Terminal columns of a box that has its title in the border."""
    lines = max(map(display_width, door.lines), default=0) + _FRAME
    return max(lines, display_width(door.title) + _TITLE_FRAME)


class DoorBox(Static, can_focus=True):
    """Shows a :class:`Door`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("enter,space", "enter", "door.enter", "The tasks in this box"),
        hidden("right,l", "app.focus_next", "door.next", "The next box"),
        hidden("left,h", "app.focus_previous", "door.previous", "The box before"),
    ]

    class Entered(Message):
        """The user goes in."""

        def __init__(self, door: Door) -> None:
            super().__init__()
            self.door = door

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._door: Door | None = None

    def show_door(self, door: Door | None, folded: bool) -> None:
        """Show a box; ``None``: none. :param folded: with its short title inside, for want of width"""
        self._door = door
        self.display = door is not None
        if door is not None:
            lines = [door.short, *door.lines] if folded else [*door.lines]
            self.border_title = None if folded else Content(door.title)
            width = display_width(door.title) + _TITLE_FRAME - _FRAME
            lines[0] += "" if folded else " " * max(0, width - display_width(lines[0]))
            self.update(Content("\n".join(lines)))
            self.can_focus = bool(door.query or door.count)
            self.tooltip = Content(f"{door.title}: enter for its tasks") if self.can_focus else None

    def action_enter(self) -> None:
        if self._door is not None and self.can_focus:
            self.post_message(self.Entered(self._door))

    def on_click(self) -> None:
        self.action_enter()
