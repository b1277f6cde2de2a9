"""Findings that are known and put up with: by a baseline, or by rule and query. They stay findings, and do not count.

What a finding is about has to be the same thing on the next boot, and for the next version of this program: it is what
its evidence is called, and the paths that its title names. Of these pids, addresses, mount ids, inodes of namespaces
and the numbers of kworkers differ from boot to boot, and are left out; a number that is part of a name (``disk2``,
``/srv/1``) stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from explorer.model import AcceptedFinding, Baseline, Finding, Severity, Snapshot, Task
from explorer.plugin import rule_prefix

from .audit import AuditReport, select_findings

__all__ = (
    "Acceptance",
    "Ignored",
    "accept_findings",
    "baseline_of",
    "entry_of",
    "finding_subject",
    "with_entry",
)

#: What differs from boot to boot: addresses, the numbers of a kworker's name, and numbers that stand alone.
_OF_ONE_BOOT = re.compile(
    r"(?P<worker>\bkworker/)[^\s()]+|\b0x[0-9a-f]+\b|(?:#|(?<![\w./-]))\d+(?:\.\d+)?(?![\w/-]|\.\w)"
)


_PATH = re.compile(r"\S*/\S*")
_PUNCTUATION = ",;:.)("


def finding_subject(finding: Finding) -> str:
    """What a finding is about, in words that are the same on the next boot; not escaped."""
    about = sorted({f"{each.kind} {_lasting(each.label)}" for each in finding.evidence})
    paths = dict.fromkeys(_lasting(found.strip(_PUNCTUATION)) for found in _PATH.findall(finding.title))
    return "; ".join([*about, *(path for path in paths if not any(path in known for known in about))])


def _lasting(text: str) -> str:
    return _OF_ONE_BOOT.sub(lambda found: f"{found['worker'] or ''}#", text)


def entry_of(finding: Finding) -> AcceptedFinding:
    """What a baseline says of a finding."""
    return AcceptedFinding(
        rule=finding.rule,
        subject=finding_subject(finding),
        severity=finding.severity,
        title=finding.title,
    )


def _key(finding: Finding) -> tuple[str, str]:
    return finding.rule, finding_subject(finding)


def baseline_of(entries: Iterable[AcceptedFinding]) -> Baseline:
    """The file of these, each once: of two about the same thing the one that accepts more."""
    kept: dict[tuple[str, str], AcceptedFinding] = {}
    for entry in entries:
        known = kept.get((entry.rule, entry.subject))
        if known is None or entry.severity.rank < known.severity.rank:
            kept[entry.rule, entry.subject] = entry
    return Baseline(accepted=[kept[key] for key in sorted(kept)])


def with_entry(baseline: Baseline, finding: Finding, *, accepted: bool) -> Baseline:
    """The baseline in which a finding is accepted, or is not any more."""
    others = [entry for entry in baseline.accepted if (entry.rule, entry.subject) != _key(finding)]
    return baseline_of([*others, entry_of(finding)] if accepted else others)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A rule that is not to count, of all tasks or of some."""

    rule: str
    words: str
    """As it was asked for."""
    matches: Callable[[Task], bool] | None = None
    """Of which tasks; ``None``: of all, and where it is about none."""


@dataclass(frozen=True)
class Acceptance:
    """All that says which findings do not count."""

    baseline: Baseline | None = None
    name: str = ""
    """What to call the baseline: its file."""
    ignored: Sequence[Ignored] = ()

    @cached_property
    def _entries(self) -> dict[tuple[str, str], AcceptedFinding]:
        entries = () if self.baseline is None else self.baseline.accepted
        return {(entry.rule, entry.subject): entry for entry in entries}

    def by(self, finding: Finding) -> str | None:
        """What of the baseline accepts a finding; ``None``: nothing does, or not one that is so bad."""
        entry = self._entries.get(_key(finding)) if self._entries else None
        return self.name if entry is not None and finding.severity.rank >= entry.severity.rank else None


def accept_findings(
    report: AuditReport, snapshot: Snapshot, acceptance: Acceptance, only: Sequence[str] = ()
) -> None:
    """Say of each finding whether it is accepted, and what is accepted and was not found.

    :param only: the rules that were asked for, as for :func:`~explorer.analysis.run_audit`; empty: all
    """
    found = report.findings
    ignored: dict[int, str] = {}
    for each in acceptance.ignored:
        of_rule = [finding for finding in found if finding.rule == each.rule]
        chosen = of_rule if each.matches is None else select_findings(of_rule, snapshot, each.matches)
        if not chosen:
            report.unmatched.append(f"{each.words} matches no finding")
        for finding in chosen:
            ignored.setdefault(id(finding), each.words)
    if acceptance.baseline is not None:
        report.unmatched += _unmatched(acceptance.baseline, report, snapshot, {rule.upper() for rule in only})
    report.findings = [
        finding.model_copy(update={"accepted": ignored.get(id(finding)) or acceptance.by(finding)})
        for finding in found
    ]


def _unmatched(baseline: Baseline, report: AuditReport, snapshot: Snapshot, only: set[str]) -> Iterator[str]:
    """What the entries accept that is not there any more, or is worse by now. Rules that did not judge say nothing."""
    silent = {each.rule for each in report.not_judged}
    errors = [error for error in (*report.errors, *snapshot.errors) if error.is_of_plugin]
    failed = tuple(rule_prefix(error.where.removeprefix("plugin ")) for error in errors)
    worst: dict[tuple[str, str], Severity] = {}
    for finding in report.findings:
        known = worst.setdefault(_key(finding), finding.severity)
        if finding.severity.rank < known.rank:
            worst[_key(finding)] = finding.severity
    for entry in baseline.accepted:
        if entry.rule in silent or entry.rule.startswith(failed) or (only and entry.rule not in only):
            continue
        now = worst.get((entry.rule, entry.subject))
        if now is None:
            yield f"accepted, and not found any more: {entry.title} [{entry.rule}]"
        elif now.rank < entry.severity.rank:
            yield f"accepted as {entry.severity}, and {now} now: {entry.title} [{entry.rule}]"
