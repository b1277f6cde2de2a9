"""Snapshots as JSON that hold what no kernel and no plugin has: each ends in one clear error, before any arithmetic."""

from __future__ import annotations

import json

import pytest

from explorer.codec.snapshots import SnapshotError, parse_snapshot
from explorer.codec.version import NoVersionError, VersionError, check_version
from explorer.model import SCHEMA_VERSION, SNAPSHOT_ARRAYS, Snapshot

HUGE = 10**400


@pytest.mark.parametrize("array", [name for name, kind in SNAPSHOT_ARRAYS.items() if name != "errors"])
def test_numbers_that_are_no_kernels_are_refused_in_every_array(
    array: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    whole = fixture_snapshots["isolated"].model_dump(mode="json")
    if not whole[array]:
        pytest.skip("the kernel had none")
    row = whole[array][0]
    for member, value in row.items():
        if type(value) in (int, float):
            for bad in (HUGE, -HUGE, float("nan"), float("inf")):
                with pytest.raises(SnapshotError, match=f"{array}.0.{member}"):
                    parse_snapshot(json.dumps(whole | {array: [row | {member: bad}]}).encode(), "x.json")


def test_facts_of_a_snapshot_are_finite_and_shallow(fixture_snapshots: dict[str, Snapshot]) -> None:
    whole = fixture_snapshots["isolated"].model_dump(mode="json")
    for facts in ('{"a":NaN}', '{"a":[1e999]}', '{"a":' * 100 + "1" + "}" * 100):
        text = json.dumps(whole | {"plugins": {"x": "@"}}).replace('"@"', facts)
        with pytest.raises(SnapshotError, match="plugins"):
            parse_snapshot(text.encode(), "x.json")


def test_an_error_about_a_snapshot_does_not_repeat_what_it_was_given(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    whole = fixture_snapshots["isolated"].model_dump(mode="json")
    for bad in ({"schema_version": 10**4000}, {"plugins": {"A" * 100_000: 5}}):
        with pytest.raises(SnapshotError) as caught:
            parse_snapshot(json.dumps(whole | bad).encode(), "x.json")
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("version", [True, "1", 1.0, None, [1]])
def test_a_version_that_is_no_whole_number_is_none_at_all(version: object) -> None:
    with pytest.raises(NoVersionError):
        check_version(version)


@pytest.mark.parametrize("version", [0, -1, SCHEMA_VERSION + 1, 10**100])
def test_a_version_of_another_program_is_refused_in_a_line(version: int) -> None:
    with pytest.raises(VersionError) as caught:
        check_version(version)
    assert len(str(caught.value)) < 120
    assert check_version(SCHEMA_VERSION) == SCHEMA_VERSION
