"""The columns of a table: which are shown, in which order, and which of them have no room."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from explorer.tui.faults import Guarded
from explorer.tui.keys import shown
from explorer.tui.views import ColumnChoice, ColumnList
from explorer.tui.widgets import VirtualTable

__all__ = ("ColumnsScreen",)


class _Columns(VirtualTable):
    """A row a column, no cell of which is to be gone to."""

    CELLS = False


class ColumnsScreen(Guarded, ModalScreen[ColumnChoice | None]):
    """Its result is what was chosen; ``None``: all is to stay as it was."""

    DEFAULT_CSS = """
    ColumnsScreen { align: center middle; }
    #columnsbox { width: 90; max-width: 96%; height: auto; max-height: 96%; padding: 0 1; }
    #columnsbox { border: round $primary; background: $background; }
    #columns { height: auto; max-height: 70vh; }
    #columnssay { height: auto; color: $secondary; }
    """
    AUTO_FOCUS = "#columns"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("enter", "take", "columns.take", "Take", "Show these columns, in this order", first=True),
        shown("escape,q", "leave", "columns.leave", "Leave", "Leave all as it was", first=True),
        shown("space,x", "turn", "columns.toggle", "Show, hide", "Show the column, or hide it"),
        shown("shift+up,K", "move(-1)", "columns.left", "Left", "The column further to the left"),
        shown("shift+down,J", "move(1)", "columns.right", "Right", "The column further to the right"),
        shown("U", "reset", "columns.reset", "All", "All columns, as the table has them"),
    ]

    def __init__(self, rows: str, columns: ColumnList, column: int, hint: str = "") -> None:
        """
        :param rows: what the table's rows are
        :param column: the place of the one to begin with
        :param hint: where more room is to be had
        """
        super().__init__()
        self._hint = hint
        self._rows = rows
        self._list = columns
        self._first = columns.choice.arranged(columns.of).index(column)

    def compose(self) -> ComposeResult:
        with Vertical(id="columnsbox") as box:
            box.border_title = Content(f"columns of {self._rows}")
            yield _Columns(id="columns")
            yield Static(id="columnssay", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @property
    def _table(self) -> VirtualTable:
        return self.query_one("#columns", VirtualTable)

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with
        self._table.show(self._list, self._first)
        self._say()

    def _say(self, first: str = "") -> None:
        """How many have no room, and which go first; before it, what else there is to say."""
        without = self._list.no_room()
        rule = "the last go first" if self._list.choice.order else "those that tell least go first"
        room = (
            f"{without} without room at this width: {rule}{self._hint}"
            if without
            else "all that are shown have room"
        )
        self.query_one("#columnssay", Static).update(Content(f"{first}{room}"))

    def action_turn(self) -> None:
        done = self._list.toggle(self._table.row)
        self._table.redraw()
        self._say("" if done else "one column stays; ")

    @on(VirtualTable.Chosen, "#columns")
    def _clicked(self) -> None:
        self.action_turn()

    def action_move(self, step: int) -> None:
        row = self._list.move(self._table.row, step)
        self._table.redraw()
        self._table.put_cursor(row)
        self._say()

    def action_reset(self) -> None:
        self._list.reset()
        self._table.redraw()
        self._say()

    def action_take(self) -> None:
        self.dismiss(self._list.choice)

    def action_leave(self) -> None:
        self.dismiss(None)
