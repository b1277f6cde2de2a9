"""Fixtures of the unit tests: snapshots that a test may change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from explorer.model import Snapshot


@pytest.fixture
def fresh(fixture_snapshots: dict[str, Snapshot]) -> Callable[[str], Snapshot]:
    """A copy of a fixture's snapshot, to be changed before anything of it is looked up."""
    return lambda layout: Snapshot.model_validate(fixture_snapshots[layout].model_dump())


@pytest.fixture
def isolated(fresh: Callable[[str], Snapshot]) -> Snapshot:
    return fresh("isolated")
