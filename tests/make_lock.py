"""Writes the locks: ``python -m tests.make_lock [--check]``.

What pip chooses for the package with all its extras on this Python and this machine (the project is for x86_64 Linux),
each with its version and the hash of the file: ``requirements.lock`` for the package alone, and one for it with each
extra, so that ``pip install --require-hashes -r requirements.lock`` installs exactly that or nothing. The extra ``dev``
is what tests run on, so its lock has all the others', too; ``fuzz`` is for one campaign, and has none.

All come from one choice of pip's: a version is the same in each of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

__all__ = ("LOCK", "extras", "lock_of", "locks_from")

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
_TESTS, _UNLOCKED = "dev", ("fuzz",)
_PROJECT = "nullfs-explorer"
_HEAD = (
    "# Made by: make lock. For CPython {}.{} on x86_64 Linux.",
    "# To install: pip install --require-hashes -r {} && pip install --no-deps .",
)


def extras() -> list[str]:
    """The extras that have a lock, as ``pyproject.toml`` names them."""
    project = (ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return sorted(set(re.findall(r"^([a-z]+) = \[", section, re.MULTILINE)) - set(_UNLOCKED))


def lock_of(extra: str) -> Path:
    """Where the lock of the package with an extra is."""
    return ROOT / f"requirements-{extra}.lock"


def locks_from(report: Mapping[str, Any]) -> dict[Path, list[str]]:
    """What each lock says, sorted: name, version and hash of all that an installation would get.

    :param report: what ``pip install --report`` said of the package with all extras
    """
    found = {_plain(item["metadata"]["name"]): item for item in report["install"]}
    everything = extras()
    locks = {LOCK: _closure(found, ())}
    for extra in everything:
        locks[lock_of(extra)] = _closure(found, everything if extra == _TESTS else (extra,))
    return {path: sorted(_line(found[name]) for name in names) for path, names in locks.items()}


def _closure(found: Mapping[str, Any], wanted: Iterable[str]) -> set[str]:
    """The names of all that the package with some extras needs, itself left out."""
    seen: set[tuple[str, str]] = set()
    pending = [(_PROJECT, extra) for extra in ("", *wanted)]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen or name not in found:
            continue
        seen.add((name, extra))
        for text in found[name]["metadata"].get("requires_dist", ()):
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                pending += [(_plain(needed.name), each) for each in ("", *needed.extras)]
    return {name for name, _ in seen} - {_PROJECT}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _line(item: Mapping[str, Any]) -> str:
    digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{item['metadata']['name'].lower()}=={item['metadata']['version']} --hash=sha256:{digest}"


def _ask_pip() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        target = f"{ROOT}[{','.join(extras())}]"
        subprocess.run([*command, "--disable-pip-version-check", "--report", report, target], check=True)
        answer: dict[str, Any] = json.loads(report.read_text())
        return answer


def _text(path: Path, lines: Iterable[str]) -> str:
    head = [
        line.format(*sys.version_info[:2]) if "{}.{}" in line else line.format(path.name) for line in _HEAD
    ]
    return "\n".join([*head, *lines]) + "\n"


def main() -> int:
    """``--check``: write nothing, and say what would be another."""
    checks = "--check" in sys.argv[1:]
    changed = 0
    for path, lines in locks_from(_ask_pip()).items():
        before = set(path.read_text().splitlines()) if path.exists() else set()
        new = _text(path, lines)
        differs = before != set(new.splitlines())
        changed += differs
        if not checks:
            path.write_text(new)
        print(f"{path.name}: {len(lines)} packages{', not as locked' if checks and differs else ''}")
        if checks:
            for line in sorted(before ^ set(new.splitlines())):
                print(f"  {'-' if line in before else '+'} {line.partition(' ')[0]}")
    return 1 if checks and changed else 0


if __name__ == "__main__":
    sys.exit(main())
