"""Findings as SARIF 2.1.0, the format in which CI systems collect what analysers find (OASIS, 2020)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from explorer.analysis import Acceptance, AuditReport, NotJudged, finding_fingerprint, verdict
from explorer.analysis.rules import RULES
from explorer.model import CaptureError, Finding, Reference, Severity, Snapshot, escape_text, kernel_bytes
from explorer.version import __version__

__all__ = ("sarif_document", "sarif_level", "sarif_log", "sarif_message", "sarif_rule", "sarif_tool")

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: SARIF knows three levels; the exact severity is in the properties.
_LEVEL = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
#: What some viewers sort by, out of 10.
_SCORE = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFO: "0.0",
}


def sarif_level(severity: Severity) -> str:
    """``error``, ``warning`` or ``note``."""
    return _LEVEL[severity]


def sarif_message(text: str, is_escaped: bool = False) -> dict[str, str]:
    """A plain text message. Kernel text must not become a placeholder (3.11.5) or a link (3.11.6)."""
    escaped = (text if is_escaped else escape_text(text)).replace("{", "{{").replace("}", "}}")
    return {"text": escaped.replace("[", "\\[").replace("]", "\\]")}


def _rules(findings: list[Finding]) -> list[dict[str, Any]]:
    """Descriptors of all rules of ours, and of the plugins' rules that fired."""
    described = [
        sarif_rule(rule.id, rule.severity, rule.title, rule.explanation, rule.advice) for rule in RULES
    ]
    known = {rule.id for rule in RULES}
    for finding in findings:
        if finding.rule not in known:
            known.add(finding.rule)
            described.append(
                sarif_rule(finding.rule, finding.severity, finding.rule, finding.explanation, finding.advice)
            )
    return described


def sarif_rule(
    rule_id: str, severity: Severity, title: str, explanation: str, advice: str, *, is_escaped: bool = False
) -> dict[str, Any]:
    """The descriptor of a rule."""
    return {
        "id": rule_id,
        "shortDescription": sarif_message(title, is_escaped),
        "fullDescription": sarif_message(explanation, is_escaped),
        "help": sarif_message(advice, is_escaped),
        "defaultConfiguration": {"level": _LEVEL[severity]},
        "properties": {"severity": severity, "security-severity": _SCORE[severity]},
    }


def _logical_location(reference: Reference) -> dict[str, str]:
    label = escape_text(reference.label)
    address = "" if reference.address is None else f"@0x{reference.address:x}"
    return {"name": label, "fullyQualifiedName": f"{reference.kind}/{label}{address}", "kind": reference.kind}


def _result(
    finding: Finding, index: int, artifact: dict[str, Any], acceptance: Acceptance | None
) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact}}
    if finding.evidence:
        location["logicalLocations"] = [_logical_location(reference) for reference in finding.evidence]
    result = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": sarif_level(finding.severity),
        "message": sarif_message(f"{finding.title}. {finding.explanation} Do: {finding.advice}"),
        "locations": [location],
        "partialFingerprints": {"ruleAndSubject/v1": finding_fingerprint(finding)},
        "properties": {"severity": finding.severity},
    }
    if acceptance is not None:
        result |= _suppressed(finding, acceptance)
    return result


def _suppressed(finding: Finding, acceptance: Acceptance) -> dict[str, Any]:
    """Whether it is accepted (3.27.23: an empty list says that it is not; 3.35.3: nobody has to look at it again), and
    whether the baseline knows it."""
    found: dict[str, Any] = {"suppressions": []}
    if finding.accepted is not None:
        words = escape_text(f"accepted by {finding.accepted}")
        found["suppressions"] = [{"kind": "external", "justification": words}]
    if acceptance.baseline is not None:
        known = acceptance.by(finding) is not None
        found["baselineState"] = "unchanged" if known else "new"
    return found


def _notification(error: CaptureError) -> dict[str, Any]:
    return {"level": "warning", "message": sarif_message(f"{error.where}: {error.what}: {error.why}")}


def _not_judged(silent: NotJudged) -> dict[str, Any]:
    return {
        "level": "note",
        "message": sarif_message(f"{silent.rule} cannot tell: {silent.why}"),
        "associatedRule": {"id": silent.rule},
    }


def _unmatched(words: str) -> dict[str, Any]:
    return {"level": "note", "message": sarif_message(words)}


def sarif_log(
    snapshot: Snapshot, report: AuditReport, exit_code: int, acceptance: Acceptance | None = None
) -> dict[str, Any]:
    """One run with all findings; what could not be read is in its notifications.

    :param exit_code: what the command will end with
    :param acceptance: what findings are accepted by; ``None``: nothing was asked for
    """
    rules = _rules(report.findings)
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    artifact = {
        "uri": quote(kernel_bytes(snapshot.capture.source.target), safe="/"),
        "index": 0,
    }
    judged = verdict(snapshot)
    errors: Collection[CaptureError] = (*snapshot.errors, *report.errors)
    run = {
        "tool": sarif_tool(rules),
        "artifacts": [{"location": artifact}],
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": exit_code,
                "toolExecutionNotifications": [
                    *map(_notification, errors),
                    *map(_not_judged, report.not_judged),
                    *map(_unmatched, report.unmatched),
                ],
            }
        ],
        "results": [
            _result(finding, index[finding.rule], artifact, acceptance) for finding in report.findings
        ],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": judged.kind,
            "release": escape_text(snapshot.kernel.release),
            "buildId": snapshot.kernel.build_id or "",
            "generation": snapshot.kernel.generation,
        },
    }
    return sarif_document(run)


def sarif_tool(rules: list[dict[str, Any]]) -> dict[str, Any]:
    """This program, and the rules that it judged by."""
    return {"driver": {"name": "nullfs-explorer", "version": __version__, "rules": rules}}


def sarif_document(run: dict[str, Any]) -> dict[str, Any]:
    """The log of one run."""
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
