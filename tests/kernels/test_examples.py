"""The worked example that boots a kernel, run by pytest as its user would: it passes on 7.3, and fails before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.scenarios import find_scenario

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "test_isolation.py"


@pytest.mark.parametrize(
    ("line", "passes"), [("7.3", True), pytest.param("7.2", False, marks=pytest.mark.repetition)]
)
def test_the_example_boots_a_kernel_and_judges_its_threads(line: str, passes: bool, tmp_path: Path) -> None:
    kernel = kernel_or_skip(line)
    (tmp_path / "initrd").write_bytes(build_initramfs(kernel, find_scenario("healthy")))
    environment = {
        **os.environ,
        "KERNEL": str(kernel.vmlinuz),
        "INITRD": str(tmp_path / "initrd"),
        "APPEND": "nx.scenario=healthy",
        "UNTIL": "pid:1 comm:nx-init",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        str(EXAMPLE),
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if passes:
        assert ran.returncode == 0, ran.stdout
        assert "1 passed" in ran.stdout
    else:
        assert ran.returncode == 1, ran.stdout
        assert "nullfs-rootfs" in ran.stdout
