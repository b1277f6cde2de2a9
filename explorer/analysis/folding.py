"""Findings that say the same of many: forty of one rule are one thing to read, with a count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from explorer.model import Finding

from .rules import find_rule

__all__ = ("FOLD_AT", "fold_findings", "rule_title")

#: So many of one rule, and as bad, are folded.
FOLD_AT = 4


def fold_findings(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one rule that are as bad as one another, worst first; those that are accepted apart, and last."""
    accepted = [finding for finding in findings if finding.accepted is not None]
    counted = [finding for finding in findings if finding.accepted is None]
    return [
        list(group)
        for part in (counted, accepted)
        for _, group in groupby(part, key=lambda found: (found.severity, found.rule))
    ]


def rule_title(finding: Finding) -> str:
    """What a finding's rule is about, not escaped; a plugin's rule has no such line: then what the finding says."""
    try:
        return find_rule(finding.rule).title
    except KeyError:
        return f"{finding.title}, and more like it"
