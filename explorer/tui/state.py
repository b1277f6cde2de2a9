"""What the app knows: the snapshot on the screen and what follows from it. One at a time, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.worlds import Worlds, find_worlds
from explorer.model import Snapshot
from explorer.plugin import load_plugins

from .views.overview import Overview, header_line, make_overview

__all__ = ("Session", "View")


@dataclass(frozen=True, slots=True)
class Session:
    """What the user asked to look at."""

    arguments: tuple[str, ...] = ()
    """The reader's, target and options; empty: the app was given a snapshot directly."""
    guess: bool = False
    """No target was named: the live kernel is a guess, and a failure is explained as such."""

    @property
    def target(self) -> str:
        return " ".join(self.arguments) or "a snapshot"


@dataclass(frozen=True)
class View:
    """A snapshot, and what is worked out from it when it is first asked for."""

    snapshot: Snapshot
    partial: str | None = None
    """Why values are missing; escaped."""
    number: int = field(default=0)
    """Counts readings: a screen that shows an older one is stale."""

    @cached_property
    def header(self) -> str:
        return header_line(self.snapshot)

    @cached_property
    def worlds(self) -> Worlds:
        return find_worlds(self.snapshot)

    @cached_property
    def overview(self) -> Overview:
        return make_overview(self.snapshot, self.worlds)

    @property
    def is_audited(self) -> bool:
        """Whether :attr:`audit` is there without waiting."""
        return "audit" in self.__dict__

    @cached_property
    def audit(self) -> AuditReport:
        return run_audit(self.snapshot, load_plugins().plugins)
