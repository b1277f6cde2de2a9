"""Rows that are looked at a table at once, against pydantic, which looks at each of their values."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from pydantic import ValidationError

from explorer.codec import load_snapshot, records_of_rows
from explorer.model import SNAPSHOT_ARRAYS, Record, Snapshot

from .test_columns import LIVELY

_TABLES = ("tasks", "fs_structs", "mounts")
_MANY = 70
#: What JSON can hold, and a stranger's file may have anywhere.
_ODD: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 0.5, -0.0, 1 << 63, 1 << 64, -(1 << 63), -(1 << 63) - 1, 1e400, "", "0", "1",
    "0x", "0x0", "0x00", "0xA", "0X1", " 0x1", "0x1\n", "0x1\n0x2", "0x1_0", "-0x1", "0x" + "f" * 16, "0x1" + "0" * 16,
    "0x\u0661", "R", "user", "shared", "nullfs", "\udcff", "a\0b", [], {}, ["x"], [{}],
    {"mount": "0x1"}, {"address": "0x1"},
]  # fmt: skip


def _rows(snapshot: Snapshot, table: str) -> list[dict[str, Any]]:
    rows = [record.model_dump(mode="json") for record in getattr(snapshot, table)]
    found = [copy.deepcopy(row) for row in rows]
    while len(found) < _MANY:
        found += copy.deepcopy(rows)
    return found


@pytest.fixture(scope="module")
def lively() -> Snapshot:
    return load_snapshot(LIVELY)


def _validated(record: type[Record], rows: list[Any]) -> list[Record] | None:
    try:
        return [record.model_validate(row) for row in rows]
    except ValidationError:
        return None


@pytest.mark.parametrize("table", _TABLES)
def test_the_rows_of_a_snapshot_are_taken_at_once_and_are_what_pydantic_makes_of_them(
    lively: Snapshot, table: str
) -> None:
    rows = json.loads(json.dumps(_rows(lively, table)))
    found = records_of_rows(SNAPSHOT_ARRAYS[table], rows)
    assert found is not None
    expected = _validated(SNAPSHOT_ARRAYS[table], rows)
    assert found == expected
    assert [record.model_dump() for record in found] == [record.model_dump() for record in expected or []]
    assert {frozenset(record.model_fields_set) for record in found} == {
        frozenset(SNAPSHOT_ARRAYS[table].model_fields)
    }


@pytest.mark.parametrize("table", _TABLES)
def test_no_value_is_taken_that_pydantic_refuses_or_makes_something_else_of(
    lively: Snapshot, table: str
) -> None:
    record, rows = SNAPSHOT_ARRAYS[table], _rows(lively, table)
    taken = 0
    for name in record.model_fields:
        for odd in _ODD:
            changed = list(rows)
            changed[7] = {**rows[7], name: odd}
            found = records_of_rows(record, changed)
            if found is None:
                continue
            taken += 1
            expected = record.model_validate(changed[7])
            assert found[7] == expected, (name, odd)
            assert repr(found[7]) == repr(expected), (name, odd)
    assert taken > len(record.model_fields)  # whatever may be None, at least


@pytest.mark.parametrize("table", _TABLES)
def test_what_is_odd_within_a_record_of_a_row_is_refused_as_pydantic_refuses_it(
    lively: Snapshot, table: str
) -> None:
    record, rows = SNAPSHOT_ARRAYS[table], _rows(lively, table)
    chance = random.Random(20)
    nested = [
        (at, name, inner)
        for at, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, dict)
        for inner in value
    ]
    for at, name, inner in chance.sample(nested, min(len(nested), 60)):
        for odd in _ODD:
            changed = list(rows)
            changed[at] = {**rows[at], name: {**rows[at][name], inner: odd}}
            found = records_of_rows(record, changed)
            assert found is None or repr(found[at]) == repr(record.model_validate(changed[at])), (
                name,
                inner,
                odd,
            )


def test_rows_that_are_few_or_lack_a_member_or_are_no_objects_are_left_to_pydantic(lively: Snapshot) -> None:
    rows, record = _rows(lively, "tasks"), SNAPSHOT_ARRAYS["tasks"]
    assert records_of_rows(record, rows[:10]) is None
    lacking = {name: value for name, value in rows[3].items() if name != "cgroup"}
    odd_rows: tuple[Any, ...] = (lacking, None, [], "x", 1)
    for odd in odd_rows:
        assert records_of_rows(record, [*rows[:3], odd, *rows[4:]]) is None
    more = [{**row, "newer": 1} for row in rows]
    assert records_of_rows(record, more) == _validated(record, more)
