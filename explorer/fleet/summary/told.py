"""The findings of a fleet one by one, the worst first, bounded: for what collects findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explorer.fleet.dataset import Dataset
from explorer.fleet.needed import need

from .against import OF_FINDINGS_AGAINST, compare
from .arrow import SEVERITIES
from .findings import pairs_of
from .targets import OF_TARGETS

__all__ = ("MOST_TOLD", "ToldFinding", "ToldFindings", "tell_findings")

#: What collects SARIF takes no more results of one run.
MOST_TOLD = 25_000
_TEXTS = ("rule", "severity", "title", "explanation", "advice", "fingerprint")
_COLUMNS = ("key", "number", "evidence", *_TEXTS)


@dataclass(frozen=True, slots=True)
class ToldFinding:
    """One of them, with its target. Text is escaped."""

    target: str
    release: str
    verdict: str
    rule: str
    severity: str
    title: str
    explanation: str
    advice: str
    fingerprint: str
    evidence: tuple[tuple[str, str, int | None], ...]
    """Kind, label and address of each object that it is about."""
    is_new: bool | None
    """Not in the other fleet; ``None``: there is none to compare with."""


@dataclass(frozen=True, slots=True)
class ToldFindings:
    findings: list[ToldFinding]
    more: int
    """Findings that are left out."""


def tell_findings(dataset: Dataset, other: Dataset | None = None, most: int = MOST_TOLD) -> ToldFindings:
    """The findings, worst first, then by target, as its audit orders them. :param other: what is known of these

    :raises FleetError: if a file of either cannot be read
    """
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    left, batches, total = most, [], 0
    for severity in SEVERITIES:
        found = dataset.table("findings", _COLUMNS, pc.field("severity") == severity)
        total += found.num_rows
        if left:
            ordered = found.sort_by([("key", "ascending"), ("number", "ascending")]).slice(0, left)
            batches.append(ordered)
            left -= ordered.num_rows
    targets = {row["key"]: row for row in dataset.table("targets", OF_TARGETS).to_pylist()}
    new = None if other is None else _new(dataset, other)
    rows = pa.concat_tables(batches).to_pylist()
    return ToldFindings([_told(row, targets[row["key"]], new) for row in rows], total - len(rows))


def _new(dataset: Dataset, other: Dataset) -> set[tuple[str, str]]:
    """Key and fingerprint of what the other fleet has not."""
    sides = []
    for each in (dataset, other):
        targets, findings = each.table("targets", OF_TARGETS), each.table("findings", OF_FINDINGS_AGAINST)
        sides.append((targets, findings, pairs_of(findings, targets)))
    _, new = compare(sides[0], sides[1], "")
    return set(zip(new["key"].to_pylist(), new["fingerprint"].to_pylist(), strict=True))


def _told(row: dict[str, Any], target: dict[str, Any], new: set[tuple[str, str]] | None) -> ToldFinding:
    texts = {name: row[name] or "?" for name in _TEXTS}
    return ToldFinding(
        target=target["path"] or "?",
        release=target["release"] or "?",
        verdict=target["verdict"] or "?",
        evidence=tuple((each["kind"], each["label"], each["address"]) for each in row["evidence"] or ()),
        is_new=None if new is None else (row["key"], row["fingerprint"]) in new,
        **texts,
    )
