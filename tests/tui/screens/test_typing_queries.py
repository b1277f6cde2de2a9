"""What is typed into the filter is judged when it is a word, not before; and what it asks for is on the screen."""

from __future__ import annotations

import pytest

from explorer.analysis.query import FIELDS, QueryError, parse_query, put_right
from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.views.tasks import FacetTable
from tests.tui.conftest import Pilots, drive, press, screen_text


def shown(app: ExplorerApp) -> str:
    return " ".join(screen_text(app).split())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("borrowi", "borrowi"),
        ("not borrowin", "borrowin"),
        ("kind:kern", "kern"),
        ("placement:Null", "Null"),
        ("owner!=userspace_", "userspace_"),
        ("borrowing:y", "y"),
    ],
)
def test_the_beginning_of_a_known_word_is_called_begun_only_at_the_end(text: str, word: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert caught.value.is_begun and text.endswith(word)
    for more in (" ", " pid:1", ")"):
        with pytest.raises(QueryError) as caught:
            parse_query(("(" if more == ")" else "") + text + more)
        assert not caught.value.is_begun, more


@pytest.mark.parametrize(
    "text", ["borowing", "kind:kernle", "kindd:kernel", "users:many", "kind: ", "kind:)", "pid:1)"]
)
def test_what_is_no_beginning_is_wrong_at_once(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert not caught.value.is_begun


@pytest.mark.parametrize(
    "text",
    [
        "kind:",
        "users>",
        "not",
        "not ",
        "pid:1 or ",
        "(pid:1",
        "(pid:1 and",
        "comm:'a b",
        "kind:kernel and users>",
    ],
)
def test_a_query_to_which_something_must_be_added_is_called_begun(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert caught.value.is_begun


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("borowing", "borrowing"),
        ("pid:1 or borowing", "pid:1 or borrowing"),
        ("kind:kthraed", "kind:kthread"),
        ("placment:nullfs", "placement:nullfs"),
    ],
)
def test_a_word_that_is_wrong_is_put_right(text: str, right: str) -> None:
    found = put_right(text, FIELDS)
    assert f"{text[: found.start]}{found.words[0]}" == right
    parse_query(right)


@pytest.mark.parametrize("text", ["borrowing", "borowing ", "kind:", "xyzzy:1", "'open"])
def test_where_nothing_is_known_to_be_meant_nothing_is_put(text: str) -> None:
    assert put_right(text, FIELDS).words == ()


def test_no_letter_on_the_way_to_a_word_is_called_wrong(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "slash")
        for letter in ("borrowing", "space", "and", "space", "kind:", "userspace"):
            for key in [letter] if letter == "space" else letter:
                await press(pilot, key)
                text = screen_text(app)
                assert not any(wrong in text for wrong in ("not valid", "no flag", "stops short")), letter
        assert "1 of 112 tasks" in screen_text(app)

    drive(app, steps)


def test_a_value_that_is_missing_is_said_when_the_filter_is_left(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "slash", *"kind:", "tab")
        assert "usermodehelper" in shown(app) and "not valid" not in shown(app)
        await press(pilot, "enter")
        assert "a value is missing here" in shown(app)

    drive(app, steps)


@pytest.mark.parametrize("after", ["enter", "space", "left"])
def test_a_word_that_stays_a_beginning_is_answered_when_it_is_left(after: str, saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "slash", *"borrowi")
        assert "not valid" not in screen_text(app)
        await press(pilot, after)
        assert "there is no flag borrowi" in shown(app) and "did you mean borrowing?" in shown(app)
        await press(pilot, "escape")
        assert "not valid" not in screen_text(app) and "112 tasks" in screen_text(app)

    drive(app, steps)


def test_a_begun_query_that_nobody_types_is_answered_at_once(saved: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t")
        assert isinstance(app.screen, TasksScreen)
        app.screen.filter_by("borrowi")
        await press(pilot)
        assert "there is no flag borrowi" in shown(app)

    drive(app, steps)


def test_the_groups_of_kinds_are_facets_that_are_asked_for_with_enter_and_left_out_with_minus(
    saved: Snapshot,
) -> None:
    app = ExplorerApp(snapshot=saved)
    kernel = sum(task.kind_word in ("kthread", "kworker", "rescuer", "idle") for task in saved.tasks)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "F")
        screen = app.screen
        assert isinstance(screen, TasksScreen) and screen.facets.has_focus
        source = screen.facets.source
        assert source is not None
        text = shown(app)
        assert f"kernel {kernel}" in text and f"userspace {len(saved.tasks) - kernel}" in text
        table = screen.facets.source
        assert isinstance(table, FacetTable)
        names = [table.cells(row)[0].text.strip() for row in range(len(table))]
        for name in ("kernel", "userspace"):
            row = next(n for n, each in enumerate(names) if each.startswith(name))
            screen.facets.put_cursor(row)
            await press(pilot, "enter")
            count = kernel if name == "kernel" else len(saved.tasks) - kernel
            assert screen.query_text == f"kind:{name}"
            assert f"{count} of {len(saved.tasks)} tasks" in screen_text(app)
            await press(pilot, "enter")
            assert screen.query_text == "" and screen.facets.has_focus
        await press(pilot, "minus")
        assert screen.query_text == "not kind:userspace" and f"{kernel} of 112 tasks" in screen_text(app)

    drive(app, steps, width=120)


def test_names_that_comm_cuts_are_shown_in_full_in_table_and_detail(saved: Snapshot) -> None:
    cut = next(task for task in saved.tasks if task.comm == "kworker/R-kvfre")
    assert cut.kthread is not None and cut.kthread.full_name == "kworker/R-kvfree_rcu_reclaim"
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "slash", *"rcu_reclaim", "enter", "j")
        text = screen_text(app)
        assert "1 of 112 tasks" in text
        assert f"task {cut.pid} kworker/R-kvfree_rcu_reclaim" in " ".join(text.split())
        row = next(line for line in text.splitlines() if f" {cut.pid} " in line and "▸" not in line)
        assert "kworker/R-kvfree_rcu_reclaim" in row
        await press(pilot, "C", "c")
        assert "kworker/R-kvfree_rcu_reclaim" in app.clipboard

    drive(app, steps, width=200)
