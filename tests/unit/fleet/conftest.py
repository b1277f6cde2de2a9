"""Fixtures of the fleet's tests: the command as a process of its own, and a fleet to read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.model import Snapshot
from tests.fleets import make_slices, make_snapshots

ROOT = Path(__file__).parents[3]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def fleet_files(fixture_snapshots: dict[str, Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of forty snapshots and three slices, all of different machines."""
    folder = tmp_path_factory.mktemp("fleet-files")
    make_snapshots(folder, 40, fixture_snapshots)
    list(make_slices(folder, 3))
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts ``nullfs-explorer`` in an empty directory, in a process group of its own."""

    def start_command(
        *words: str | Path, python: tuple[str, ...] = ("-m", "explorer")
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *python, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start_command
