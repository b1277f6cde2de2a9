"""A fleet of the fixtures: five kernels, some of them twice, and targets that could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.codec import load_snapshot
from explorer.fleet import Outcome
from explorer.model import Snapshot
from tests.tui.conftest import SAVED
from tests.written_fleets import write_fleet

ROOT = Path(__file__).parents[4]
UNREAD = (
    ("dumps/empty.elf", Outcome.CANNOT_OPEN, "the file is empty"),
    ("dumps/none.elf", Outcome.CANNOT_OPEN, "dumps/none.elf: the file is empty"),
    ("dumps/huge.elf", Outcome.TIMEOUT, "it took longer than 600 s"),
)


@pytest.fixture(scope="session")
def fleet_snapshots(fixture_snapshots: dict[str, Snapshot]) -> dict[str, Snapshot]:
    """By the names of their files: most of 7.3 are alike, one is abandoned."""
    found = {f"dumps/{layout}.elf": snapshot for layout, snapshot in fixture_snapshots.items()}
    found["dumps/isolated-2.elf"] = fixture_snapshots["isolated"]
    found["dumps/isolated-3.elf"] = fixture_snapshots["isolated"]
    found["dumps/lively.json"] = load_snapshot(SAVED)
    found["dumps/abandoned.json"] = load_snapshot(ROOT / "screenshots" / "abandoned.json.zst")
    return found


@pytest.fixture(scope="session")
def fleet(fleet_snapshots: dict[str, Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fleet") / "fleet"
    return write_fleet(directory, fleet_snapshots, UNREAD, keep=True, parts=2)
