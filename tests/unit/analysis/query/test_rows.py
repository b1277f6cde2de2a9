"""Rows of any table are asked and ordered in the language of tasks; a word begun is completed."""

from __future__ import annotations

import pytest

from explorer.analysis.query.completion import complete_query
from explorer.analysis.query.facts import FIELDS, FieldType
from explorer.analysis.query.index import selected
from explorer.analysis.query.parse import QueryError, parse_query
from explorer.analysis.query.rows import RowField, RowIndex

RECORDS = [
    ("rootfs#9", "/", 51, "Init"),
    ("rootfs#10", "/a b\\\\c", 2, ""),
    ("tmpfs#3", "/srv\\e[31m", None, "nobody found"),
]
FIELD_LIST = (
    RowField("mount"),
    RowField("mountpoint"),
    RowField("users", FieldType.NUMBER, lambda record: record[2]),
    RowField("held_by", order=lambda record: None if not record[3] else -len(record[3])),
)


def make_index() -> RowIndex:
    return RowIndex(FIELD_LIST, RECORDS, lambda r: [r[0], r[1], f"{r[2]}={r[2]}", f"  {r[3]}"])


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", [0, 1, 2]),
        ("ROOTFS", [0, 1]),
        ("mount:rootfs*", [0, 1]),
        ("mount:rootfs", []),
        ("not mount~rootfs", [2]),
        ("users>1", [0, 1]),
        ("users!=51", [1, 2]),
        ("held_by:Init or users:2", [0, 1]),
        ("held_by:*", [0, 2]),
        ('mountpoint:"/a b\\\\c"', [1]),
        ("31m", [2]),
        ("fs#9 51=51", [0]),
        ('"nobody found"', [2]),
        ("borrowing", []),
    ],
)
def test_a_query_selects_the_rows_whose_cells_are_as_it_says(query: str, rows: list[int]) -> None:
    index = make_index()
    assert selected(index.mask(parse_query(query, index.fields).root)) == rows


def test_text_that_runs_over_the_end_of_a_cell_is_in_no_row() -> None:
    index = make_index()
    assert not selected(index.mask(parse_query("'9/'", index.fields).root))


def test_an_unknown_column_is_answered_with_the_columns_that_are_there() -> None:
    index = make_index()
    with pytest.raises(
        QueryError, match="there is no field pid; there are mount, mountpoint, users, held_by"
    ):
        parse_query("pid:1", index.fields)
    with pytest.raises(QueryError, match="did you mean users"):
        parse_query("uses:1", index.fields)
    with pytest.raises(QueryError, match="users is a number"):
        parse_query("users:many", index.fields)


@pytest.mark.parametrize(
    ("name", "descending", "rows"),
    [
        ("mount", False, [0, 1, 2]),
        ("mount", True, [2, 1, 0]),
        ("users", False, [1, 0, 2]),
        ("users", True, [0, 1, 2]),
        ("held_by", False, [2, 0, 1]),
    ],
)
def test_numbers_in_names_count_and_rows_without_a_value_come_last_either_way(
    name: str, descending: bool, rows: list[int]
) -> None:
    assert make_index().order(name, descending) == rows


def test_rows_that_are_made_into_text_in_the_background_are_asked_for_once() -> None:
    asked: list[int] = []
    pauses: list[None] = []
    records = list(range(1200))

    def cells(record: int) -> list[str]:
        asked.append(record)
        return [str(record)]

    index = RowIndex((RowField("number"),), records, cells)
    index.warm_up(lambda: pauses.append(None))
    index.mask(parse_query("7", index.fields).root)
    index.order("number", True)
    assert asked == records and len(pauses) >= 3


def _no_values(name: str) -> list[str]:
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("kind:kt", 5, ("kthread",)),
        ("not (borr", 5, ("borrowing",)),
        ("borrowing:", 10, ("yes", "no")),
        ("root.f", 0, ("root.fstype:",)),
        ("KIND:RES", 5, ("rescuer",)),
        ("nothing.such:a", 13, ()),
        ("kind:idle ", 10, None),
        ("'kind:", 6, ()),
    ],
)
def test_a_word_that_is_begun_becomes_a_field_a_flag_or_a_value(
    text: str, start: int, words: tuple[str, ...] | None
) -> None:
    found = complete_query(text, FIELDS, _no_values)
    assert found.start == start
    if words is None:
        assert {"pid:", "kind:", "walking"} <= set(found.words)
    else:
        assert found.words == words


def test_values_that_rows_have_are_offered_quoted_where_they_must_be_and_parse_back() -> None:
    index = make_index()
    found = complete_query("mountpoint:/", index.fields, index.offers)
    assert found.words == ("/", '"/a b\\\\c"', "/srv\\e[31m")
    for word in found.words:
        assert len(selected(index.mask(parse_query(f"mountpoint:{word}", index.fields).root))) == 1
    assert complete_query('mountpoint:"/a', index.fields, index.offers).words == ('"/a b\\\\c"',)
    assert complete_query("mount:root", index.fields, index.offers).common == "rootfs#"


def test_what_rows_have_is_offered_once_sorted_and_made_once() -> None:
    index = make_index()
    offered = index.offers("mount")
    assert list(offered) == sorted({text for texts in index.column("mount").texts for text in texts})
    assert len(offered) > 1
    assert index.offers("mount") is offered
