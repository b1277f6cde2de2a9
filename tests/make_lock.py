"""Writes ``requirements.lock``: ``python -m tests.make_lock``.

What pip chooses for the package's own dependencies on this Python and this machine (the project is for x86_64 Linux),
each with its version and the hash of the file, so that ``pip install --require-hashes -r requirements.lock`` installs
exactly that or nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ("LOCK", "locked_lines")

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
_HEAD = (
    "# Made by: make lock. For CPython {}.{} on x86_64 Linux.",
    "# To install: pip install --require-hashes -r requirements.lock && pip install --no-deps .",
)


def locked_lines() -> list[str]:
    """Name, version and hash of everything that an installation would get, sorted."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--disable-pip-version-check", "--report", report, ROOT], check=True)
        found = json.loads(report.read_text())["install"]
    lines = []
    for item in found:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        archive = item["download_info"].get("archive_info")
        if archive is not None:  # this project itself is a directory
            lines.append(f"{name.lower()}=={version} --hash=sha256:{archive['hashes']['sha256']}")
    return sorted(lines)


def main() -> int:
    lines = [line.format(*sys.version_info[:2]) for line in _HEAD] + locked_lines()
    LOCK.write_text("\n".join(lines) + "\n")
    print(f"{LOCK.name}: {len(lines) - len(_HEAD)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
