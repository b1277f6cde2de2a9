"""How a target of a fleet ended: every one of them ends as a row that says so."""

from __future__ import annotations

from enum import StrEnum

__all__ = ("OPENED", "Outcome")


class Outcome(StrEnum):
    """What came of one target; why, in words, stands beside it."""

    OK = "ok"
    """Read whole."""
    PARTIAL = "partial"
    """Read, and values or tasks are missing: what the single commands end with exit code 4 for."""
    CANNOT_OPEN = "cannot-open"
    """It is not there, may not be read, or is nothing that can be opened."""
    CRASHED = "crashed"
    """A signal ended who read it (a fault of libdrgn, the kernel's OOM killer), and nothing could be kept."""
    TIMEOUT = "timeout"
    """It took longer than a target may."""
    MEMORY = "memory"
    """It took more memory than a target may."""
    FAULT = "fault"
    """A fault of this program: an exception that nobody foresaw."""


#: Outcomes of targets whose rows have what was read.
OPENED = frozenset({Outcome.OK, Outcome.PARTIAL})
