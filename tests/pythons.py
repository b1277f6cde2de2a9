"""Runs the tests that need no terminal on every newer Python of this machine: ``python -m tests.pythons [DIRECTORY]``.

Those on the path, those that pyenv has, and of those that are promised (``NEWEST``) and not here, what Debian has. Each
gets a virtual environment in the directory, with what pip chooses for it: the locks are for one Python. One on which
the package cannot be installed is said to be that, and is a failure, as is one that is promised and cannot be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.debian_python import fetch_python
from tests.kernels.lab.errors import LabError

__all__ = ("NEWEST", "TESTED", "find_pythons", "summary")

ROOT = Path(__file__).parents[1]
#: Of tests/unit: what reads, decodes and means something, not what starts hundreds of processes.
TESTED = (
    "analysis",
    "capture",
    "codec",
    "library",
    "model",
    "naming",
    "output",
    "plugins",
    "procfs",
    "recording",
    "tracing",
)
#: Tested whoever has installed what.
NEWEST = "3.14"
_NO_NEWER = 20


def find_pythons(versions: Path, path: str, oldest: int) -> dict[str, Path]:
    """``3.N`` -> an interpreter, for each N from the oldest; the newest first.

    :param versions: where pyenv keeps its own
    :param path: directories, as in ``$PATH``
    """
    found = {}
    for minor in reversed(range(oldest, _NO_NEWER)):
        kept = sorted(versions.glob(f"3.{minor}.*/bin/python3.{minor}"), key=_patch)
        named = shutil.which(f"python3.{minor}", path=path)
        if kept or named:
            found[f"3.{minor}"] = kept[-1] if kept else Path(str(named))
    return found


def _patch(python: Path) -> int:
    digits = python.parents[1].name.split(".")[2]
    return int(digits) if digits.isdecimal() else -1


def summary(output: str) -> str:
    """The line of pytest's that says how many passed, or that it said none."""
    lines = output.strip().splitlines()
    return lines[-1] if lines and " passed" in lines[-1] else "pytest did not come to its end"


def _try(version: str, python: Path, directory: Path) -> tuple[bool, str]:
    """Whether all is well on a Python, and what to say of it."""
    own = str(directory / version / "bin" / "python")
    if not Path(own).exists():  # Debian's has no pip of its own: this one's will do
        subprocess.run([str(python), "-m", "venv", "--without-pip", str(directory / version)], check=True)
    quiet = ("--quiet", "--disable-pip-version-check")
    install = [sys.executable, "-m", "pip", "--python", own, "install", *quiet, "-e", f"{ROOT}[dev]"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        why = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
        return False, f"cannot be installed: {(why or ['without a word'])[-1]}"
    folders = [str(ROOT / "tests" / "unit" / name) for name in TESTED]
    command = [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not kernel and not repetition"]
    ran = subprocess.run([*command, *folders], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode != 0:
        print(ran.stdout)
    exact = subprocess.run([own, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return ran.returncode == 0, f"{exact}: {summary(ran.stdout)}"


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(sys.prefix) / "pythons"
    directory.mkdir(parents=True, exist_ok=True)
    pythons = find_pythons(
        Path.home() / ".pyenv" / "versions", os.environ.get("PATH", ""), sys.version_info[1] + 1
    )
    failed = 0
    if NEWEST not in pythons:
        try:
            pythons = {NEWEST: fetch_python(NEWEST), **pythons}
        except LabError as error:
            failed += 1
            print(f"{NEWEST}: is not here, and cannot be had from Debian: {error}", flush=True)
    for version, python in pythons.items():
        good, said = _try(version, python, directory)
        failed += not good
        print(f"{version}: {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
