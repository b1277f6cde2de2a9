"""Deltas: whatever changes between two documents, what is applied gives the second one, or no delta is given."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.model import Snapshot
from explorer.recording.clocked import ClockedTable
from explorer.recording.delta import TABLES, apply_delta, apply_delta_to_records, make_delta
from explorer.recording.format import RecordingError
from explorer.recording.snapshots import SnapshotBuilder
from explorer.recording.writer import to_document
from tests.unit.recordings import make_snapshots

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
)
_CLOCKS = st.one_of(st.none(), st.integers(0, 10**9).map(lambda number: number / 1000), st.floats(0, 1e6))


@pytest.fixture(scope="module")
def document(fixture_snapshots: dict[str, Snapshot]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(to_document(fixture_snapshots["isolated"])))
    for name in TABLES:
        del found[name][5:]
    return found


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, str, int, str, Any]]:
    one = st.tuples(
        st.sampled_from(["drop", "add", "member", "lack", "clock", "all clocks", "swap", "value"]),
        st.sampled_from(list(TABLES)),
        st.integers(0, 4),
        st.sampled_from(["state", "pid", "root", "waiting_s", "name", "address", "new"]),
        _VALUES,
    )
    return draw(st.lists(one, max_size=6))


def edit(document: dict[str, Any], what: tuple[str, str, int, str, Any]) -> None:
    act, table, index, member, value = what
    rows = document[table]
    if act == "value":
        document[member] = value
    elif not rows:
        return
    elif act == "drop":
        del rows[index % len(rows)]
    elif act == "add":
        row = copy.deepcopy(rows[index % len(rows)])
        row[TABLES[table]] = f"0x{abs(hash(str(value))):x}"
        rows.insert(index % (len(rows) + 1), row)
    elif act == "swap":
        rows[0], rows[index % len(rows)] = rows[index % len(rows)], rows[0]
    elif act == "lack":
        rows[index % len(rows)].pop(member, None)
    elif act == "clock":
        rows[index % len(rows)]["waiting_s"] = value if isinstance(value, float) else None
    elif act == "all clocks":
        for row in rows:
            if type(row.get("waiting_s")) in (int, float):
                row["waiting_s"] = round(row["waiting_s"] + index / 100, 3)
    else:
        rows[index % len(rows)][member] = value


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits())
def test_a_delta_leads_to_the_second_document_and_leaves_the_first_alone(
    document: dict[str, Any], what: list[tuple[str, str, int, str, Any]]
) -> None:
    after, before = copy.deepcopy(document), copy.deepcopy(document)
    for one in what:
        edit(after, one)
    delta = make_delta(before, after)
    assert before == document
    if delta is not None:
        packed = json.loads(json.dumps(delta))
        assert apply_delta(before, packed) == after
        assert before == document


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_CLOCKS, min_size=1, max_size=5), st.lists(_CLOCKS, min_size=5, max_size=5))
def test_clocks_come_back_to_the_last_digit(
    document: dict[str, Any], first: list[float | None], second: list[float | None]
) -> None:
    before, after = copy.deepcopy(document), copy.deepcopy(document)
    for row, value in zip(before["tasks"], first, strict=False):
        row["waiting_s"] = value
    for row, value in zip(after["tasks"], second, strict=False):
        row["waiting_s"] = value
    delta = make_delta(before, after)
    assert delta is not None
    assert apply_delta(before, json.loads(json.dumps(delta))) == after


def test_clocks_that_move_alike_cost_a_character_each(fixture_snapshots: dict[str, Snapshot]) -> None:
    a, b = (to_document(one) for one in make_snapshots(fixture_snapshots["isolated"], 2))
    delta = make_delta(a, b)
    assert delta is not None
    table = delta["tables"]["tasks"]
    assert "waiting_s" in table["later"]
    assert not any("waiting_s" in members for members in table.get("set", {}).values() if len(members) == 1)


@pytest.mark.parametrize(
    "delta",
    [
        {"tables": {"tasks": {"set": {"0x1": {}}}}},
        {"tables": {"tasks": {"later": {"waiting_s": [1, "x" * 5]}}}},
        {"tables": {"tasks": {"later": {"comm": [1, "0" * 5]}}}},
        {"merge": {"log": {}}},
        {"values": 5},
    ],
)
def test_a_delta_of_another_frame_is_refused(document: dict[str, Any], delta: dict[str, Any]) -> None:
    with pytest.raises(RecordingError):
        apply_delta(document, delta)


def test_a_record_of_which_a_clock_alone_moved_is_the_one_that_the_model_makes(
    fresh: Callable[[str], Snapshot],
) -> None:
    """It is not validated again: the same must come of it, also where a table has a clock that its records have not."""
    documents = [to_document(snapshot) for snapshot in make_snapshots(fresh("isolated"), 12, seed=20)]
    builder = SnapshotBuilder()
    reached, moved = documents[0], 0
    builder.build(reached)
    for before, after in pairwise(documents):
        delta = make_delta(before, after)
        assert delta is not None
        reached = apply_delta_to_records(reached, delta)
        if isinstance(reached["tasks"], ClockedTable):
            moved += sum(shown is not None for shown in reached["tasks"].moved.get("waiting_s", ()))
        assert builder.build(reached) == Snapshot.model_validate(after)
    assert moved > 100


def test_the_places_that_a_delta_names_are_those_at_which_two_frames_have_another_record(
    fresh: Callable[[str], Snapshot],
) -> None:
    """The builder looks at no other place of such a table."""
    documents = [to_document(snapshot) for snapshot in make_snapshots(fresh("isolated"), 60, seed=20)]
    reached, told = documents[0], 0
    for before, after in pairwise(documents):
        delta = make_delta(before, after)
        assert delta is not None
        previous, reached = reached, apply_delta_to_records(reached, delta)
        for name in TABLES:
            old, new = previous[name], reached[name]
            if isinstance(old, ClockedTable) and isinstance(new, ClockedTable) and new.made_from is old.token:
                told += len(new.others)
                assert len(new) == len(old)
                assert sorted(new.others) == [at for at, row in enumerate(new) if row is not old[at]]
    assert told > 3, told


def test_a_clock_that_no_record_of_its_table_has_changes_none(fresh: Callable[[str], Snapshot]) -> None:
    document = to_document(fresh("isolated"))
    document["mounts"] = [row | {"waiting_s": 1.0} for row in document["mounts"]]
    builder = SnapshotBuilder()
    first = builder.build(document)
    moved = {"tables": {"mounts": {"later": {"waiting_s": [50, "0" * len(document["mounts"])]}}}}
    assert builder.build(apply_delta(document, moved)) == first
    assert all("waiting_s" not in mount.__dict__ for mount in builder.build(document).mounts)
