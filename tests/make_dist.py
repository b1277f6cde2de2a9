"""Builds wheel and sdist with no date or path of this machine in them: ``python -m tests.make_dist DIRECTORY``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ("build", "commit_time")

ROOT = Path(__file__).parents[1]
#: Where there is no commit to take the date from: the first that a zip archive can hold.
_EPOCH = "315532800"


def commit_time() -> str:
    """When the last commit was made, in seconds since 1970."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or _EPOCH
    except (OSError, subprocess.CalledProcessError):
        return _EPOCH


def build(directory: Path, epoch: str | None = None) -> list[Path]:
    """Both archives, in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": epoch or commit_time(),
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
    }
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(directory.absolute())]
    subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return sorted(directory.iterdir())


if __name__ == "__main__":
    for path in build(Path(sys.argv[1])):
        print(path)
