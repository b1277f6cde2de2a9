"""A dataset's directory where another user has put something in its way: nothing is made or written through that."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.fleet.errors import FleetError
from explorer.fleet.manifest import MANIFEST
from explorer.fleet.running import FleetWriter
from tests.unit.targets.test_privilege_drop import as_root
from tests.unit.targets.test_strangers import nobody, shared

__all__ = ("shared",)


def a_link(fleet: Path, victim: Path) -> None:
    fleet.symlink_to(victim)


def a_directory_of_it(fleet: Path, victim: Path) -> None:
    fleet.mkdir(0o777)
    fleet.chmod(0o777)
    (fleet / "tasks").symlink_to(victim)


def its_lock(fleet: Path, victim: Path) -> None:
    fleet.mkdir(0o777)
    fleet.chmod(0o777)
    (fleet / ".lock").symlink_to(victim / "new")


def its_lock_as_a_pipe(fleet: Path, victim: Path) -> None:
    fleet.mkdir(0o777)
    fleet.chmod(0o777)
    os.mkfifo(fleet / ".lock", 0o666)


@as_root
@pytest.mark.parametrize(
    ("place", "below"),
    [(a_link, ""), (a_link, "deeper"), (a_directory_of_it, ""), (its_lock, ""), (its_lock_as_a_pipe, "")],
)
def test_no_part_of_a_dataset_is_made_through_what_another_user_has_put_there(
    shared: Path, tmp_path: Path, place: Callable[[Path, Path], None], below: str
) -> None:
    victim, fleet = shared / "victim", shared / "fleet"
    victim.mkdir(mode=0o700)
    with nobody():
        place(fleet, victim)
    with pytest.raises(FleetError, match="of another user"):
        FleetWriter(fleet / below)
    assert list(victim.iterdir()) == []


@as_root
def test_a_link_of_ones_own_leads_to_a_dataset(shared: Path) -> None:
    (shared / "real").mkdir()
    (shared / "own").symlink_to("real")
    with FleetWriter(shared / "own" / "fleet"):
        pass
    assert (shared / "real" / "fleet" / MANIFEST).exists()
