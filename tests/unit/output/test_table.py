"""Tables fit the terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from explorer.model import display_width
from explorer.output.table import TableColumn, fit, render_table

COLUMNS = (TableColumn("A"), TableColumn("PATH", least=6), TableColumn("N", numeric=True))


@given(st.text(alphabet="ab日本", max_size=40), st.integers(1, 30))
def test_a_cut_text_never_exceeds_its_width(text: str, width: int) -> None:
    assert display_width(fit(text, width)) <= width


def test_only_columns_that_may_be_cut_are_cut_and_the_table_fits() -> None:
    lines = render_table(COLUMNS, [("aa", "/a/very/long/path/indeed", "12345")], 24)
    assert lines[1].startswith("aa  ")
    assert lines[1].endswith("12345")
    assert max(map(display_width, lines)) <= 24


def test_nothing_is_cut_without_a_width() -> None:
    assert (
        "/a/very/long/path/indeed" in render_table(COLUMNS, [("a", "/a/very/long/path/indeed", "1")], None)[1]
    )


def test_a_path_of_a_pages_length_is_whole_in_a_pipe_and_widens_no_other_row() -> None:
    long = "/" + "x" * 4000
    lines = render_table(COLUMNS, [("a", long, "1"), ("b", "/short", "2")], None)
    assert long in lines[1]
    assert len(lines[2]) < 200


def test_columns_that_have_no_room_are_left_out_and_it_is_said_which() -> None:
    columns = (
        TableColumn("NAME", least=8),
        TableColumn("MASK", rank=2),
        TableColumn("RUNS", least=9, rank=1),
    )
    row = ("somebody", "0022", "do_a_thing_here")
    assert render_table(columns, [row], 25)[0].split() == ["NAME", "MASK", "RUNS"]
    narrow = render_table(columns, [row], 20)
    assert narrow[0].split() == ["NAME", "RUNS"]
    assert "No room for MASK" in " ".join(narrow[2:])
    assert all(display_width(line) <= 20 for line in narrow)
    assert render_table(columns, [row], 10)[0].split() == ["NAME"]


def test_wide_names_do_not_shift_the_columns_behind_them() -> None:
    lines = render_table(COLUMNS, [("日本", "x", "1"), ("ab", "x", "1")], None)
    assert [display_width(line) for line in lines[1:]] == [display_width(lines[0])] * 2
