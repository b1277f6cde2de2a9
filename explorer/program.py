"""How this program is started again: as a child that reads, or for a tab of a browser. Stands below all layers."""

from __future__ import annotations

import sys

__all__ = ("own_command",)


def own_command() -> list[str]:
    """The words in front of the arguments: of ``make standalone`` that one file, else Python's."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    # -P: a directory called explorer where the user happens to be is none of ours.
    return [sys.executable, "-P", "-m", "explorer"]
