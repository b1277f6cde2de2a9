"""Fixtures of all tests: the fixtures made from real kernels, and the command as a user runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from explorer.model import Snapshot

DATA = Path(__file__).parent / "data"
SAMPLE = Path(__file__).parent.parent / "explorer" / "samples" / "linux-7.3.elf.zst"

#: Slices of real kernels that this tool made, by layout.
FIXTURES = {
    "isolated": SAMPLE,
    "rfc-v1": DATA / "linux-7.2-rfc-v1.elf.zst",
    "nullfs-rootfs": DATA / "linux-7.2.elf.zst",
    "legacy-6.12": DATA / "linux-6.12.elf.zst",
    "legacy-6.1": DATA / "linux-6.1.elf.zst",
}

#: A slice of the holders scenario on 7.3: dead mounts, each held in one way, and namespaces without tasks.
HELD = DATA / "linux-7.3-holders.elf.zst"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The types of kernels are cached in a directory of the test run's own."""
    directory = tmp_path_factory.mktemp("xdg-cache")
    users = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        # Kernels stay where they are: they are fetched once for all runs.
        if "NULLFS_EXPLORER_LAB" not in os.environ:
            patch.setenv("NULLFS_EXPLORER_LAB", f"{users}/nullfs-explorer-lab")
        patch.setenv("XDG_CACHE_HOME", str(directory))
        yield directory


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``nullfs-explorer`` in an empty directory, as a user would; returns what it printed and its code."""

    def run_command(*args: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "explorer", *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(DATA.parent.parent), **(env or {})},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=300,
            check=False,
        )

    return run_command


def capture_file(path: Path, *, cache: bool = True) -> Snapshot:
    """Capture a vmcore in this process."""
    from explorer.capture.request import CaptureRequest
    from explorer.capture.snapshot import capture_snapshot
    from explorer.targets.detect import detect_target
    from explorer.targets.kernel import OpenOptions, open_kernel

    with open_kernel(detect_target(str(path)), OpenOptions(use_cache=cache)) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@pytest.fixture(scope="session")
def fixture_snapshots() -> dict[str, Snapshot]:
    """A snapshot of every fixture, by layout."""
    return {layout: capture_file(path) for layout, path in FIXTURES.items()}


@contextmanager
def silent_qemu(directory: Path) -> Iterator[str]:
    """A target that is waited for, some seconds: a QEMU that takes the connection and says nothing."""
    path = directory / "silent.qmp"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        yield f"qemu:{path}"
