"""Whether a vulnerability is known in what the locks name: ``python -m tests.audit_deps [--strict]``.

pip-audit asks; it is kept beside the virtual environment's packages, not among them. Where it cannot be installed or
its service does not answer for every package, that is said in one line, and is a failure only with ``--strict``: tests
run on machines without a network, too. pip-audit alone would call it "no known vulnerabilities".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.make_lock import LOCK, lock_of

__all__ = ("audit", "judge")

_LIMIT_S = 20.0
_TOOL = Path(sys.prefix) / "pip-audit"
_AUDIT = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "5", "-f", "json")


def judge(output: str, errors: str) -> tuple[list[str], str]:
    """What pip-audit printed: known vulnerabilities, a line each; and why it could not say, if it could not.

    :param output: its JSON; empty, if it failed
    """
    try:
        packages = json.loads(output)["dependencies"]
        found = [
            f"{package['name']} {package['version']}: {vulnerability['id']}"
            for package in packages
            for vulnerability in package.get("vulns", ())
        ]
        skipped = [package for package in packages if "skip_reason" in package]
    except (ValueError, LookupError, TypeError):
        return [], f"it failed: {(errors.strip().splitlines() or ['without a word'])[-1]}"
    if not packages:
        return [], "it looked at no package"
    if skipped:
        first = skipped[0]
        return found, f"it was not told of {len(skipped)} of {len(packages)} packages: {first['skip_reason']}"
    return found, ""


def _run(*words: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ if path is None else {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-m", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


def audit() -> tuple[list[str], str]:
    """Ask. Known vulnerabilities, and why there may be others."""
    try:
        if not (_TOOL / "pip_audit").is_dir():
            quiet = ("--quiet", "--disable-pip-version-check", "--retries", "0")
            installed = _run("pip", "install", *quiet, "--target", _TOOL, "pip-audit")
            if installed.returncode != 0:
                why = (installed.stderr.strip().splitlines() or ["without a word"])[-1]
                return [], f"pip-audit cannot be installed: {why}"
        asked = _run(
            "pip_audit", *_AUDIT, "-r", lock_of("dev"), path=_TOOL
        )  # it has all that the others have
    except subprocess.TimeoutExpired:
        return [], f"there was no answer within {_LIMIT_S:g} s"
    return judge(asked.stdout, asked.stderr)


def main() -> int:
    found, unknown = audit()
    for line in found:
        print(f"VULNERABLE: {line}")
    if unknown:
        print(f"NOT AUDITED: whether {LOCK.name} has known vulnerabilities could not be asked: {unknown}")
    elif not found:
        print(f"pip-audit knows of no vulnerability in {LOCK.name}")
    return 1 if found or (unknown and "--strict" in sys.argv[1:]) else 0


if __name__ == "__main__":
    sys.exit(main())
