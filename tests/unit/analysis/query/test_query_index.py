"""Queries decided for all tasks at once: the same answers as one task at a time, and counts that add up."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.analysis.query.ast import Node, Text
from explorer.analysis.query.facts import FIELDS
from explorer.analysis.query.index import TaskIndex, selected
from explorer.analysis.query.parse import parse_query
from explorer.model import Snapshot

from .test_query import LAYOUTS, QUERIES


@pytest.fixture(scope="module")
def indices(fixture_snapshots: dict[str, Snapshot]) -> dict[str, TaskIndex]:
    return {layout: TaskIndex(fixture_snapshots[layout]) for layout in LAYOUTS}


@settings(max_examples=150, deadline=None)
@given(node=QUERIES, layout=st.sampled_from(LAYOUTS))
def test_all_at_once_finds_what_one_at_a_time_finds(
    fixture_snapshots: dict[str, Snapshot], indices: dict[str, TaskIndex], node: Node, layout: str
) -> None:
    snapshot = fixture_snapshots[layout]
    matches = parse_query(str(node)).bind(snapshot)
    expected = [place for place, task in enumerate(snapshot.tasks) if matches(task)]
    assert selected(indices[layout].mask(node)) == expected


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_counts_of_a_column_are_those_of_the_tasks_selected(
    fixture_snapshots: dict[str, Snapshot], indices: dict[str, TaskIndex], name: str
) -> None:
    snapshot, index = fixture_snapshots["isolated"], indices["isolated"]
    mask = index.mask(parse_query("kind:kthread or kind:user").root)
    expected = Counter(FIELDS[name].get(snapshot.tasks[place], snapshot) for place in selected(mask))
    assert index.column(name).counts(mask) == expected


@pytest.mark.parametrize("pattern", ["K", "ſ", "İ", "kworker", "\\e[", "MÜLL", "a\nb", "ß"])
def test_letters_beyond_ascii_are_compared_as_a_single_task_is(isolated: Snapshot, pattern: str) -> None:
    for task, name in zip(
        isolated.tasks, ("ſtrange", "Kelvin", "İstanbul", "müll", "a", "b", "SS", "ß"), strict=False
    ):
        task.comm = name
    query = parse_query(f'comm~"{pattern}"')
    matches, index = query.bind(isolated), TaskIndex(isolated)
    for node in (query.root, Text(pattern)):
        matches = parse_query(str(node)).bind(isolated)
        expected = [place for place, task in enumerate(isolated.tasks) if matches(task)]
        assert selected(index.mask(node)) == expected


def test_no_tasks_at_all_are_no_error(isolated: Snapshot) -> None:
    isolated.tasks.clear()
    index = TaskIndex(isolated)
    for query in ("", "kind:kthread", "not borrowing x", "1 or pid:1"):
        assert selected(index.mask(parse_query(query).root)) == []
