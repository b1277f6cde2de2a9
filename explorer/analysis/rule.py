"""What an audit rule is: a small named pure function over a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from explorer.analysis.words import known
from explorer.model import (
    Finding,
    FsStruct,
    Generation,
    KernelText,
    Mount,
    MountNamespace,
    Reference,
    Severity,
    Snapshot,
    Task,
)
from explorer.plugin import Plugin

__all__ = (
    "ALL_GENERATIONS",
    "ISOLATING",
    "AuditContext",
    "Case",
    "Rule",
    "fs_reference",
    "mount_namespace_reference",
    "mount_reference",
    "task_reference",
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

    def run(self, context: AuditContext) -> Iterator[Finding]:
        """All findings of this rule."""
        if context.snapshot.kernel.generation not in self.generations:
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


def task_reference(task: Task) -> Reference:
    return Reference(kind="task", address=task.address, label=f"{task.name} ({task.pid})")


def fs_reference(fs: FsStruct, name: str | None = None) -> Reference:
    return Reference(kind="fs_struct", address=fs.address, label=name or f"fs_struct 0x{fs.address:x}")


def mount_namespace_reference(namespace: MountNamespace) -> Reference:
    return Reference(
        kind="mount_namespace", address=namespace.address, label=f"mnt:[{known(namespace.inum)}]"
    )


def mount_reference(mount: Mount) -> Reference:
    return Reference(kind="mount", address=mount.address, label=f"{mount.fstype or '?'}#{known(mount.id)}")
