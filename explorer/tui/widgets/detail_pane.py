"""The detail pane: all that is known of one object, with links to follow and the way back."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType

from explorer.model import Reference, Snapshot
from explorer.output import fit
from explorer.tui.keys import hidden
from explorer.tui.shell import shell_of
from explorer.tui.views.details import Detail, DetailTable, Fact, describe

from .searching import Searching, search_keys
from .virtual_table import VirtualTable

__all__ = ("DetailPane",)

_MAX_HISTORY = 100
#: Terminal columns for the title of what one comes from.
_TRAIL = 30


class DetailPane(Searching, VirtualTable):
    """A table of facts. Enter follows a fact that leads somewhere; ``b`` goes back, ``B`` forward.

    Backspace goes back, too; where nothing was followed, to the screen that one came from.
    """

    CELLS = False
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("space", "choose", "detail.follow", "Follow a line that leads somewhere, as enter does"),
        hidden("b", "back", "detail.back", "Back to the object looked at before"),
        hidden("backspace", "leave", "detail.leave", "The same, then back to the screen that you came from"),
        hidden("B", "forward", "detail.forward", "Undo going back"),
        *search_keys("detail"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, empty="nothing is selected")
        self.snapshot: Snapshot | None = None
        self.detail: Detail | None = None
        self._past: list[Detail] = []
        self._future: list[Detail] = []
        self._unfolded: frozenset[str] = frozenset()
        self._wrapped_at = 0
        """How many terminal columns the pane had when its facts were wrapped."""

    def look_at(self, detail: Detail | None) -> None:
        """Show something else, with a history of its own."""
        self._past.clear()
        self._future.clear()
        self._show(detail)

    def renew(self, detail: Detail | None) -> None:
        """There is a new reading: show the same object as it is now, at the same line, with the same history."""
        row = self.row
        if self._past and self.detail is not None and self.snapshot is not None:
            detail = describe(self.detail.reference, self.snapshot)
        self.detail = detail
        self.show(self._table(), row)

    def _show(self, detail: Detail | None) -> None:
        self.detail = detail
        self._unfolded = frozenset()
        table = self._table()
        self.show(table, table.first_fact)

    def _table(self) -> DetailTable:
        """What is shown, wrapped to the width: the title too, with where one came from."""
        title = "detail" if self.detail is None else self.detail.title
        trail = "".join(f"{fit(past.title, _TRAIL)} ▸ " for past in self._past[-1:])
        self._wrapped_at = self.size.width
        return DetailTable(self.detail, self._wrapped_at - 1, f"{trail}{title}", self._unfolded)

    @property
    def trail(self) -> list[str]:
        """The titles of what was followed up to here, and of this; escaped."""
        return [detail.title for detail in (*self._past, self.detail) if detail is not None]

    @property
    def followed(self) -> tuple[Reference, ...]:
        """What was followed from the first object on, up to this."""
        after = (*self._past[1:], self.detail) if self._past else ()
        return tuple(detail.reference for detail in after if detail is not None)

    def was_followed_from(self, detail: Detail | None) -> bool:
        """Whether something was followed, and this is where that began."""
        if detail is None or not self._past:
            return False
        first = self._past[0]
        return (detail.reference, detail.title) == (first.reference, first.title)

    def header_text(self) -> str:
        return self.source.heading if isinstance(self.source, DetailTable) else "detail"

    # -- search ----------------------------------------------------------------------------------------------

    def lines_with(self, text: str) -> list[int]:
        return self.source.lines_with(text) if isinstance(self.source, DetailTable) else []

    def go_to_line(self, line: int) -> None:
        self.put_cursor(line)

    def fact(self) -> Fact | None:
        """The fact under the cursor."""
        return self.source.fact_at(self.row) if isinstance(self.source, DetailTable) else None

    def follow(self, reference: Reference) -> None:
        """Go to another object, and remember this one."""
        if self.snapshot is None:
            return
        if self.detail is not None:
            self._past = [*self._past, self.detail][-_MAX_HISTORY:]
        self._future.clear()
        self._show(describe(reference, self.snapshot))

    def action_choose(self) -> None:
        fact = self.fact()
        folded = self.source.folded_at(self.row) if isinstance(self.source, DetailTable) else None
        if folded is not None:
            self._unfolded |= {folded.name}
            self.show(self._table(), self.row)
        elif fact is not None and fact.target is not None:
            self.follow(fact.target)

    def action_back(self) -> None:
        if self._past and self.detail is not None:
            self._future.append(self.detail)
            self._show(self._past.pop())

    def action_leave(self) -> None:
        if self._past:
            self.action_back()
        else:
            shell_of(self).go_back()

    def action_forward(self) -> None:
        if self._future and self.detail is not None:
            self._past.append(self.detail)
            self._show(self._future.pop())

    def on_resize(self, event: events.Resize) -> None:
        # Facts are wrapped to the width.
        if self.detail is not None and event.size.width != self._wrapped_at:
            row = self.row
            self.show(self._table(), row)
