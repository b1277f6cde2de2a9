"""The findings of a fleet as SARIF 2.1.0: a result for each finding of each target, the worst first."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from explorer.analysis.rules import RULES
from explorer.fleet.summary import FleetSummary, ToldFinding, ToldFindings
from explorer.model import Severity
from explorer.naming import count
from explorer.output.sarif import sarif_document, sarif_level, sarif_message, sarif_rule, sarif_tool

__all__ = ("fleet_sarif",)


def fleet_sarif(summary: FleetSummary, told: ToldFindings, exit_code: int) -> dict[str, Any]:
    """One run with the findings of all targets; which of them could not be read is in its notifications.

    :param exit_code: what the command will end with
    """
    rules = _rules(told)
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    artifacts: dict[str, int] = {}
    results = [_result(found, index[found.rule], artifacts) for found in told.findings]
    run = {
        "tool": sarif_tool(rules),
        "artifacts": [{"location": {"uri": _uri(target), "index": at}} for target, at in artifacts.items()],
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": exit_code,
                "toolExecutionNotifications": _notifications(summary, told),
            }
        ],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {
            "fleet": summary.fleet,
            "targets": summary.targets,
            "outcomes": dict(summary.outcomes),
        },
    }
    return sarif_document(run)


def _rules(told: ToldFindings) -> list[dict[str, Any]]:
    """Descriptors of all rules of ours, and of the plugins' rules that found something."""
    described = [
        sarif_rule(rule.id, rule.severity, rule.title, rule.explanation, rule.advice) for rule in RULES
    ]
    known = {rule.id for rule in RULES}
    for found in told.findings:
        if found.rule not in known:
            known.add(found.rule)
            described.append(
                sarif_rule(
                    found.rule,
                    Severity(found.severity),
                    found.rule,
                    found.explanation,
                    found.advice,
                    is_escaped=True,
                )
            )
    return described


def _uri(target: str) -> str:
    return quote(target, safe="/")


def _result(found: ToldFinding, index: int, artifacts: dict[str, int]) -> dict[str, Any]:
    at = artifacts.setdefault(found.target, len(artifacts))
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(found.target), "index": at}}
    }
    if found.evidence:
        location["logicalLocations"] = [
            {
                "name": label,
                "fullyQualifiedName": f"{kind}/{label}" + ("" if address is None else f"@0x{address:x}"),
                "kind": kind,
            }
            for kind, label, address in found.evidence
        ]
    result: dict[str, Any] = {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": sarif_level(Severity(found.severity)),
        "message": sarif_message(f"{found.title}. {found.explanation} Do: {found.advice}", is_escaped=True),
        "locations": [location],
        "partialFingerprints": {"ruleAndSubject/v1": found.fingerprint},
        "properties": {"severity": found.severity, "release": found.release, "verdict": found.verdict},
    }
    if found.is_new is not None:
        result["baselineState"] = "new" if found.is_new else "unchanged"
    return result


def _notifications(summary: FleetSummary, told: ToldFindings) -> list[dict[str, Any]]:
    said = [
        {
            "level": "warning",
            "message": sarif_message(
                f"{count(each.targets.count, 'target')} {each.outcome}: {each.why}: {', '.join(each.targets.names)}",
                is_escaped=True,
            ),
        }
        for each in summary.unread
    ]
    if summary.unread_more:
        more = count(summary.unread_more, "more reason")
        said.append({"level": "warning", "message": sarif_message(f"{more} why targets were not read")})
    if told.more:
        words = f"{count(told.more, 'finding')} of lesser severity left out: the fleet's dataset has them"
        said.append({"level": "warning", "message": sarif_message(words)})
    return said
