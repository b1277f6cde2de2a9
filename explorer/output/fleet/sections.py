"""A report on a fleet in sections: what is said, and tables; the same for a terminal and for Markdown.

What stands in a fleet's dataset is escaped already, and so are the names in a summary of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from explorer.fleet import Outcome
from explorer.fleet.summary import Behind, Comparison, FleetSummary, Some
from explorer.model import Severity
from explorer.naming import count, join_names
from explorer.output.table import Table, TableColumn, fit_middle

__all__ = ("Section", "sections_of")

#: Names in a cell of a terminal's table.
_NAMES_IN_A_CELL = 2
#: "Which modules are behind 80 % of them?"
_MOST_OF_THEM = 0.8
#: Verdicts, what is worst first.
_VERDICTS = ("abandoned", "breached", "unknown", "isolated", "shared", "?")
_PATH = 40


@dataclass(frozen=True, slots=True)
class Section:
    """One of them."""

    title: str
    said: Sequence[str]
    """Sentences."""
    table: Table | None = None
    notes: Sequence[str] = ()
    """Sentences below the table."""


def sections_of(summary: FleetSummary) -> list[Section]:
    """Those that have something to say; the first always has."""
    found = [_head(summary), _verdicts(summary)]
    if summary.against is not None:
        found += _against(summary.against)
    found += [
        _findings(summary),
        _only_one(summary),
        _unlike(summary),
        *_borrowers(summary),
        _unread(summary),
    ]
    return [section for section in found if section is not None]


def _some(some: Some, most: int | None = None) -> str:
    """``a, b and 3 more``."""
    names = some.names[:most]
    if not names:
        return "none"
    more = some.count - len(names)
    return join_names([*names, f"{more} more"] if more else names)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def _head(summary: FleetSummary) -> Section:
    outcomes = summary.outcomes
    whole, part = outcomes.get(Outcome.OK, 0), outcomes.get(Outcome.PARTIAL, 0)
    said = [f"{count(summary.targets, 'target')}: {whole} read whole"]
    if part:
        said.append(f"{part} in part")
    if summary.targets - whole - part:
        said.append(f"{summary.targets - whole - part} not read")
    found = _counts(summary.by_severity)
    findings = f"Findings: {found}." if found else "No findings."
    return Section(f"Fleet {summary.fleet}", [f"{', '.join(said)}.", findings])


def _verdicts(summary: FleetSummary) -> Section | None:
    if not summary.releases:
        return None
    seen = {verdict for release in summary.releases for verdict in release.verdicts}
    verdicts = [*(word for word in _VERDICTS if word in seen), *sorted(seen - set(_VERDICTS))]
    columns = [
        TableColumn("RELEASE", least=16, most=_PATH, cut=fit_middle),
        TableColumn("GENERATION", rank=1),
        TableColumn("TARGETS", numeric=True),
        *(TableColumn(verdict.upper(), numeric=True) for verdict in verdicts),
    ]
    rows = [
        [
            release.release,
            release.generation,
            str(release.targets),
            *(str(release.verdicts.get(verdict, 0) or "") for verdict in verdicts),
        ]
        for release in summary.releases
    ]
    return Section("Verdicts by kernel release", (), Table(columns, rows))


def _findings(summary: FleetSummary) -> Section | None:
    if not summary.rules:
        return None
    columns = [
        TableColumn("SEVERITY"),
        TableColumn("RULE"),
        TableColumn("TARGETS", numeric=True),
        TableColumn("FINDINGS", numeric=True),
        TableColumn("RELEASES", numeric=True, rank=2),
        TableColumn("WHICH", least=16, most=2 * _PATH, cut=fit_middle, rank=1),
        TableColumn("ABOUT", least=20, rank=3),
    ]
    rows = [
        [
            rule.severity,
            rule.rule,
            str(rule.targets.count),
            str(rule.findings),
            str(rule.releases),
            _some(rule.targets, _NAMES_IN_A_CELL),
            rule.title,
        ]
        for rule in summary.rules
    ]
    return Section("Findings by rule", (), Table(columns, rows))


def _only_one(summary: FleetSummary) -> Section | None:
    worst = {rule.rule: rule for rule in summary.rules}
    rows = [
        [release.release, worst[rule].severity, rule, str(worst[rule].targets.count)]
        for release in summary.releases
        for rule in sorted(release.only_rules, key=lambda rule: (_rank(worst[rule].severity), rule))
    ]
    if not rows:
        return None
    columns = [
        TableColumn("RELEASE", least=16, most=_PATH, cut=fit_middle),
        TableColumn("SEVERITY"),
        TableColumn("RULE"),
        TableColumn("TARGETS", numeric=True),
    ]
    return Section("Found on one release only", (), Table(columns, rows))


def _rank(severity: str) -> int:
    words = [each.value for each in Severity]
    return words.index(severity) if severity in words else len(words)


def _unlike(summary: FleetSummary) -> Section | None:
    if not summary.unlike:
        return None
    columns = [
        TableColumn("TARGET", least=16, most=_PATH, cut=fit_middle),
        TableColumn("RELEASE", least=12, most=24, cut=fit_middle, rank=1),
        TableColumn("VERDICT"),
        TableColumn("MORE", least=16),
        TableColumn("LESS", least=8),
    ]
    rows = [
        [
            each.target,
            each.release,
            each.verdict if each.verdict == each.usual else f"{each.verdict}, most {each.usual}",
            " ".join(each.more),
            " ".join(each.less),
        ]
        for each in summary.unlike
    ]
    said = [
        "Most targets of their release have the same verdict and the same rules with a finding; these have not."
    ]
    return Section("Unlike their like", said, Table(columns, rows), _left_out(summary.unlike_more, "target"))


def _left_out(number: int, noun: str) -> list[str]:
    return [f"And {count(number, f'more {noun}')}."] if number else []


def _borrowers(summary: FleetSummary) -> Iterator[Section]:
    borrowing = summary.borrowing
    if not borrowing.borrowers:
        return
    enough = next(
        place for place, each in enumerate(borrowing.modules, 1) if each.cumulative >= _MOST_OF_THEM
    )
    modules = [each.module for each in borrowing.modules[:enough]]
    is_or_are = "is" if enough == 1 else "are"
    share = borrowing.modules[enough - 1].cumulative
    who, where = count(borrowing.borrowers, "borrower"), count(borrowing.targets, "target")
    said = f"{who} on {where}; {join_names(modules)} {is_or_are} behind {share:.0%} of them."
    yield Section("Borrowers by module", [said], _behind(borrowing.modules, with_function=False))
    notes = _left_out(borrowing.functions_more, "function")
    yield Section("Borrowers by function", (), _behind(borrowing.functions, with_function=True), notes)


def _behind(behind: Sequence[Behind], with_function: bool) -> Table:
    columns = [
        TableColumn("BORROWERS", numeric=True),
        TableColumn("SHARE", numeric=True),
        TableColumn("TOGETHER", numeric=True),
        TableColumn("TARGETS", numeric=True),
        TableColumn("MODULE"),
        *([TableColumn("FUNCTION", least=16)] if with_function else []),
    ]
    rows = [
        [
            str(each.borrowers),
            f"{each.share:.0%}",
            f"{each.cumulative:.0%}",
            str(each.targets),
            each.module,
            *([each.function or "?"] if with_function else []),
        ]
        for each in behind
    ]
    return Table(columns, rows)


def _unread(summary: FleetSummary) -> Section | None:
    if not summary.unread:
        return None
    columns = [
        TableColumn("OUTCOME"),
        TableColumn("TARGETS", numeric=True),
        TableColumn("WHICH", least=16, most=_PATH, cut=fit_middle),
        TableColumn("WHY", least=24),
    ]
    rows = [
        [each.outcome, str(each.targets.count), _some(each.targets, _NAMES_IN_A_CELL), each.why]
        for each in summary.unread
    ]
    notes = _left_out(summary.unread_more, "reason")
    return Section("Not read, or not whole", (), Table(columns, rows), notes)


# -- against another fleet -------------------------------------------------------------------------------------------


def _against(comparison: Comparison) -> Iterator[Section]:
    said = [
        f"{count(comparison.matched, 'target')} in both; {comparison.new_targets.count} new here: "
        f"{_some(comparison.new_targets, _NAMES_IN_A_CELL)}; {comparison.gone_targets.count} gone: "
        f"{_some(comparison.gone_targets, _NAMES_IN_A_CELL)}.",
        f"On targets in both {count(comparison.new_findings, 'finding')} new, {comparison.gone_findings} gone.",
    ]
    new = _counts(comparison.new_by_severity)
    said.append(f"New findings, those of new targets too: {new}." if new else "No new findings.")
    columns = [
        TableColumn("SEVERITY"),
        TableColumn("RULE"),
        TableColumn("BEFORE", numeric=True),
        TableColumn("NOW", numeric=True),
        TableColumn(""),
    ]
    rows = [
        [each.severity, each.rule, str(each.before), str(each.now), _how(each.before, each.now)]
        for each in comparison.rules
    ]
    yield Section(f"Against {comparison.other}", said, Table(columns, rows) if rows else None)
    if comparison.changed:
        yield _changed(comparison)


def _how(before: int, now: int) -> str:
    if not before:
        return "new"
    if not now:
        return "gone"
    return "on more targets" if now > before else "on fewer targets"


def _changed(comparison: Comparison) -> Section:
    columns = [
        TableColumn("TARGET", least=16, most=_PATH, cut=fit_middle),
        TableColumn("VERDICT", least=10),
        TableColumn("CAME", least=16),
        TableColumn("WENT", least=8),
        TableColumn("RELEASE", least=12, most=_PATH, rank=1),
    ]
    rows = [
        [
            each.target,
            _moved(each.verdict_before, each.verdict)
            + (
                f" ({_moved(each.outcome_before, each.outcome)})"
                if each.outcome != each.outcome_before
                else ""
            ),
            " ".join(each.came),
            " ".join(each.went),
            _moved(each.release_before, each.release),
        ]
        for each in comparison.changed
    ]
    notes = _left_out(comparison.changed_more, "target")
    return Section("Targets that changed", (), Table(columns, rows), notes)


def _moved(before: str, now: str) -> str:
    return now if before == now else f"{before} → {now}"
