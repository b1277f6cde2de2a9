"""All that is said of a fleet. The columns that it takes are held in memory, as Arrow has them, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from explorer.fleet.dataset import Dataset
from explorer.fleet.needed import need
from explorer.model import escape_text

from .against import OF_FINDINGS_AGAINST, compare
from .arrow import counts_of
from .borrowers import OF_TASKS, borrowing_of
from .findings import by_severity, pairs_of, rules_found
from .shapes import FleetSummary
from .targets import OF_TARGETS, find_unlike, opened, releases_of, unread_of

__all__ = ("summarise",)


def summarise(dataset: Dataset, other: Dataset | None = None) -> FleetSummary:
    """What a fleet's dataset says. :param other: another one, to be compared with

    :raises FleetError: if a file of either cannot be read
    """
    targets, findings, pairs = _read(dataset)
    pc = need("pyarrow.compute")
    borrowers = dataset.table("tasks", OF_TASKS, pc.field("borrowing"))
    read = opened(targets)
    unlike, unlike_more = find_unlike(read, pairs)
    unread, unread_more = unread_of(targets)
    summary = FleetSummary(
        escape_text(str(dataset.path)),
        targets.num_rows,
        {row["outcome"]: row["count"] for row in counts_of(targets, ("outcome",))},
        releases_of(read, pairs),
        rules_found(findings, pairs),
        by_severity(findings),
        unlike,
        unlike_more,
        borrowing_of(borrowers),
        unread,
        unread_more,
    )
    if other is None:
        return summary
    comparison, _ = compare((targets, findings, pairs), _read(other), escape_text(str(other.path)))
    return replace(summary, against=comparison)


def _read(dataset: Dataset) -> tuple[Any, Any, Any]:
    """Targets, findings, and pairs of rules and targets."""
    targets = dataset.table("targets", OF_TARGETS)
    findings = dataset.table("findings", OF_FINDINGS_AGAINST)
    return targets, findings, pairs_of(findings, targets)
