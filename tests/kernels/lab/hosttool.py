"""Programs of this machine that the lab builds with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tests.kernels.lab.errors import LabError

__all__ = ("run_host_tool",)


def run_host_tool(command: Sequence[str], needs: str, failure: str) -> None:
    """Run it. :raises LabError: it is not here (the lab ``needs`` it), or it fails (``failure``, and what it says)"""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError(f"the lab needs {needs}") from None
    if done.returncode:
        raise LabError(f"{failure}{done.stderr.strip()}")
