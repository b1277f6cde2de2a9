"""The targets of a fleet, one by one, for a screen that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.model import Severity

from .dataset import Dataset
from .manifest import MANIFEST
from .outcomes import OPENED, Outcome

__all__ = ("FleetTarget", "is_fleet", "list_targets")

_SEVERITIES = tuple(severity.value for severity in Severity)
_TIMES = ("taken_at", "kernel_time")
_AS_THEY_ARE = (
    *("key", "why", "release", "build_id", "generation", "host", "verdict", "headline", "sentence"),
    *("tasks", "borrowers", "errors"),
)
_COLUMNS = (
    *("path", "outcome", *_AS_THEY_ARE, *_TIMES),
    *(f"findings_{severity}" for severity in _SEVERITIES),
)


@dataclass(frozen=True, slots=True)
class FleetTarget:
    """One target. Text is escaped; what is not known is ``None``."""

    key: str
    path: str
    """The file as it was found, escaped."""
    outcome: str
    why: str | None
    release: str | None
    build_id: str | None
    generation: str | None
    host: str | None
    verdict: str | None
    headline: str | None
    sentence: str | None
    taken_at: str | None
    kernel_time: str | None
    tasks: int | None
    borrowers: int | None
    errors: int | None
    findings: dict[str, int]
    """Severity -> findings, worst first; severities without one are left out."""
    rules: tuple[str, ...]
    """Those that found something, by severity of the worst, then by name."""

    @property
    def is_read(self) -> bool:
        """It was opened: there is something to show of it."""
        return self.outcome in OPENED

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(self.findings.values())

    @property
    def rank(self) -> tuple[int, ...]:
        """What is worse is less: of two with the same worst severity, that with more of it."""
        return tuple(-self.findings.get(severity, 0) for severity in _SEVERITIES)


def is_fleet(path: Path) -> bool:
    """Whether a directory is a fleet's dataset, whatever is wrong with that."""
    return (path / MANIFEST).is_file()


def list_targets(dataset: Dataset) -> list[FleetTarget]:
    """All targets: those that could not be read first, then that with the worst findings.

    :raises FleetError: if a file cannot be read
    """
    rules = _rules(dataset)
    rows = [row for batch in dataset.batches("targets", _COLUMNS) for row in batch.to_pylist()]
    targets = [_target(row, rules.get(row["key"], {})) for row in rows]
    return sorted(targets, key=lambda each: (each.is_read, each.rank, each.outcome == Outcome.OK, each.path))


def _rules(dataset: Dataset) -> dict[str, dict[str, int]]:
    """By key, the rules that found something and the rank of the worst severity of each."""
    found: dict[str, dict[str, int]] = {}
    for batch in dataset.batches("findings", ("key", "rule", "severity")):
        columns = (batch.column(name).to_pylist() for name in ("key", "rule", "severity"))
        for key, rule, severity in zip(*columns, strict=True):
            rank = _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
            mine = found.setdefault(key, {})
            mine[rule] = min(rank, mine.get(rule, rank))
    return found


def _target(row: dict[str, Any], rules: dict[str, int]) -> FleetTarget:
    known = {name: row[name] for name in _AS_THEY_ARE}
    times: dict[str, Any] = {
        name: None if row[name] is None else f"{row[name]:%Y-%m-%d %H:%M:%S}" for name in _TIMES
    }
    return FleetTarget(
        path=row["path"] or "?",
        outcome=row["outcome"] or "?",
        findings={each: row[f"findings_{each}"] for each in _SEVERITIES if row[f"findings_{each}"]},
        rules=tuple(sorted(rules, key=lambda rule: (rules[rule], rule))),
        **known,
        **times,
    )
