"""Findings as JUnit XML, in which CI systems collect the results of tests: each rule is a test, and keeps its name.

A rule fails if a finding of it reaches the threshold and is not accepted. What is found below that, or accepted, stands
in its output; a rule that does not apply to this kernel, or lacks what it judges by, is skipped; what could not be read
is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from xml.etree import ElementTree

from explorer.analysis import AuditReport, Rule, verdict
from explorer.analysis.rules import RULES
from explorer.model import CaptureError, Finding, Severity, Snapshot, escape_text

__all__ = ("junit_document",)

_SUITE = "nullfs-explorer audit"


def junit_document(
    snapshot: Snapshot, report: AuditReport, fail_on: Severity, only: Collection[str] = ()
) -> str:
    """The document, with its declaration.

    :param fail_on: from which severity on a finding fails its rule
    :param only: the rules that were asked for; empty: all
    """
    wanted = {rule_id.upper() for rule_id in only}
    found: dict[str, list[Finding]] = {}
    for finding in report.findings:
        found.setdefault(finding.rule, []).append(finding)
    silent = {one.rule: one.why for one in report.not_judged}
    cases = [
        _case(rule.id, rule.title, found.pop(rule.id, []), fail_on, _why_skipped(snapshot, rule, silent))
        for rule in RULES
        if not wanted or rule.id in wanted
    ]
    cases += [_case(name, findings[0].title, findings, fail_on, None) for name, findings in found.items()]
    cases.append(_unread((*snapshot.errors, *report.errors)))
    suite = ElementTree.Element("testsuite", name=escape_text(f"{_SUITE} {snapshot.capture.source.target}"))
    suite.extend(cases)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    suite.set("timestamp", escape_text(snapshot.capture.taken_at))
    suite.set("time", f"{snapshot.capture.duration_s:.3f}")
    ElementTree.SubElement(suite, "system-out").text = escape_text(verdict(snapshot).sentence)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _why_skipped(snapshot: Snapshot, rule: Rule, silent: dict[str, str]) -> str | None:
    if not rule.applies(snapshot):
        return f"not on a kernel of the generation {snapshot.kernel.generation}"
    return f"cannot tell: {silent[rule.id]}" if rule.id in silent else None


def _case(
    name: str, title: str, findings: list[Finding], fail_on: Severity, skipped: str | None
) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname="nullfs-explorer", name=escape_text(name))
    failing = [one for one in findings if one.accepted is None and one.severity.reaches(fail_on)]
    if failing:
        failure = ElementTree.SubElement(
            case, "failure", type=failing[0].severity, message=escape_text(failing[0].title)
        )
        failure.text = "\n\n".join(map(_words, failing))
    elif skipped is not None:
        ElementTree.SubElement(case, "skipped", message=escape_text(skipped))
    others = [one for one in findings if one not in failing]
    ElementTree.SubElement(case, "system-out").text = "\n\n".join([escape_text(title), *map(_words, others)])
    return case


def _words(finding: Finding) -> str:
    accepted = "" if finding.accepted is None else f" (accepted by {finding.accepted})"
    head = f"{finding.severity}: {finding.title}{accepted}"
    return "\n".join(map(escape_text, (head, finding.explanation, f"Do: {finding.advice}")))


def _unread(errors: Sequence[CaptureError]) -> ElementTree.Element:
    """All that could not be read is one test, which is always there: of a thousand holes nobody wants a thousand."""
    case = ElementTree.Element("testcase", classname="nullfs-explorer", name="everything could be read")
    if errors:
        words = [escape_text(f"{error.where}: {error.what}: {error.why}") for error in errors]
        ElementTree.SubElement(case, "error", type="unread", message=words[0]).text = "\n".join(words)
    return case
