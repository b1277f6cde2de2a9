"""What an audit finds: a named rule, how bad it is, what shows it, what it means and what to do.

And a baseline: the findings that somebody has accepted, as a file that outlives the boot.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .base import KernelText, Record
from .refs import Reference

__all__ = (
    "BASELINE_FORMAT",
    "BASELINE_VERSION",
    "AcceptedFinding",
    "Baseline",
    "Finding",
    "Severity",
)

BASELINE_FORMAT = "nullfs-explorer baseline"
BASELINE_VERSION = 1


class Severity(StrEnum):
    """How bad, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for critical, larger for what is less bad."""
        return list(Severity).index(self)

    def reaches(self, threshold: Severity) -> bool:
        """Whether this is as bad as ``threshold``, or worse."""
        return self.rank <= threshold.rank


class Finding(Record):
    """One thing found. Kernel text in it is not escaped: whoever shows it escapes it."""

    rule: str
    """Stable id, such as ``NX-PID1-ABANDONED``."""
    severity: Severity
    title: KernelText
    """One line about this case, with names."""
    evidence: list[Reference]
    explanation: str
    """What it means, on this kernel."""
    advice: str
    """What to do."""
    accepted: str | None = None
    """What says that it is known and put up with: a baseline's file, or an option; ``None``: nothing does."""


class AcceptedFinding(Record):
    """One finding that is put up with, on whatever boot it is found again."""

    rule: str
    subject: KernelText
    """What it is about: its evidence by name and the paths it names, with ``#`` for what differs from boot to boot."""
    severity: Severity
    """As bad as this, or less: what is worse by now is not what was accepted."""
    title: KernelText
    """As it was found when it was accepted: for people, nothing is compared with it."""
    objects: dict[KernelText, Annotated[int, Field(ge=0, lt=1 << 63)]] | None = None
    """How many of what it is about, over all findings of this rule and subject: as many are accepted, and no more.
    ``None``: earlier versions did not count, and any number is."""


class Baseline(Record):
    """The file: what was accepted, each once, sorted by rule and subject."""

    format: Literal["nullfs-explorer baseline"] = "nullfs-explorer baseline"
    version: int = BASELINE_VERSION
    accepted: list[AcceptedFinding]
