"""Two targets compared: the verdict of both, and a table of what differs, with the object on either side below it."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static
from textual.worker import get_current_worker

from explorer.analysis.diff import KINDS, Comparison, Difference, compare_snapshots
from explorer.model import Snapshot
from explorer.tui.keys import hidden
from explorer.tui.session import View
from explorer.tui.views import (
    SIDES,
    compared,
    comparison_table,
    counts_line,
    describe_difference,
    matched_line,
    select_differences,
    side_line,
)
from explorer.tui.views.details import Detail, RecordTable, describe
from explorer.tui.widgets import DetailPane, Split, VirtualTable

from .tables import TableScreen

__all__ = ("CompareScreen",)

_TONES = ("good", "warn", "bad")
_HINT = "v kind   z swap   1 2 in A, in B   = another target"


class CompareScreen(TableScreen):
    """A is what the other screens show, B the second target, until they are swapped."""

    EMPTY = "no difference"
    ROWS = "differences"
    FILTER_HINT = _HINT
    FILTER_ALWAYS = True
    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("v", "next_kind", "compare.kind", "Only tasks, fs_structs, mounts …; all again"),
        hidden("z", "swap", "compare.swap", "Swap the sides"),
        hidden("1", "side(0)", "compare.side-a", "The object as it is in A"),
        hidden("2", "side(1)", "compare.side-b", "The object as it is in B"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._comparison: Comparison | None = None
        self._other: View | None = None
        self._kind = ""
        self._swapped = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="sides"):
            for side in SIDES:
                with Horizontal(classes="side"):
                    yield Static(f" {side} ", classes="letter", markup=False)
                    yield Static(id=f"verdict{side}", classes="verdictword", markup=False)
                    yield Static(id=f"side{side}", classes="sidetext", markup=False)
            yield Static(id="matched", markup=False)
            yield Static(id="kinds", markup=False)
        yield from self.compose_filter()
        with Split():
            yield VirtualTable(id="rows", empty=self.EMPTY)
            yield DetailPane(id="detail")

    def header(self, view: View) -> str:
        other = self.shell.other
        return view.header if other is None else f"compare: {compared(view.snapshot, other.snapshot)}"

    # -- comparing -------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """The second target may be another one, too."""
        if self.shell.other is not self._other:
            self._shown = None
        super().catch_up()

    def show_view(self, view: View) -> None:
        self._other = self.shell.other
        if self._other is None:
            self.query_one("#matched", Static).update(Content("no second target: = asks for one"))
            return
        sides = (self._other, view) if self._swapped else (view, self._other)
        self.query_one("#matched", Static).update(Content("comparing …"))
        self._compare(*sides)

    @work(thread=True, exclusive=True, group="compare")
    def _compare(self, a: View, b: View) -> None:
        """Very many tasks take a while: not on the screen's time."""
        comparison = compare_snapshots(a.snapshot, b.snapshot, a.audit.findings, b.audit.findings)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._compared, comparison)

    def _compared(self, comparison: Comparison) -> None:
        if not self.is_there:
            return
        self._comparison = comparison
        for number, side in enumerate(SIDES):
            word, tone, text = side_line(comparison, number)
            verdict = self.query_one(f"#verdict{side}", Static)
            verdict.update(Content(f" {word} "))
            for each in _TONES:
                verdict.set_class(each == tone, each)
            self.query_one(f"#side{side}", Static).update(Content(text))
        self.query_one("#matched", Static).update(Content(f" {matched_line(comparison)}"))
        self._fill()

    def make_source(self, view: View) -> RecordTable[Any]:
        comparison = self._comparison
        rows = [] if comparison is None else select_differences(comparison, self._kind)
        return comparison_table(rows)

    def _fill(self) -> None:
        """The rows that are wanted; the cursor stays with its difference, if that is among them."""
        view, comparison = self.shell.view, self._comparison
        if view is None or comparison is None:
            return
        old = self.difference(self.table.row)
        source = self.fresh_source(view)
        row = next((i for i, each in enumerate(source.records) if _same(each, old)), 0)
        self.query_one("#kinds", Static).update(Content(f" {counts_line(comparison, self._kind)}"))
        self.table.show(source, row)

    # -- the object on either side ---------------------------------------------------------------------------

    def difference(self, row: int) -> Difference | None:
        """The difference in a row."""
        found: Difference | None = self.record_at(row)
        return found

    def _snapshot(self, side: int) -> Snapshot | None:
        comparison = self._comparison
        return None if comparison is None else (comparison.a, comparison.b)[side]

    def _side_detail(self, difference: Difference, side: int) -> Detail | None:
        reference = (difference.a, difference.b)[side]
        snapshot = self._snapshot(side)
        return None if reference is None or snapshot is None else describe(reference, snapshot)

    def detail_of(self, row: int) -> Detail | None:
        difference = self.difference(row)
        if difference is None:
            return None
        self.pane.snapshot = self._snapshot(0 if difference.b is None else 1)
        return describe_difference(difference, lambda side: self._side_detail(difference, side))

    def action_side(self, side: int) -> None:
        difference = self.difference(self.table.row)
        if difference is None:
            return
        detail = self._side_detail(difference, side)
        if detail is None:
            self.shell.say(f"It is not in {SIDES[side]}.")
            return
        detail.title = f"{SIDES[side]}: {detail.title}"
        self.pane.snapshot = self._snapshot(side)
        self.pane.display = True
        self.pane.look_at(detail)
        self.pane.focus()

    def action_where(self) -> None:
        view = self.shell.view
        if view is not None and self.pane.snapshot is view.snapshot:
            super().action_where()
        else:
            self.shell.say("The other screens show the first target; this is in the second.")

    # -- what is shown ---------------------------------------------------------------------------------------

    def action_swap(self) -> None:
        self._swapped = not self._swapped
        self._shown = None
        self.catch_up()

    def action_next_kind(self) -> None:
        comparison = self._comparison
        if comparison is not None:
            kinds = ["", *(kind for kind in KINDS if comparison.count(kind))]
            at = kinds.index(self._kind) if self._kind in kinds else -1
            self._kind = kinds[(at + 1) % len(kinds)]
            self._fill()

    def filter_by(self, query: str) -> None:
        if not query and self._kind:
            self._kind = ""
            self._fill()
        super().filter_by(query)


def _same(one: Difference, other: Difference | None) -> bool:
    return other is not None and (one.kind, one.name, one.what) == (other.kind, other.name, other.what)
