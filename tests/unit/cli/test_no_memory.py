"""Where a process may not have the memory it needs (``ulimit -v``), that is what is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.cli.streams import is_out_of_memory
from tests.conftest import SAMPLE

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kilobytes", [120_000, 200_000, 230_000])
def test_too_little_memory_is_one_line_and_exit_code_3_wherever_it_runs_out(kilobytes: int) -> None:
    """While libraries are loaded, while a target is opened, while it is read."""
    command = f"ulimit -v {kilobytes}; exec {sys.executable} -P -m explorer tasks {SAMPLE}"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (3, ""), ran
    (line,) = ran.stderr.splitlines()
    assert line.startswith("nullfs-explorer: out of memory")


def test_an_error_that_came_of_no_memory_is_told_from_others() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("cannot be decoded") from error
    except ValueError as error:
        assert is_out_of_memory(error)
    assert is_out_of_memory(ImportError("libx.so: failed to map segment from shared object"))
    assert not is_out_of_memory(ImportError("libx.so: cannot open shared object file"))
    assert not is_out_of_memory(None)
