"""Who reads a target of a fleet has no rights and is confined when it begins to parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SAMPLE, Run
from tests.unit.targets.test_privilege_drop import NOBODY, SUDO, as_root, assert_without_rights, watched_at


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
@pytest.mark.parametrize(("kind", "step"), [("dump", "open_program"), ("snapshot", "load_snapshot")])
def test_a_target_of_a_fleet_is_parsed_by_a_process_that_has_no_rights_any_more(
    run: Run, tmp_path: Path, caller: dict[str, str], kind: str, step: str
) -> None:
    """Of a dump that only root may read, and of a snapshot that anybody may."""
    target = tmp_path / "dump"
    target.write_bytes(SAMPLE.read_bytes())
    target.chmod(0o600)
    if kind == "snapshot":
        target = tmp_path / "saved.json"
        assert run("snapshot", SAMPLE, "-o", target).returncode == 0
        target.chmod(0o644)
    words = ("fleet", "run", target, "-o", tmp_path / "data", "--workers", "1")
    done, threads = watched_at(step, tmp_path, caller, *words)
    assert done.returncode == 0, done.stderr
    assert_without_rights(threads, NOBODY if caller else 0)
    assert {thread["Seccomp"].strip() for thread in threads} == {"2"}
    assert (tmp_path / "data").is_dir()
