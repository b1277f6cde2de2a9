"""A baseline: the findings that somebody has accepted, as a file that outlives the boot."""

from __future__ import annotations

from typing import Literal

from .base import KernelText, Record
from .finding import Severity

__all__ = ("BASELINE_FORMAT", "BASELINE_VERSION", "AcceptedFinding", "Baseline")

BASELINE_FORMAT = "nullfs-explorer baseline"
BASELINE_VERSION = 1


class AcceptedFinding(Record):
    """One finding that is put up with, on whatever boot it is found again."""

    rule: str
    subject: KernelText
    """What it is about: its evidence by name and the paths it names, with ``#`` for what differs from boot to boot."""
    severity: Severity
    """As bad as this, or less: what is worse by now is not what was accepted."""
    title: KernelText
    """As it was found when it was accepted: for people, nothing is compared with it."""


class Baseline(Record):
    """The file: what was accepted, each once, sorted by rule and subject."""

    format: Literal["nullfs-explorer baseline"] = "nullfs-explorer baseline"
    version: int = BASELINE_VERSION
    accepted: list[AcceptedFinding]
