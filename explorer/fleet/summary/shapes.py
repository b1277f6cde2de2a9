"""What is said of a fleet: plain records, in the order in which they are worth reading. All text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = (
    "MOST_NAMED",
    "Behind",
    "Borrowing",
    "ChangedRule",
    "Comparison",
    "Difference",
    "FleetSummary",
    "OfRelease",
    "RuleFound",
    "Some",
    "Unlike",
    "Unread",
)

#: Of targets, so many are named; the rest is counted.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Some:
    """Some of very many."""

    names: tuple[str, ...]
    """The first of them."""
    count: int
    """How many there are."""

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.count - len(self.names)


@dataclass(frozen=True, slots=True)
class OfRelease:
    """The targets of one kernel release that were read."""

    release: str
    generation: str
    targets: int
    verdicts: Mapping[str, int]
    """Verdict -> targets, the most frequent first."""
    only_rules: tuple[str, ...]
    """Rules that found something on this release, and on no other one; empty where there is only one release."""


@dataclass(frozen=True, slots=True)
class RuleFound:
    """What one rule found."""

    rule: str
    severity: str
    """Of the worst of its findings."""
    title: str
    """What the rule is about."""
    findings: int
    targets: Some
    releases: int
    """On how many kernel releases."""


@dataclass(frozen=True, slots=True)
class Unlike:
    """A target that differs from most of its release."""

    key: str
    target: str
    release: str
    verdict: str
    usual: str
    """The verdict of most."""
    more: tuple[str, ...]
    """Rules that found something here, and not on most."""
    less: tuple[str, ...]
    """And the other way round."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Borrowers that one function, or one module, is behind."""

    function: str | None
    """``None``: all functions of the module; ``?``: it is not known."""
    module: str
    borrowers: int
    targets: int
    share: float
    """Of all borrowers, 0 to 1."""
    cumulative: float
    """Of all borrowers, by this and all before it."""


@dataclass(frozen=True, slots=True)
class Borrowing:
    """Who is behind the borrowers of all targets: most first."""

    borrowers: int
    targets: int
    modules: tuple[Behind, ...]
    functions: tuple[Behind, ...]
    functions_more: int
    """Functions that are not listed."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Targets that were not read, or not whole, for one reason."""

    outcome: str
    why: str
    targets: Some


@dataclass(frozen=True, slots=True)
class ChangedRule:
    """On how many targets a rule found something, before and now."""

    rule: str
    severity: str
    before: int
    now: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One target, before and now."""

    key: str
    target: str
    release: str
    release_before: str
    verdict: str
    verdict_before: str
    outcome: str
    outcome_before: str
    came: tuple[str, ...]
    """Rules with a finding that was not there before."""
    went: tuple[str, ...]
    """Rules with a finding that is there no more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is new, gone or changed since another fleet, the build before for example."""

    other: str
    matched: int
    """Targets that are in both."""
    new_targets: Some
    gone_targets: Some
    rules: tuple[ChangedRule, ...]
    """Those on more or fewer targets than before, worst first."""
    changed: tuple[Difference, ...]
    changed_more: int
    """Targets that changed and are not listed."""
    new_findings: int
    gone_findings: int
    """On targets that are in both."""
    new_by_severity: Mapping[str, int]
    """New findings, those of new targets too."""


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """All of it."""

    fleet: str
    targets: int
    outcomes: Mapping[str, int]
    """Outcome -> targets."""
    releases: Sequence[OfRelease]
    rules: Sequence[RuleFound]
    by_severity: Mapping[str, int]
    """Severity -> findings, worst first."""
    unlike: Sequence[Unlike]
    unlike_more: int
    """Targets that differ from their like and are not listed."""
    borrowing: Borrowing
    unread: Sequence[Unread]
    unread_more: int
    """Reasons that are not listed."""
    against: Comparison | None = field(default=None)

    @property
    def counted(self) -> Mapping[str, int]:
        """The findings that an exit code goes by: what another fleet has too is known."""
        return self.by_severity if self.against is None else self.against.new_by_severity
