"""What is wrong, worst first: many of one rule in one row, what is accepted out of the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType

from explorer.model import Finding, escape_text
from explorer.output import RowSet
from explorer.tui.keys import shown
from explorer.tui.session import View
from explorer.tui.views.details import Detail, FindingRow, RecordTable, describe_row, findings_table
from explorer.tui.widgets import VirtualTable

from .tables import TableScreen

__all__ = ("FindingsScreen",)


class FindingsScreen(TableScreen):
    """Findings by severity. Enter opens a row of several, and goes into a finding: its evidence can be followed."""

    EMPTY = "no findings"
    ROWS = "findings"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("a", "accept", "findings.accept", "Accept", "Accept the finding, or take that back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._opened: set[str] = set()

    def make_source(self, view: View) -> RecordTable[Any]:
        room = self.table.scrollable_content_region.width
        return findings_table(
            view.audit.findings, self.shell.accepted.judge(view), self._opened, room or None
        )

    def detail_of(self, row: int) -> Detail | None:
        found = self.row_at(row)
        return None if found is None else describe_row(found)

    def row_at(self, row: int) -> FindingRow | None:
        found: FindingRow | None = self.record_at(row)
        return found

    def finding(self) -> Finding | None:
        """The finding under the cursor, the first of several."""
        found = self.row_at(self.table.row)
        return None if found is None else found.first

    def choose(self, row: int) -> None:
        found = self.row_at(row)
        if found is None or not found.is_head:
            super().choose(row)
            return
        self._opened ^= {found.fold}
        self._rebuild(row)

    def _rebuild(self, row: int) -> None:
        """Show the same findings, in other rows."""
        view = self.shell.view
        if view is not None:
            self.table.show(self.fresh_source(view), row)

    def action_accept(self) -> None:
        """All of a row: several of one rule, too."""
        found, view = self.row_at(self.table.row), self.shell.view
        if found is None or view is None:
            self.shell.say("There is no finding to accept.")
            return
        self.shell.say(self.shell.accepted.toggle(found.findings, view))
        self._rebuild(self.table.row)

    def show_finding(self, number: int) -> None:
        """Put the cursor on the n-th finding of the audit; the row that it is in is opened."""
        view = self.shell.view
        if view is None or not 0 <= number < len(view.audit.findings):
            return
        finding = view.audit.findings[number]
        if self.query_text:
            self.filter_by("")  # it may be among those that the filter does not let through
        records: list[FindingRow] = self.source().records
        head = next(
            (row for row in records if row.is_head and any(finding is each for each in row.findings)), None
        )
        if head is not None and not head.is_open:
            self._opened.add(head.fold)
            self._rebuild(0)
        rows: list[FindingRow] = self.source().records
        self.table.changed(next(n for n, row in enumerate(rows) if not row.is_head and row.first is finding))

    def row_set(self, view: View) -> RowSet | None:
        """Every finding, whatever is folded."""
        rows = super().row_set(view)
        if rows is None:
            return None
        by = self.shell.accepted.judge(view)
        chosen: list[FindingRow] = self.source().picked_records() or self.source().records
        once = {id(each): each for row in chosen for each in row.findings}
        findings = [each.model_copy(update={"accepted": by(each)}) for each in once.values()]
        header = ["severity", "title", "rule", "accepted"]
        cells = [[str(each.severity), each.title, each.rule, each.accepted or ""] for each in findings]
        return replace(
            rows, records=findings, header=header, rows=[[escape_text(cell) for cell in row] for row in cells]
        )

    @on(VirtualTable.Resized, "#rows")
    def _resized(self, event: VirtualTable.Resized) -> None:
        """What has room beside what was found is another thing now."""
        if self._shown is not None and self.is_there:
            self._rebuild(self.table.row)
