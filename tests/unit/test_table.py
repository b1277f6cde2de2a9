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


def test_wide_names_do_not_shift_the_columns_behind_them() -> None:
    lines = render_table(COLUMNS, [("日本", "x", "1"), ("ab", "x", "1")], None)
    assert [display_width(line) for line in lines[1:]] == [display_width(lines[0])] * 2
