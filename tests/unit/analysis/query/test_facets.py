"""Facets count what a query selects, and what they add to it selects what they counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.analysis.query.ast import Node
from explorer.analysis.query.facets import Standing, count_facets, standing_of, toggle_term
from explorer.analysis.query.index import TaskIndex
from explorer.analysis.query.parse import QueryError, parse_query
from explorer.model import Snapshot

from .test_query import QUERIES


@pytest.mark.parametrize(
    "query", ["", "kind:user", "placement:nullfs or borrowing", "not kind:kthread", "nobody-at-all"]
)
@pytest.mark.parametrize("layout", ["isolated", "rfc-v1", "legacy-6.1"])
def test_asking_for_a_value_leaves_as_many_tasks_as_it_counted(
    fixture_snapshots: dict[str, Snapshot], query: str, layout: str
) -> None:
    index = TaskIndex(fixture_snapshots[layout])
    root = parse_query(query).root
    mask = index.mask(root)
    for facet in count_facets(index, mask, root):
        for term in facet.terms:
            assert term.node is not None, term
            if standing_of(root, term.node) is Standing.ABSENT:
                asked = index.mask(parse_query(toggle_term(query, term.node)).root)
                without = index.mask(parse_query(toggle_term(query, term.node, excluded=True)).root)
                assert asked.count(1) == term.count
                assert without.count(1) == mask.count(1) - term.count


@settings(max_examples=60, deadline=None)
@given(QUERIES, st.booleans())
def test_a_term_added_to_any_query_and_taken_away_leaves_what_it_selected(
    fixture_snapshots: dict[str, Snapshot], node: Node, excluded: bool
) -> None:
    index = TaskIndex(fixture_snapshots["isolated"])
    term = parse_query("kind:kworker").root
    query = str(parse_query(str(node)))
    if standing_of(parse_query(query).root, term) is not Standing.ABSENT:  # type: ignore[arg-type]
        return
    added = toggle_term(query, term, excluded)  # type: ignore[arg-type]
    wanted = Standing.EXCLUDED if excluded else Standing.REQUIRED
    assert standing_of(parse_query(added).root, term) is wanted  # type: ignore[arg-type]
    removed = toggle_term(added, term, excluded)  # type: ignore[arg-type]
    assert index.mask(parse_query(removed).root) == index.mask(parse_query(query).root)


@pytest.mark.parametrize(
    ("before", "excluded", "after"),
    [
        ("", False, "kind:kthread"),
        ("  kind = kthread ", False, ""),
        ("placement:nullfs   kind:kthread", False, "placement:nullfs"),
        ("a or b", False, "(a or b) kind:kthread"),
        ("kind:kthread", True, "not kind:kthread"),
        ("not kind:kthread", False, "kind:kthread"),
        ("kind!=kthread", True, ""),
        ("comm~KW  1", False, "comm~KW  1 kind:kthread"),
    ],
)
def test_what_was_typed_stays_and_a_term_is_never_there_twice(
    before: str, excluded: bool, after: str
) -> None:
    term = parse_query("kind:kthread").root
    assert toggle_term(before, term, excluded) == after  # type: ignore[arg-type]


def test_a_query_that_is_wrong_is_not_changed() -> None:
    with pytest.raises(QueryError):
        toggle_term("kind:", parse_query("borrowing").root)  # type: ignore[arg-type]


def test_a_term_of_the_query_is_listed_even_where_it_counts_nothing(isolated: Snapshot) -> None:
    index = TaskIndex(isolated)
    root = parse_query("kind:idle kind:kthread borrowing").root
    facets = {facet.name: facet for facet in count_facets(index, index.mask(root), root)}
    kinds = {term.label: term.count for term in facets["kind"].terms}
    assert kinds == {"kernel": 0, "idle": 0, "kthread": 0}
    assert [term.label for term in facets["flags"].terms] == ["borrowing"]


HOSTILE = (
    "\x1b[31m[bold]q",
    "x[/red]y",
    "a\nb",
    "\u202egpj",
    "\udcff\udcfe",
    "both\"and'",
    "*",
    "not",
    "a)b",
    "",
)


def test_values_that_a_kernel_made_up_are_escaped_and_select_exactly_themselves(isolated: Snapshot) -> None:
    for task in isolated.tasks:
        if task.kthread is not None:
            task.kthread.workqueue = None
    kthreads = [task for task in isolated.tasks if task.kthread is not None]
    for task, name in zip(kthreads, HOSTILE, strict=False):
        assert task.kthread is not None
        task.kthread.workqueue = name
    index = TaskIndex(isolated)
    root = parse_query("").root
    facet = next(facet for facet in count_facets(index, index.everything, root) if facet.name == "workqueue")
    assert len(facet.terms) == len(HOSTILE) and facet.more == 0
    unsayable = 0
    for term in facet.terms:
        assert term.label.isprintable() or term.label == ""
        if term.node is None:
            unsayable += 1
        else:
            assert index.mask(parse_query(toggle_term("", term.node)).root).count(1) == term.count == 1
    assert unsayable == 3  # both kinds of quotes, a wildcard, nothing at all
