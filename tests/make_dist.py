"""Builds wheel and sdist with no date or path of this machine in them: ``python -m tests.make_dist DIRECTORY``.

Then twine checks them, as whoever uploads them would; it is kept beside the virtual environment's packages, not among
them. Without it nothing is said to be checked, and the exit code is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ("build", "check", "commit_time")

ROOT = Path(__file__).parents[1]
#: Where there is no commit to take the date from: the first that a zip archive can hold.
_EPOCH = "315532800"
_TOOL = Path(sys.prefix) / "twine"


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


def check(paths: list[Path]) -> str:
    """What twine has against some archives, or why it cannot be asked; empty: nothing."""
    if not (_TOOL / "twine").is_dir():
        quiet = ("--quiet", "--disable-pip-version-check", "--target", str(_TOOL))
        installed = _run("pip", "install", *quiet, "twine")
        if installed.returncode != 0:
            return f"twine cannot be installed: {installed.stderr.strip()}"
    ran = _run("twine", "--no-color", "check", "--strict", *map(str, paths))
    return "" if ran.returncode == 0 else (ran.stdout + ran.stderr).strip()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_TOOL)}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    paths = build(Path(sys.argv[1]))
    print(*paths, sep="\n")
    wrong = check([path for path in paths if path.suffix in (".whl", ".gz")])
    print(wrong or "twine check: passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
