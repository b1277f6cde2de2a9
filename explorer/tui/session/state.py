"""What the app knows: the snapshot on the screen and what follows from it. One at a time, replaced as a whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from explorer.analysis import AuditReport, FoundObjects, Worlds, audit_with, find_worlds
from explorer.analysis.diff import Changes
from explorer.codec import ReadAhead
from explorer.model import Snapshot
from explorer.plugin import PluginSet
from explorer.tui.views import MoreOverview, Overview, header_line, make_more, make_overview

from .background import give_way
from .garbage_collection import MANY_TASKS, freeze_more, settle_heap

__all__ = ("Session", "View")


@dataclass(frozen=True, slots=True)
class Session:
    """What the user asked to look at."""

    arguments: tuple[str, ...] = ()
    """The reader's, target and options; empty: the app was given a snapshot directly."""
    guess: bool = False
    """No target was named: the live kernel is a guess, and a failure is explained as such."""
    running: bool = False
    """The kernel runs on while it is looked at: reading it again gives something else. A vmcore or a saved snapshot is
    what it is for ever, and is never read again by itself."""
    interval: float | None = None
    """Seconds between readings of a kernel that runs; ``None``: only when asked."""
    against: str | None = None
    """A second target, to be compared with the first."""
    saved: ReadAhead | None = None
    """A saved snapshot, which the app reads itself if it can be read quickly and is whole; else a child reads it."""
    recording: Path | None = None
    """A recording that the app reads itself: there is no kernel to be careful with."""
    trace: Path | None = None
    """A saved trace of lookups, which the app reads itself: there is no snapshot then."""
    fleet: Path | None = None
    """The dataset of a fleet, whose targets are listed: there is a snapshot once one of them is opened."""
    moment: str | None = None
    """Where in the recording to begin; the end if ``None``."""
    plugins: PluginSet = field(default_factory=PluginSet, compare=False)
    """They judge what is shown; the reader is given the same ones by its options."""
    baseline: Path | None = None
    """The findings that are accepted; ``None``: those in the settings' own file."""

    @property
    def target(self) -> str:
        return " ".join(self.arguments) or "a snapshot"

    @property
    def is_live(self) -> bool:
        """Whether this machine's kernel is looked at: it is the one that can be traced."""
        return self.guess or self.arguments[:1] == ("live",)

    @property
    def options(self) -> tuple[str, ...]:
        """The reader's options, without the target that comes first."""
        named = bool(self.arguments) and not self.arguments[0].startswith("-")
        return self.arguments[1:] if named else ()


@dataclass(frozen=True)
class View:
    """A snapshot, and what is worked out from it when it is first asked for."""

    snapshot: Snapshot = field(repr=False)
    """Not in the text of a view, which Textual makes to describe whoever works on one: it takes a second to write out
    100,000 tasks."""
    partial: str | None = None
    """Why values are missing; escaped."""
    number: int = field(default=0)
    """Counts readings: a screen that shows an older one is stale."""
    read_at: float = field(default_factory=time.monotonic)
    """When the reading began, by the clock of :func:`time.monotonic`."""
    changes: Changes = field(default_factory=Changes, repr=False)
    """Since the reading before."""
    name: str | None = None
    """What is shown, where that is not the target the snapshot names: a recording. Escaped."""
    plugins: PluginSet = field(default_factory=PluginSet, compare=False, repr=False)
    """They judge it."""

    def __post_init__(self) -> None:
        settle_heap(len(self.snapshot.tasks), self.number)

    @cached_property
    def header(self) -> str:
        return header_line(self.snapshot, self.name)

    @cached_property
    def worlds(self) -> Worlds:
        return find_worlds(self.snapshot)

    @cached_property
    def overview(self) -> Overview:
        overview = make_overview(self.snapshot, self.worlds)
        freeze_more(len(self.snapshot.tasks))
        return overview

    @cached_property
    def more(self) -> MoreOverview:
        """For the overview of a large terminal."""
        return make_more(self.snapshot, self.worlds)

    @property
    def is_audited(self) -> bool:
        """Whether :attr:`audit` is there without waiting."""
        return "audit" in self.__dict__

    @cached_property
    def audit(self) -> AuditReport:
        if len(self.snapshot.tasks) > MANY_TASKS:
            give_way()
            report = audit_with(self.plugins, self.snapshot, between=give_way, apart=True)
            freeze_more(len(self.snapshot.tasks))
            return report
        return audit_with(self.plugins, self.snapshot, apart=True)

    @cached_property
    def found(self) -> FoundObjects:
        """What the findings are about: what of it is accepted is counted."""
        return FoundObjects(self.audit.findings, self.snapshot)
