"""What every screen with a table of its own can do with its rows: filter them as you type, order them, mark them."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input

from explorer.analysis.query import Completion, QueryError, complete_query, parse_query, put_right
from explorer.model import Reference, escape_text
from explorer.tui.keys import hidden, key_of, shown
from explorer.tui.screens.dialogs import ColumnsScreen, NamePrompt
from explorer.tui.session import MANY_TASKS, freeze_more, give_way, in_background
from explorer.tui.settings import SavedView
from explorer.tui.views import ArrangedSource, ColumnChoice, ColumnList
from explorer.tui.widgets import FilterBar, FilterBox, SearchBar, VirtualTable

from .base import BrowserScreen
from .places import Place

__all__ = ("ArrangingScreen",)


def _warm_up(source: ArrangedSource) -> None:
    with in_background():
        source.warm_up(give_way)
    freeze_more(len(source))


class ArrangingScreen(BrowserScreen):
    """A table whose source is an :class:`ArrangedSource`. Filter, order and marks stay when there is a new reading."""

    AUTO_FOCUS = "#rows"
    EMPTY = "nothing here"
    NO_MATCH = "no row matches the filter; escape clears it"
    ROWS = "rows"
    """What the rows are, in one word: for the counts and the export, and in its file's name."""
    FILTER_HINT = "words, or column:value; tab completes"
    FILTER_ALWAYS = False
    """Whether the filter has a line where nothing is filtered."""
    BINDINGS: ClassVar[list[BindingType]] = [
        shown(
            "slash",
            "filter",
            "rows.filter",
            "Filter",
            "Filter the rows as you type; in the detail, search",
            first=True,
        ),
        hidden("escape", "leave", "rows.clear", "Leave the detail, then clear the filter, then the marks"),
        hidden("u", "last_filter", "rows.last-filter", "Bring the last filter back"),
        hidden("less_than_sign", "sort(-1)", "rows.sort-left", "Sort by the column before"),
        hidden("greater_than_sign", "sort(1)", "rows.sort-right", "Sort by the next column"),
        hidden("i", "invert", "rows.invert", "Sort the other way round"),
        hidden("A", "choose_columns", "rows.columns", "Choose the columns, and their order"),
        hidden("H", "leave_out", "rows.hide-column", "Hide the column under the cursor"),
        hidden("U", "show_columns", "rows.all-columns", "Show all columns again"),
        hidden(
            "V", "keep_view", "rows.save-view", "Save filter, order and columns as a view: the palette has it"
        ),
        hidden("space", "pick", "rows.mark", "Mark the row, or no longer; then the next one"),
        hidden("asterisk", "pick_all", "rows.mark-all", "Mark all these rows, or none"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.query_text = ""
        """What is in the filter."""
        self.matched = ""
        """The query that the rows are of: the last one that was right."""
        self.picked: set[Hashable] = set()
        """The keys of the rows that are marked."""
        self._is_begun = False
        """The filter ends with the beginning of a word: what it says is not known yet, and the rows wait for it."""
        self._sort: tuple[str | None, bool] = (None, False)

    def compose_filter(self) -> ComposeResult:
        yield FilterBar(placeholder=self.FILTER_HINT, always=self.FILTER_ALWAYS)
        yield SearchBar()

    def on_mount(self) -> None:
        self.bar.box.completer = self._complete
        self.watch(self.bar.box, "selection", self._cursor_went, init=False)
        self.table.more_key = key_of(self, "rows.columns")
        super().on_mount()

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#rows", VirtualTable)

    @property
    def bar(self) -> FilterBar:
        return self.query_one(FilterBar)

    def source(self) -> Any:
        """The table's :class:`ArrangedSource`, with what a screen's own has beside that; ``None``: not there yet."""
        return self.table.source

    def has_row(self, row: int) -> bool:
        """Whether there is such a row: none is under the cursor of an empty table."""
        source = self.source()
        return source is not None and 0 <= row < len(source)

    def selected(self) -> Reference | None:
        """What the row under the cursor is about."""
        row = self.table.row
        reference: Reference | None = self.source().reference_at(row) if self.has_row(row) else None
        return reference

    def here(self) -> list[str]:
        return [" ".join(filter(None, (mode, escape_text(self.matched)))) for mode in super().here()]

    def place(self) -> Place:
        row, selected = self.table.row, self.selected()
        return replace(super().place(), row=row, selected=selected, query=self.query_text)

    def row_of(self, reference: Reference) -> int | None:
        """The row of an object, opened where it lies in a closed group."""
        row: int | None = self.source().find(reference)
        return row

    def come_back(self, place: Place) -> bool:
        if place.query != self.query_text:
            self.show_query(place.query)
        row = self._row_of_place(place)
        if row != self.table.row:
            self.table.changed(place.row if row is None else row)
        return super().come_back(place) and row is not None

    def _row_of_place(self, place: Place) -> int | None:
        """The row that was left: the same, if it is still about the same."""
        source = self.source()
        if source is None:
            return None
        if not len(source) or (self.has_row(place.row) and place.is_at(source.reference_at(place.row))):
            return place.row
        return None if place.selected is None else self.row_of(place.selected)

    def filtered(self) -> None:
        """The filter lets other rows through now."""

    def leave_part(self) -> bool:
        """Back to the rows from what is beside them. False: the keyboard is there already."""
        return False

    @property
    def warms_up(self) -> bool:
        """Whether what the first key in the filter would wait for is made before it comes; of many rows."""
        return True

    def arrange_source(self, source: ArrangedSource) -> None:
        """Filter, order and mark a new source as the one before."""
        if len(source) > MANY_TASKS and self.warms_up:
            self.run_worker(asyncio.to_thread(_warm_up, source), group="warm-up", exclusive=True)
        names = [column.name for column in source.columns]
        if self._sort[0] in names:
            source.sort_by(*self._sort)
        source.keep_picked(self.picked)
        self.picked = source.picked
        self._apply(source, self.query_text)

    # -- filter ----------------------------------------------------------------------------------------------

    def filter_by(self, query: str) -> None:
        """Show the rows that a query selects, and go to them."""
        self.show_query(query)
        self.table.focus()

    def show_query(self, query: str) -> None:
        """Show the rows that a query selects, as if the user had typed it."""
        self.bar.put(query)
        self._filter(query)

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._filter(event.value)

    def _filter(self, query: str) -> None:
        self.query_text = query
        source = self.source()
        if source is None:
            return
        selected = self.selected()
        self._apply(source, query)
        row = None if selected is None else source.find(selected)
        self.table.changed(source.first_match if row is None else row)
        self.filtered()

    def _apply(self, source: ArrangedSource, query: str) -> None:
        """Filter; a query that is not finished yet, or wrong, leaves the rows as they are and says why."""
        self._is_begun = False
        try:
            source.set_filter(parse_query(query, source.fields) if query.strip() else None)
        except QueryError as error:
            self._is_begun = error.is_begun and self.bar.box.is_at_end
            if self._is_begun:
                self.bar.complain("")
                self.bar.say("…")
                self.table.empty = self.NO_MATCH
                return
            kept = f"of the filter {escape_text(self.matched)}" if self.matched else "without a filter"
            below = f"; rows below: {kept}" if source.matching else ""
            self.bar.complain(escape_text(str(error)) + below)
            self.bar.say("not valid", wrong=True)
            self.table.empty = "the filter is not valid; escape clears it"
        else:
            self.matched = query.strip()
            self.bar.complain("")
            self.table.empty = self.NO_MATCH if self.matched else self.EMPTY
            self.say_counts(source)
        self.bar.show_or_hide(bool(source.picked))
        self.show_header()

    def _cursor_went(self) -> None:
        """A word is no longer being typed when the cursor leaves its end, or the filter is left."""
        source = self.source()
        if self._is_begun and source is not None and not self.bar.box.is_at_end:
            self._apply(source, self.query_text)

    @on(Input.Blurred, "#filter")
    def _filter_left(self) -> None:
        self._cursor_went()

    def say_counts(self, source: ArrangedSource) -> None:
        """Beside the filter: how many rows there are, and how many are marked."""
        marked = f" · {len(source.picked)} marked" if source.picked else ""
        self.bar.say(source.counts() + marked)

    def _complete(self, text: str) -> Completion:
        """What the last word may become; where it is the beginning of nothing, what it may have been meant to be."""
        source = self.source()
        fields = {} if source is None else source.fields
        found = complete_query(text, fields, source.values_of)
        return found if found.words else put_right(text, fields)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter a slash is a slash."""
        return action != "filter" or not isinstance(self.focused, FilterBox)

    def action_filter(self) -> None:
        self.bar.open()

    def action_leave(self) -> None:
        if self.leave_part():
            return
        if not self.query_text and self.picked:
            self._pick(set())
        self.bar.box.remember()
        self.filter_by("")

    def action_last_filter(self) -> None:
        """That which was there before this one: twice is there and back."""
        box = self.bar.box
        now = self.query_text.strip()
        before = next((each for each in reversed(box.used) if each != now), None)
        if before is None:
            self.shell.say("There was no filter before.")
            return
        box.remember()
        box.used.remove(before)
        box.used.append(before)
        if now:
            box.used.remove(now)
            box.used.insert(len(box.used) - 1, now)
        self.show_query(before)
        self.bar.show_or_hide(True)

    # -- order -----------------------------------------------------------------------------------------------

    def rearranged(self, selected: Reference | None) -> None:
        """The same rows stand elsewhere now; the cursor stays with its own."""
        source = self.source()
        if source is None:
            return
        self.table.sort_mark = None if source.sort_column is None else (source.sort_column, source.descending)
        row = None if selected is None else source.find(selected)
        self.table.changed(row or 0)

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Order by a column; ``None``: as they came."""
        source = self.source()
        if source is not None:
            selected = self.selected()
            self._sort = (column, descending)
            source.sort_by(column, descending)
            self.rearranged(selected)

    @on(VirtualTable.HeaderClicked, "#rows")
    def _header(self, event: VirtualTable.HeaderClicked) -> None:
        source = self.source()
        if source is not None:
            self.sort_by(event.column, source.sort_column == event.column and not source.descending)

    def action_sort(self, step: int) -> None:
        source = self.source()
        if source is not None:
            names: list[Any] = [None, *self._shown_columns()]
            at = names.index(source.sort_column) if source.sort_column in names else 0
            self.sort_by(names[(at + step) % len(names)], source.descending)

    def action_invert(self) -> None:
        source = self.source()
        if source is not None:
            column = source.sort_column or source.columns[self.table.column].name
            self.sort_by(column, not source.descending)

    # -- columns and views -----------------------------------------------------------------------------------

    def choose_columns(self, choice: ColumnChoice | None) -> None:
        """Show these columns, in this order; ``None``: those that are shown."""
        if choice is not None:
            self.table.choose_columns(choice)

    @on(VirtualTable.MoreClicked, "#rows")
    def action_choose_columns(self) -> None:
        source, table = self.source(), self.table
        if source is not None:
            row = source.cells(table.row) if self.has_row(table.row) else ()
            columns = ColumnList(source.columns, table.choice, table.cell_room, row)
            dialog = ColumnsScreen(self.ROWS, columns, table.column, self.room_hint())
            self.app.push_screen(dialog, self.choose_columns)

    def room_hint(self) -> str:
        """How the table gets more room for its columns, if there is a way."""
        return ""

    def _shown_columns(self) -> list[str]:
        """The names of the columns that are not hidden, in their order."""
        columns = self.source().columns
        return [columns[place].name for place in self.table.choice.shown(columns)]

    def action_leave_out(self) -> None:
        source, table = self.source(), self.table
        if source is None:
            return
        left = self._shown_columns()
        here = source.columns[table.column].name
        if left[1:] and here in left:
            table.action_columns(1 if left.index(here) + 1 < len(left) else -1)
            self.choose_columns(replace(table.choice, left_out=table.choice.left_out | {here}))

    def action_show_columns(self) -> None:
        self.choose_columns(ColumnChoice())

    def action_keep_view(self) -> None:
        self.app.push_screen(NamePrompt([view.name for view in self.shell.look.views]), self._keep_view)

    def _keep_view(self, name: str | None) -> None:
        source = self.source()
        if not name or source is None:
            return
        mode, order = self.app.current_mode, (source.sort_column, source.descending)
        view = SavedView(name, mode, self.matched, *order, self._shown_columns())
        problem = self.shell.look.keep_view(view)
        self.shell.say(
            f"The view is not saved: {problem}" if problem else "Saved: the palette (ctrl+p) lists it."
        )

    def show_saved(self, view: SavedView) -> None:
        """Filter, order and columns as a saved view has them; a column that is no longer there is left out of it."""
        source = self.source()
        if source is None:
            return
        names = [column.name for column in source.columns]
        self.choose_columns(ColumnChoice.of(source.columns, view.columns))
        self.filter_by(view.filter)
        self.sort_by(view.sort if view.sort in names else None, view.descending)

    # -- marks -----------------------------------------------------------------------------------------------

    def _pick(self, picked: set[Hashable]) -> None:
        source = self.source()
        if source is None:
            return
        source.picked = self.picked = picked  # its own keys: which of them are still there need not be asked
        self.say_counts(source)
        self.bar.show_or_hide(bool(picked))
        self.table.remark()

    def action_pick(self) -> None:
        if not self.has_row(self.table.row):
            return
        keys = self.source().keys_at(self.table.row)
        picked = self.picked
        self._pick(picked.difference(keys) if picked.issuperset(keys) else picked.union(keys))
        self.table.action_move(1)

    def action_pick_all(self) -> None:
        source = self.source()
        if source is not None:
            keys = set(source.all_keys())
            self._pick(self.picked - keys if keys <= self.picked else self.picked | keys)
