"""What an audit found, as text for a terminal and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from explorer.analysis import (
    ALL_GENERATIONS,
    FOLD_AT,
    AuditReport,
    Rule,
    fold_findings,
    rule_title,
    verdict,
    verdict_and_subject,
)
from explorer.analysis.lookups import LookupRule
from explorer.model import Finding, Generation, Severity, Snapshot, escape_text
from explorer.naming import count
from explorer.plugin import PluginRule

from .table import WRAP_INDENT as _INDENT
from .table import Table, TableColumn
from .table import wrap_escaped as _wrap

__all__ = (
    "count_findings",
    "findings_document",
    "findings_table",
    "render_findings",
    "render_lookup_rule",
    "render_plugin_rule",
    "render_plugin_rules",
    "render_rule",
    "render_rules",
    "write_findings",
)

_RULE_INDENT = 36
#: Of findings that are folded, so many are named.
_EXAMPLES = 3


def count_findings(findings: list[Finding]) -> str:
    """``1 high, 2 info``; ``no findings``."""
    counts = Counter(finding.severity for finding in findings)
    return (
        ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
        or "no findings"
    )


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """Findings that mean the same, one after the other: what they mean is said once."""
    return [list(group) for _, group in groupby(findings, key=lambda each: (each.explanation, each.advice))]


def render_findings(
    snapshot: Snapshot, report: AuditReport, name: str, width: int, *, unfolded: bool = False
) -> list[str]:
    """The audit on one screen: the verdict, what is wrong and what to do, and, in a line each, what is only to know.

    :param name: of the target
    :param width: columns to wrap to
    :param unfolded: every finding in full, those of one rule and those that are accepted, too
    """
    judged, about = verdict_and_subject(snapshot, name)
    lines = _wrap(judged, width, indent=0)
    lines += _wrap(about, width, indent=0)
    counted = [finding for finding in report.findings if finding.accepted is None]
    after_a_line = False
    for fold in fold_findings(counted):
        is_a_line = fold[0].severity is Severity.INFO
        if not (is_a_line and after_a_line):
            lines.append("")
        after_a_line = is_a_line
        lines += _folded(fold, width) if len(fold) >= FOLD_AT and not unfolded else _in_full(fold, width)
    accepted = [finding for finding in report.findings if finding.accepted is not None]
    lines.append("")
    if accepted and unfolded:
        for finding in accepted:
            text = f"{finding.title} [{finding.rule}], {finding.severity}, by {finding.accepted}"
            lines += _wrap(text, width, "accepted")
        lines.append("")
    lines += _remarks(report, accepted, width)
    hidden = f"; {count(report.hidden, 'finding')} about other tasks left out" if report.hidden else ""
    others = f"; {len(accepted)} accepted" if accepted else ""
    return [*lines, f"{count_findings(counted)}{others}{hidden}."]


def _in_full(findings: list[Finding], width: int) -> list[str]:
    lines = []
    for group in _alike(findings):
        for finding in group:
            lines += _wrap(f"{finding.title} [{finding.rule}]", width, finding.severity)
        if group[0].severity is not Severity.INFO:
            lines += _meaning(group[0], width)
    return lines


def _meaning(finding: Finding, width: int) -> list[str]:
    return [*_wrap(finding.explanation, width), *_wrap(f"Do: {finding.advice}", width)]


def _folded(findings: list[Finding], width: int) -> list[str]:
    """Findings of one rule as one, with the first of them as examples."""
    first, shown = findings[0], findings[:_EXAMPLES]
    lines = _wrap(f"{len(findings)} times {rule_title(first)} [{first.rule}]", width, first.severity)
    for finding in shown:
        lines += _wrap(finding.title, width, f"{'':{_INDENT}}- ", _INDENT + 2)
    lines += _wrap(f"- and {len(findings) - len(shown)} more: --all shows them", width)
    return lines if first.severity is Severity.INFO else [*lines, *_meaning(first, width)]


def _remarks(report: AuditReport, accepted: list[Finding], width: int) -> list[str]:
    """What the counts do not say: who accepted what, what of that was not found, and what could not be judged."""
    lines = []
    for who, number in Counter(finding.accepted for finding in accepted).items():
        lines += _wrap(f"{count(number, 'finding')} accepted by {who}.", width, indent=0)
    for words in report.unmatched:
        lines += _wrap(f"{words}.", width, indent=0)
    for silent in report.not_judged:
        lines += _wrap(f"{silent.rule} cannot tell: {silent.why}.", width, indent=0)
    return lines


def findings_table(report: AuditReport) -> Table:
    """One row a finding, as the screen exports them."""
    titles = ["SEVERITY", "RULE", "FINDING", "MEANS", "DO"]
    rows = [
        [found.severity.value, *map(escape_text, (found.rule, found.title, found.explanation, found.advice))]
        for found in report.findings
    ]
    if any(found.accepted is not None for found in report.findings):
        titles.append("ACCEPTED BY")
        rows = [
            [*row, escape_text(found.accepted or "")]
            for row, found in zip(rows, report.findings, strict=True)
        ]
    return Table([TableColumn(title) for title in titles], rows)


def findings_document(snapshot: Snapshot, report: AuditReport) -> dict[str, Any]:
    """The audit as JSON: kernel text as in a snapshot, lossless and not escaped for a terminal."""
    judged = verdict(snapshot)
    return {
        "verdict": {"kind": judged.kind, "headline": judged.headline, "sentence": judged.sentence},
        "capture": snapshot.capture.model_dump(mode="json"),
        "kernel": snapshot.kernel.model_dump(mode="json"),
        "findings": [finding.model_dump(mode="json") for finding in report.findings],
        "unmatched": report.unmatched,
        "not_judged": [{"rule": silent.rule, "why": silent.why} for silent in report.not_judged],
        "errors": [error.model_dump(mode="json") for error in (*snapshot.errors, *report.errors)],
    }


def write_findings(document: dict[str, Any]) -> str:
    """A JSON document as text: ASCII only, so that no name in it acts on a terminal."""
    return json.dumps(document, ensure_ascii=True, indent=2)


def render_rules(rules: Sequence[Rule | LookupRule], width: int) -> list[str]:
    """All rules: severity, id and what each is about."""
    lines = []
    for rule in rules:
        first = f"{rule.severity.ljust(_INDENT)}{rule.id}  "
        lines += _wrap(rule.title, width, first, _RULE_INDENT)
    return lines


def render_plugin_rules(rules: list[PluginRule], width: int) -> list[str]:
    """The rules of plugins: severity, id and what each says."""
    lines = []
    for rule in rules:
        worst = next((each.value for each in Severity if each.value in rule.severities), "")
        lines += _wrap(rule.says, width, f"{worst.ljust(_INDENT)}{escape_text(rule.id)}  ", _RULE_INDENT)
    return lines


def render_plugin_rule(rule: PluginRule, width: int) -> list[str]:
    """One of them in full. ``…`` stands for what a case fills in."""
    severities = " or ".join(each for each in Severity if each.value in rule.severities) or "by the case"
    return [
        f"{escape_text(rule.id)}: {severities}",
        *_wrap(rule.says, width, indent=0),
        "",
        *_wrap(rule.means, width, indent=0),
        "",
        *_wrap(f"What to do: {rule.do}", width, indent=0),
        "",
        *_wrap(f"A rule of the plugin {rule.plugin}; … is what a case fills in.", width, indent=0),
    ]


def render_rule(rule: Rule, width: int) -> list[str]:
    """One rule in full."""
    where = (
        "all"
        if rule.generations == ALL_GENERATIONS
        else ", ".join(generation for generation in Generation if generation in rule.generations)
    )
    return [*_rule_in_full(rule, width), f"Kernel generations: {where}."]


def render_lookup_rule(rule: LookupRule, width: int) -> list[str]:
    """A rule of traces in full."""
    return [*_rule_in_full(rule, width), *_wrap("A rule of traces: trace finds its cases.", width, indent=0)]


def _rule_in_full(rule: Rule | LookupRule, width: int) -> list[str]:
    return [
        f"{rule.id}: {rule.severity}",
        *_wrap(rule.title, width, indent=0),
        "",
        *_wrap(rule.explanation, width, indent=0),
        "",
        *_wrap(f"What to do: {rule.advice}", width, indent=0),
        "",
    ]
