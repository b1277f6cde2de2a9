"""Screens that are a table and a detail pane."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from explorer.analysis.query import QueryError, toggle_term
from explorer.model import Record, Reference, escape_text
from explorer.output import RowSet
from explorer.tui.keys import hidden
from explorer.tui.screens.dialogs import ExportScreen
from explorer.tui.session import View
from explorer.tui.views.details import (
    Detail,
    RecordTable,
    describe,
    detail_text,
    drgn_expression,
    fs_table,
    row_text,
)
from explorer.tui.widgets import DetailPane, FacetPane, SearchBar, Split, VirtualTable

from .arranging import ArrangingScreen
from .places import Place

__all__ = ("FacetedScreen", "FsStructsScreen", "TableScreen")


class TableScreen(ArrangingScreen):
    """A table above (or left of) the detail of its selected row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("d", "toggle_detail", "detail.toggle", "Show or hide the detail pane"),
        hidden("c", "copy('row')", "copy.row", "Copy the marked rows, or the one under the cursor"),
        hidden("y", "copy('cell')", "copy.cell", "Copy the cell; in the detail the value"),
        hidden("Y", "copy('detail')", "copy.detail", "Copy the whole detail"),
        hidden("C", "copy_drgn", "copy.drgn", "Copy the drgn expression"),
        hidden("x", "export", "copy.export", "Export the marked rows, or all these: JSON, CSV, Markdown"),
        hidden("w", "where", "detail.where", "Show the detail's object in its own screen"),
        hidden(
            "D", "deeper", "detail.deeper", "From a task to its fs_struct, its root's mount, its namespace"
        ),
    ]

    def compose_body(self) -> ComposeResult:
        yield from self.compose_filter()
        with Split():
            yield VirtualTable(id="rows", empty=self.EMPTY)
            yield DetailPane(id="detail")

    _renewed: Reference | None = None
    """What was selected when a new reading came: its detail is brought up to date, and stays where it was."""

    @property
    def pane(self) -> DetailPane:
        return self.query_one("#detail", DetailPane)

    def here(self) -> list[str]:
        """In the detail also what was followed on the way to it."""
        return [*super().here(), *(self.pane.trail if self.is_there and self.pane.has_focus else ())]

    def place(self) -> Place:
        return replace(super().place(), followed=self.pane.followed, line=self.pane.row)

    def come_back(self, place: Place) -> bool:
        """In the detail, too: along what was followed there."""
        at = self.table.row
        is_found = super().come_back(place)
        if is_found and (self.table.row != at or self.pane.followed != place.followed):
            self.pane.look_at(self.detail_of(self.table.row))
            for reference in place.followed:
                self.pane.follow(reference)
            self.pane.put_cursor(place.line)
        return is_found

    @on(VirtualTable.Moved, "#detail")
    def _detail_moved(self) -> None:
        self.show_header()

    def make_source(self, view: View) -> RecordTable[Any]:
        """The table of a view."""
        raise NotImplementedError

    def record_at(self, row: int) -> Any:
        """The record that a row shows; ``None``: there is no such row."""
        return self.source().records[row] if self.has_row(row) else None

    def show_view(self, view: View) -> None:
        selected = self.selected()
        self.pane.snapshot = view.snapshot
        source = self.fresh_source(view)
        row = None if selected is None else source.find(selected)
        self._renewed = selected
        # Where the object is gone, the cursor stays at its place, not at the top.
        self.table.show(source, self.table.row if row is None else row)

    def select(self, reference: Reference) -> bool:
        """Put the cursor on an object. False: it is not in this table."""
        source = self.source()
        row = None if source is None else source.find(reference)
        if source is not None and row is None and self.query_text:
            self.filter_by("")
            row = source.find(reference)
        if row is not None:
            self.table.changed(row)
            self.table.focus()
        return row is not None

    def detail_of(self, row: int) -> Detail | None:
        """What the pane shows for a row."""
        reference = self.selected()
        view = self.shell.view
        return None if reference is None or view is None else describe(reference, view.snapshot)

    @on(VirtualTable.Moved, "#rows")
    def _moved(self, event: VirtualTable.Moved) -> None:
        renewed, self._renewed = self._renewed, None
        now, detail = self.selected(), self.detail_of(event.row)
        # By address: the name of a task changes when it executes another program.
        same = renewed and now and (renewed.kind, renewed.address) == (now.kind, now.address)
        if same or self.pane.was_followed_from(detail):
            self.pane.renew(detail)
        else:
            self.pane.look_at(detail)

    @on(VirtualTable.Chosen, "#rows")
    def _chosen(self, event: VirtualTable.Chosen) -> None:
        self.choose(event.row)

    def choose(self, row: int) -> None:
        """Enter on a row: into its detail."""
        self.pane.display = True
        self.pane.focus()

    def fresh_source(self, view: View) -> Any:
        """The table of a view, filtered, ordered and marked as the one before."""
        source = self.make_source(view)
        source.marks = self.shell.marks
        if isinstance(source, RecordTable):
            source.what = self.ROWS
        self.arrange_source(source)
        return source

    def action_filter(self) -> None:
        """Filters the rows; in the detail it searches."""
        if self.pane.has_focus:
            self.query_one(SearchBar).open()
        else:
            super().action_filter()

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        self.pane.search(event.value)
        self.query_one(SearchBar).say(len(self.pane.matches()))

    def leave_part(self) -> bool:
        if not self.pane.has_focus:
            return False
        if self.pane.wanted:
            self.query_one(SearchBar).close()
        else:
            self.table.focus()
        return True

    def action_toggle_detail(self) -> None:
        self.pane.display = not self.pane.display
        if not self.pane.display:
            self.table.focus()

    def action_copy(self, what: str) -> None:
        """To the clipboard and to a file. :param what: ``cell``, ``row`` or ``detail``"""
        detail, fact = self.pane.detail, self.pane.fact() if self.pane.has_focus else None
        if what == "detail":
            text = "" if detail is None else detail_text(detail)
        elif fact is not None:
            text = fact.value if what == "cell" else row_text([fact.name, fact.value])
        elif what == "row" and self.picked:
            source = self.source()
            text = "\n".join(row_text(self.texts_of(record)) for record in source.picked_records())
        elif what == "cell":
            text = self.table.cell_at_cursor()
        else:
            text = row_text(self.table.chosen(self.table.cells_at_cursor()))
        if text:
            self.shell.copy_text(text)
        else:
            self.shell.say(f"The {what} is empty: there is nothing to copy.")

    def row_set(self, view: View) -> RowSet | None:
        """The rows as the export writes them: those that are marked, or all; ``None``: there are none."""
        source = self.source()
        chosen = None if source is None else source.picked_records() or source.records
        if not chosen:
            return None
        records = list(map(self.record_of, chosen))
        kept = [record for record in records if record is not None]
        return RowSet(
            self.ROWS,
            view.snapshot,
            "" if source.picked else self.matched,
            kept or None,
            self.table.chosen([column.name for column in source.columns]),
            [
                self.texts_of(each)
                for each, record in zip(chosen, records, strict=True)
                if record is not None or not kept
            ],
        )

    def texts_of(self, row: Any) -> list[str]:
        """The columns that are shown of a row, as they are copied and exported."""
        return self.table.chosen([cell.taken.strip() for cell in self.source().cells_of(row)])

    def record_of(self, record: Any) -> Record | None:
        """What a row is in JSON; ``None``: it is none, as the head of a tree."""
        return record if isinstance(record, Record) else None

    def action_export(self) -> None:
        view = self.shell.view
        self.export(None if view is None else self.row_set(view))

    def export(self, rows: RowSet | None) -> None:
        """Ask for a format and a name, and write them."""
        if rows is None:
            self.shell.say("There are no rows to export.")
        else:
            self.app.push_screen(ExportScreen(rows), self._exported)

    def _exported(self, said: str | None) -> None:
        if said is not None:
            self.shell.say(said)

    def action_copy_drgn(self) -> None:
        view = self.shell.view
        detail = self.pane.detail
        if view is None or detail is None:
            return
        fact = self.pane.fact() if self.pane.has_focus else None
        target = fact.target if fact is not None else None
        expression = drgn_expression(target, view.snapshot.kernel) if target else detail.expression
        if expression is None:
            self.shell.say("There is no drgn expression for this.")
        else:
            self.shell.copy_text(expression)

    def action_deeper(self) -> None:
        """A step on the road from a task to the namespace it lives in; ``b`` is the way back."""
        detail = self.pane.detail
        if detail is None:
            return
        further = detail.further()
        if further is None:
            self.shell.say(f"From here it goes no further: {escape_text(detail.reference.label)}.")
            return
        self.pane.display = True
        self.pane.focus()
        self.pane.follow(further)

    def action_where(self) -> None:
        detail = self.pane.detail
        fact = self.pane.fact() if self.pane.has_focus else None
        if fact is not None and fact.target is not None:
            self.shell.go_to(fact.target)
        elif detail is not None:
            self.shell.go_to(detail.reference)


class FsStructsScreen(TableScreen):
    """Every fs_struct: users against holders, root, pwd, who shares it."""

    ROWS = "fs_structs"

    def record_of(self, record: Any) -> Record | None:
        return record[1] if isinstance(record[1], Record) else None

    def make_source(self, view: View) -> RecordTable[Any]:
        return fs_table(view.snapshot)


#: Terminal columns from which on the facets are beside the rows without being asked for.
_ROOM_FOR_FACETS = 120


class FacetedScreen(TableScreen):
    """Counts of what the rows are stand beside them: each adds to the filter."""

    def __init__(self) -> None:
        super().__init__()
        self._facets_wanted: bool | None = None
        """What the user has said of them; ``None``: they are there if there is room."""

    def compose_body(self) -> ComposeResult:
        yield from self.compose_filter()
        with Split():
            with Horizontal(id="browse"):
                yield VirtualTable(id="rows", empty=self.EMPTY)
                yield FacetPane(id="facets")
            yield DetailPane(id="detail")

    @property
    def facets(self) -> FacetPane:
        return self.query_one("#facets", FacetPane)

    def refresh_facets(self) -> None:
        """Count what the filter lets through, if that is shown."""
        raise NotImplementedError

    def filtered(self) -> None:
        self.refresh_facets()

    def leave_part(self) -> bool:
        if self.facets.has_focus:
            self.table.focus()
            return True
        return super().leave_part()

    def on_resize(self, event: events.Resize) -> None:
        self._show_facets(event.size.width)

    def _show_facets(self, width: int) -> None:
        wanted = self._facets_wanted
        before = self.facets.display
        self.facets.display = width >= _ROOM_FOR_FACETS if wanted is None else wanted
        if self.facets.display and not before:
            self.refresh_facets()

    def action_facets(self) -> None:
        self._facets_wanted = not (self.facets.display and self.facets.has_focus)
        self._show_facets(self.size.width)
        self.set_focus(self.facets if self._facets_wanted else self.table)

    @on(FacetPane.Toggled)
    def _toggled(self, event: FacetPane.Toggled) -> None:
        source = self.source()
        if event.term.node is None or source is None:
            return
        try:
            query = toggle_term(self.query_text, event.term.node, event.excluded, source.fields)
        except QueryError as error:
            self.shell.say(f"The filter is no query yet: {escape_text(str(error))}")
            return
        self.show_query(query)
