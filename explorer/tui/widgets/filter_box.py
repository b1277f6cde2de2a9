"""The filter: an input that gives the focus back at once, so that keys typed ahead go where they belong."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

__all__ = ("NO_CONTROL", "FilterBox")

#: What may be in it: an input shows what is pasted as it is, so control characters stay out.
NO_CONTROL = r"[^\x00-\x1f\x7f-\x9f]*"


class FilterBox(Input):
    """Enter and escape leave it. They are handled before the next key is dispatched, as ordinary ones are not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,escape,down",
            "leave",
            "To the rows",
            show=False,
            priority=True,
            id="filter.leave",
            tooltip="To the rows, with the filter as it is",
        ),
    ]

    def action_leave(self) -> None:
        # Widget.focus() would do it later: after the next key.
        self.screen.set_focus(self.screen.query_one("#rows"))
