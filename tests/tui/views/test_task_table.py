"""The task table as data, without a screen."""

from __future__ import annotations

import pytest

from explorer.analysis.query.columns import LABEL_COLUMNS
from explorer.analysis.query.parse import parse_query
from explorer.model import Owner, Snapshot, task_reference
from explorer.tui.views.table import ViewColumn, fit_columns
from explorer.tui.views.tasks.view import TaskTable


def tasks_shown(table: TaskTable) -> list[int]:
    return [row.task.address for index in range(len(table)) if (row := table.row_at(index)) is not None]


def test_every_task_is_in_the_flat_table_once(saved: Snapshot) -> None:
    table = TaskTable(saved)
    table.set_grouped(False)
    assert tasks_shown(table) == [task.address for task in saved.tasks]


def test_opening_all_groups_shows_every_task_once(saved: Snapshot) -> None:
    table = TaskTable(saved)
    table.open_all(True)
    assert sorted(tasks_shown(table)) == sorted(task.address for task in saved.tasks)
    table.open_all(False)
    alone = [tasks for tasks in saved.sharers_by_fs.values() if len(tasks) == 1]
    assert len(tasks_shown(table)) == len(alone)


def test_a_group_holds_exactly_the_sharers_of_its_fs_struct(saved: Snapshot) -> None:
    table = TaskTable(saved)
    seen = 0
    for index in range(len(table)):
        group = table.group_at(index)
        if group is None or group.fs is None:
            continue
        members = [table.rows[member].task.address for member in group.members]
        assert members == [task.address for task in saved.sharers_by_fs[group.fs.address]]
        seen += 1
    assert seen == sum(len(tasks) > 1 for tasks in saved.sharers_by_fs.values())


def test_the_filter_leaves_exactly_what_the_query_matches_and_opens_the_groups(saved: Snapshot) -> None:
    table = TaskTable(saved)
    query = parse_query("kind:kthread")
    matches = query.bind(saved)
    table.set_filter(query)
    wanted = {task.address for task in saved.tasks if matches(task)}
    assert set(tasks_shown(table)) == wanted
    structs = {task.owned_fs for task in saved.tasks if matches(task)}
    assert table.counts() == f"{len(wanted)} of {len(saved.tasks)} tasks · {len(structs)} fs_structs"


def test_counts_without_a_filter_do_not_count_exited_tasks_as_an_fs_struct(saved: Snapshot) -> None:
    assert any(task.owner is Owner.NONE for task in saved.tasks)
    structs = len(saved.sharers_by_fs)
    assert TaskTable(saved).counts() == f"{len(saved.tasks)} tasks · {structs} fs_structs"


@pytest.mark.parametrize("column", [column.name for column in LABEL_COLUMNS])
def test_sorting_by_any_column_orders_by_what_the_column_means(saved: Snapshot, column: str) -> None:
    table = TaskTable(saved)
    table.set_grouped(False)
    table.sort_by(column)
    declared = next(each for each in LABEL_COLUMNS if each.name == column)
    keys = [declared.sort(row) for index in range(len(table)) if (row := table.row_at(index)) is not None]
    assert keys == sorted(keys)
    table.sort_by(column, descending=True)
    keys = [declared.sort(row) for index in range(len(table)) if (row := table.row_at(index)) is not None]
    assert keys == sorted(keys, reverse=True)


def test_a_task_is_found_again_in_a_closed_group_and_revealed(saved: Snapshot) -> None:
    table = TaskTable(saved)
    kthreadd = next(task for task in saved.tasks if task.pid == 2)
    head = table.find(task_reference(kthreadd))
    assert head is not None and table.group_at(head) is not None
    position = table.reveal(task_reference(kthreadd))
    assert position is not None
    row = table.row_at(position)
    assert row is not None and row.task is kthreadd


def test_no_cell_holds_a_character_that_a_terminal_would_obey(saved: Snapshot) -> None:
    table = TaskTable(saved)
    table.open_all(True)
    for index in range(len(table)):
        for cell in table.cells(index):
            assert cell.text.isprintable(), cell.text


COLUMNS = (
    ViewColumn("a", "A", 10),
    ViewColumn("b", "B", 10, 1, rank=2),
    ViewColumn("c", "C", 10, rank=1),
    ViewColumn("d", "D", 10, rank=3),
)


def test_columns_of_the_lowest_rank_go_first_where_the_terminal_is_narrow() -> None:
    assert [index for index, _ in fit_columns(COLUMNS, 100)] == [0, 1, 2, 3]
    assert [index for index, _ in fit_columns(COLUMNS, 40)] == [0, 1, 2]
    assert [index for index, _ in fit_columns(COLUMNS, 30)] == [0, 2]
    assert [index for index, _ in fit_columns(COLUMNS, 5)] == [0]


def test_scrolled_columns_come_from_the_left_and_the_first_stays() -> None:
    assert [index for index, _ in fit_columns(COLUMNS, 30, first=1)] == [0, 2]
    assert [index for index, _ in fit_columns(COLUMNS, 30, first=2)] == [0, 3]


@pytest.mark.parametrize("width", range(46, 120, 7))
def test_columns_fill_the_width_exactly_when_one_grows(width: int) -> None:
    layout = fit_columns(COLUMNS, width)
    assert sum(room for _, room in layout) + 2 * (len(layout) - 1) == width
