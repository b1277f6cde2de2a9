"""Which columns are shown, in which order, and which have no room, without a screen."""

from __future__ import annotations

import pytest

from explorer.tui.views.columns import ColumnChoice, ColumnList
from explorer.tui.views.table import ViewColumn, fit_columns

COLUMNS = (
    ViewColumn("name", "NAME", 10, 1),
    ViewColumn("pid", "PID", 6, rank=2),
    ViewColumn("root", "ROOT", 12, rank=1),
    ViewColumn("now", "", 1, rank=3),
)


def titles(choice: ColumnChoice, width: int = 200) -> list[str]:
    return [COLUMNS[place].name for place, _ in choice.fit(COLUMNS, width)]


@pytest.mark.parametrize("width", [0, 5, 10, 20, 24, 30, 32, 35, 100])
def test_what_nobody_has_chosen_fits_as_the_table_has_it(width: int) -> None:
    assert ColumnChoice().fit(COLUMNS, width) == fit_columns(COLUMNS, width)


def test_an_order_of_ones_own_is_kept_and_what_stands_last_goes_first() -> None:
    choice = ColumnChoice(order=("pid", "now", "name", "root"))
    assert titles(choice) == ["pid", "now", "name", "root"]
    assert titles(choice, 24) == ["pid", "now", "name"]
    # In the table's order the most telling have room: the root, of which the rank is the lowest.
    assert titles(ColumnChoice(), 24) == ["name", "root"]


def test_a_column_that_the_order_does_not_know_comes_after_its_neighbour() -> None:
    assert titles(ColumnChoice(order=("root", "pid"))) == ["name", "root", "now", "pid"]
    assert titles(ColumnChoice(order=("gone", "root", "name"))) == ["root", "now", "name", "pid"]


def test_a_choice_that_leaves_nothing_of_another_table_shows_all_of_it() -> None:
    choice = ColumnChoice(frozenset({"name", "pid", "root", "now"}))
    assert titles(choice) == ["name", "pid", "root", "now"]
    assert ColumnList(COLUMNS, choice, 200).choice == ColumnChoice()


@pytest.mark.parametrize(
    ("names", "left_out", "order"),
    [
        (["name", "root"], {"pid", "now"}, ()),
        (["root", "name"], {"pid", "now"}, ("root", "name")),
        (["root", "root", "name", "other"], {"pid", "now"}, ("root", "name")),
        (["other"], set(), ()),
        ([], set(), ()),
    ],
)
def test_the_columns_of_a_saved_view_are_shown_in_its_order_as_far_as_there_are_such(
    names: list[str], left_out: set[str], order: tuple[str, ...]
) -> None:
    assert ColumnChoice.of(COLUMNS, names) == ColumnChoice(frozenset(left_out), order)


def test_why_a_column_has_no_room_is_said_and_hiding_another_gives_it_room() -> None:
    columns = ColumnList(COLUMNS, ColumnChoice(), 24)
    why = ["", "no: it needs 6, 0 left", "", "no: it needs 1, 0 left"]
    assert [columns.why_not(column.name) for column in COLUMNS] == why
    assert columns.no_room() == 2
    assert columns.toggle(2) and columns.why_not("pid") == "" and columns.no_room() == 0
    assert [cell.text for cell in columns.cells(2)][:3] == ["[ ]", "ROOT", "hidden"]


def test_a_narrow_column_behind_one_that_has_no_room_says_behind_which_it_is() -> None:
    columns = ColumnList(
        COLUMNS, ColumnChoice(), 29
    )  # 5 are left, 3 beside the gap: one would do for the last
    assert columns.why_not("pid") == "no: it needs 6, 3 left"
    assert columns.why_not("now") == "no: PID is before it"


def test_the_last_column_cannot_be_hidden() -> None:
    columns = ColumnList(COLUMNS, ColumnChoice(), 24)
    assert [columns.toggle(row) for row in range(4)] == [True, True, True, False]
    assert titles(columns.choice) == ["now"]


def test_a_column_is_moved_and_no_further_than_the_edge_and_back_is_the_tables_own_order() -> None:
    columns = ColumnList(COLUMNS, ColumnChoice(), 200)
    assert columns.move(0, -1) == 0 and columns.move(3, 1) == 3 and not columns.choice.order
    assert columns.move(3, -1) == 2
    assert columns.choice.order == ("name", "pid", "now", "root")
    assert columns.cells(2)[1].text == "now"
    assert columns.move(2, 1) == 3 and columns.choice == ColumnChoice()
