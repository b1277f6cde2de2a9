"""Which Pythons ``make pythons`` finds, and that it does not call a run good that did not come to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pythons import ROOT, TESTED, find_pythons, summary


def put(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_the_newest_of_each_version_is_found_in_pyenv_and_else_on_the_path(tmp_path: Path) -> None:
    versions, programs = tmp_path / "versions", tmp_path / "bin"
    for name in ("3.11.7", "3.12.9", "3.12.10", "3.12-dev"):
        put(versions / name / "bin" / f"python{name[:4]}")
    put(programs / "python3.12")
    on_path = put(programs / "python3.13")
    newest = versions / "3.12.10" / "bin" / "python3.12"
    found = find_pythons(versions, str(programs), 12)
    assert list(found.items()) == [("3.13", on_path), ("3.12", newest)]
    assert find_pythons(tmp_path / "none", str(tmp_path / "none"), 12) == {}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("....\n4 passed, 1 skipped in 3.20s\n", "4 passed, 1 skipped in 3.20s"),
        ("....\n1 failed, 3 passed in 3.20s\n", "1 failed, 3 passed in 3.20s"),
        ("....Fatal Python error\n", "pytest did not come to its end"),
        ("", "pytest did not come to its end"),
    ],
)
def test_a_run_that_did_not_come_to_its_end_is_said_to_be_that(output: str, said: str) -> None:
    assert summary(output) == said


def test_what_is_run_there_is_there() -> None:
    assert [name for name in TESTED if not list((ROOT / "tests" / "unit" / name).glob("test_*.py"))] == []
