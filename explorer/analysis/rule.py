"""What an audit rule is: a small named pure function over a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from explorer.model import Finding, Generation, KernelText, Reference, Severity, Snapshot
from explorer.plugin import Plugin

__all__ = (
    "ALL_GENERATIONS",
    "ISOLATING",
    "AuditContext",
    "Case",
    "NotJudged",
    "Rule",
)

ALL_GENERATIONS = frozenset(Generation)
#: Generations in which kernel threads live apart from PID 1.
ISOLATING = frozenset({Generation.RFC_V1, Generation.ISOLATED})


@dataclass(frozen=True, slots=True)
class AuditContext:
    """What a rule looks at."""

    snapshot: Snapshot
    plugins: Sequence[Plugin] = ()
    """They claim kernel threads that rightly live elsewhere."""


@dataclass(frozen=True, slots=True)
class Case:
    """One place where a rule applies."""

    title: KernelText
    evidence: list[Reference]
    severity: Severity | None = None
    """``None``: the rule's own."""
    explanation: str | None = None
    """What it means in this case; ``None``: the rule's own."""
    advice: str | None = None
    """What to do in this case; ``None``: the rule's own."""


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A rule that could not tell whether it applies, and why: no finding of it is no clean bill."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what it is called, when it applies, and what finding a case of it means."""

    id: str
    severity: Severity
    title: str
    """What it is about, in a line, without a case's names."""
    explanation: str
    advice: str
    find: Callable[[AuditContext], Iterator[Case]]
    generations: frozenset[Generation] = ALL_GENERATIONS
    """Where it applies; silent on all others."""
    cannot_tell: Callable[[AuditContext], str | None] = lambda context: None
    """Why it can say nothing, or not all, of this snapshot: that lacks what it judges by. ``None``: it can."""

    def applies(self, snapshot: Snapshot) -> bool:
        """Whether it is about such kernels."""
        return snapshot.kernel.generation in self.generations

    def run(self, context: AuditContext) -> Iterator[Finding]:
        """All findings of this rule."""
        if not self.applies(context.snapshot):
            return
        for case in self.find(context):
            yield Finding(
                rule=self.id,
                severity=case.severity or self.severity,
                title=case.title,
                evidence=case.evidence,
                explanation=case.explanation or self.explanation,
                advice=case.advice or self.advice,
            )
