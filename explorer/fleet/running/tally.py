"""How far a run is, for whoever shows it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from explorer.fleet.outcomes import Outcome

__all__ = ("Tally",)


@dataclass(slots=True)
class Tally:
    """Counts of one run."""

    found: int = 0
    """Files that may be targets."""
    passed_over: int = 0
    """Of these, files that are none."""
    skipped: int = 0
    """Targets of which the dataset has a row by this version, or that were named twice."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    @property
    def read(self) -> int:
        """Targets that were read now, whatever came of it."""
        return self.outcomes.total()

    @property
    def settled(self) -> int:
        """Files of which is known what becomes of them."""
        return self.passed_over + self.skipped + self.read

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """Targets read in a second, until now."""
        return self.read / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take, if it goes on so; ``None`` where nothing has been read."""
        return (self.found - self.settled) / self.rate if self.read else None
