"""Findings as the screen shows them: worst first, many of one rule in one row that opens, what is accepted last."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from explorer.analysis import FOLD_AT, fold_findings, rule_title
from explorer.model import Finding, Reference, Severity, display_width, escape_text, hex_address
from explorer.naming import count
from explorer.output import fit
from explorer.tui.views.table import Cell, ViewColumn

from .facts import Detail
from .record_table import ColumnValue, RecordTable
from .records import SEVERITY_TONES

__all__ = ("FindingRow", "describe_finding", "describe_row", "findings_line", "findings_table")

_MAX_FACTS = 2000
_RULE = ViewColumn("rule", "RULE", 24, rank=1)
_SEVERITY = ViewColumn("severity", "SEVERITY", 8)
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
_GAP = 2
_LEAST_TITLE = 50
_RULE_TAKES = _RULE.width + _GAP
#: What is longer is shortened in its middle, if the line has no room for it.
_LONG_WORD = 28


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding, or several in one row."""

    findings: tuple[Finding, ...]
    accepted: str | None = None
    """What accepts it."""
    fold: str = ""
    """Of a row of several: by what it is opened; of one in an open row the same."""
    is_head: bool = False
    is_open: bool = False

    @property
    def first(self) -> Finding:
        return self.findings[0]


def findings_table(
    findings: Sequence[Finding],
    accepted: Callable[[Finding], str | None] = lambda finding: finding.accepted,
    opened: Collection[str] = (),
    room: int | None = None,
) -> RecordTable[FindingRow]:
    """Findings, worst first. A row leads to its first piece of evidence.

    :param accepted: what accepts one, if anything does
    :param opened: the rows of several that are open
    :param room: terminal columns there are: the rule, which the detail says too, gives way to what was found
    """
    rows = list(_rows(findings, accepted, opened))
    columns: tuple[ViewColumn, ...] = (_SEVERITY, ViewColumn("title", "FINDING", _LEAST_TITLE, 1), _RULE)
    left = None if room is None else room - _SEVERITY.width - _GAP
    if left is not None and left >= _LEAST_TITLE + _RULE_TAKES:
        if all(display_width(_text(row)) <= left - _RULE_TAKES for row in rows):
            left -= _RULE_TAKES
        else:
            columns = columns[:-1]

    def cells(row: FindingRow) -> list[Cell]:
        severity = row.first.severity.value
        quiet = "muted" if row.accepted is not None else ""
        text = _text(row) if left is None else _shortened(_text(row), left)
        return [
            Cell(severity, quiet or SEVERITY_TONES[severity]),
            Cell(text, quiet or ("group" if row.is_head else "")),
            Cell("" if _is_all_accepted(row) else escape_text(row.first.rule), "muted"),
        ][: len(columns)]

    def first(row: FindingRow) -> Reference | None:
        return row.first.evidence[0] if row.first.evidence else None

    # Of a row of several, and of all that are accepted: what its first one is.
    values = {"severity": ColumnValue(order=lambda row: _RANKS[row.first.severity], choices=tuple(Severity))}
    return RecordTable(columns, rows, cells, first, values)


def _rows(
    findings: Sequence[Finding], accepted: Callable[[Finding], str | None], opened: Collection[str]
) -> Iterator[FindingRow]:
    by = {id(finding): accepted(finding) for finding in findings}
    counted = [finding for finding in findings if by[id(finding)] is None]
    for fold in fold_findings(counted):
        if len(fold) < FOLD_AT:
            yield from (FindingRow((finding,)) for finding in fold)
            continue
        yield from _fold(fold, f"{fold[0].severity}/{fold[0].rule}", None, opened)
    others = [finding for finding in findings if by[id(finding)] is not None]
    if others:
        yield from _fold(others, _ACCEPTED, by[id(others[0])], opened)


_ACCEPTED = "accepted"


def _fold(
    findings: Sequence[Finding], fold: str, accepted: str | None, opened: Collection[str]
) -> Iterator[FindingRow]:
    is_open = fold in opened
    yield FindingRow(tuple(findings), accepted, fold, is_head=True, is_open=is_open)
    if is_open:
        yield from (FindingRow((finding,), accepted, fold) for finding in findings)


def _is_all_accepted(row: FindingRow) -> bool:
    return row.is_head and row.fold == _ACCEPTED


def _text(row: FindingRow) -> str:
    """What the row says; escaped."""
    if not row.is_head:
        return ("    " if row.fold else "") + escape_text(row.first.title)
    mark = "▾" if row.is_open else "▸"
    if row.fold == _ACCEPTED:
        return f"{mark} {count(len(row.findings), 'finding')} accepted, by {escape_text(row.accepted or '')}"
    return f"{mark} {len(row.findings)} times {escape_text(rule_title(row.first))}"


def _shortened(text: str, room: int) -> str:
    """A text that has no room: long names and paths give up their middle, so that what is said of them is there."""
    if display_width(text) <= room:
        return text
    return re.sub(r"\S+", _without_middle, text)


def _without_middle(found: re.Match[str]) -> str:
    word = found[0]
    if display_width(word) <= _LONG_WORD:
        return word
    end, used = len(word), 0
    while end > 0 and used + display_width(word[end - 1]) <= _LONG_WORD // 2:
        end -= 1
        used += display_width(word[end])
    return fit(word[:end], _LONG_WORD - used) + word[end:]


def findings_line(
    findings: Sequence[Finding], accepted: Callable[[Finding], str | None] = lambda finding: finding.accepted
) -> str:
    """``findings  1 high   2 info   3 accepted``."""
    counts: dict[str, int] = {}
    for finding in findings:
        word = finding.severity.value if accepted(finding) is None else _ACCEPTED
        counts[word] = counts.get(word, 0) + 1
    parts = [f"{counts[word]} {word}" for word in (*SEVERITY_TONES, _ACCEPTED) if word in counts]
    return f"findings  {'   '.join(parts) or 'none'}"


def describe_row(row: FindingRow) -> Detail:
    """A finding; of a row of several, each of them, to go to what it is about."""
    if not row.is_head:
        detail = describe_finding(row.first)
        if row.accepted is not None:
            detail.add("accepted", f"by {row.accepted}; a takes that back")
        return detail
    reference = Reference(kind="kernel", address=None, label=row.first.rule)
    detail = Detail(reference, _text(row)[2:])
    for finding in row.findings[:_MAX_FACTS]:
        target = finding.evidence[0] if finding.evidence else None
        detail.add(finding.severity.value, finding.title, target)
    if row.fold != _ACCEPTED:
        _add_meaning(detail, row.first)
    return detail


def describe_finding(finding: Finding) -> Detail:
    """A finding: what shows it, what it means, what to do."""
    reference = Reference(kind="kernel", address=None, label=finding.rule)
    detail = Detail(reference, escape_text(f"{finding.severity.value}: {finding.title}"))
    for evidence in finding.evidence[:_MAX_FACTS]:
        address = "" if evidence.address is None else f"  {hex_address(evidence.address)}"
        detail.add("evidence", f"{evidence.kind} {evidence.label}{address}", evidence)
    _add_meaning(detail, finding)
    return detail


def _add_meaning(detail: Detail, finding: Finding) -> None:
    detail.add("means", finding.explanation)
    detail.add("do", finding.advice)
    detail.add("rule", finding.rule)
