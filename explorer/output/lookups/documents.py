"""Judged lookups and their summary as JSON, and as SARIF. Kernel text in JSON is lossless; all of it is ASCII."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from explorer.analysis.lookups import (
    LOOKUP_RULES,
    Asked,
    Judged,
    LookupMeaning,
    ModuleReadiness,
    Summary,
    lost_words,
)
from explorer.model import TraceEnd, TraceHeader, escape_text, kernel_bytes
from explorer.output.sarif import sarif_document, sarif_level, sarif_message, sarif_rule, sarif_tool

__all__ = ("judged_members", "readiness_members", "summary_members", "trace_sarif")

_RULES = {rule.meaning: rule for rule in LOOKUP_RULES}


def judged_members(judged: Judged) -> dict[str, Any]:
    """What a trace does not say of a lookup itself."""
    meaning = judged.meaning
    return {
        "asker": None if judged.asker is None else asdict(judged.asker),
        "runs": None if judged.runs is None else asdict(judged.runs),
        "module": judged.module,
        "meaning": meaning.kind.value,
        "says": meaning.says,
        "function": meaning.function,
        "subsystem": meaning.subsystem,
    }


def summary_members(summary: Summary, end: TraceEnd | None) -> dict[str, Any]:
    return {
        "lookups": summary.lookups,
        "meanings": {kind.value: summary.meanings[kind] for kind in LookupMeaning if summary.meanings[kind]},
        "lost": lost_words(end),
        "ungrouped": summary.ungrouped,
        "asked": [_asked(asked) for asked in summary.groups],
    }


def _asked(asked: Asked) -> dict[str, Any]:
    values = asdict(asked)
    values["meaning"] |= {"kind": asked.meaning.kind.value}
    values["results"] = dict(asked.results.most_common())
    return values


def readiness_members(modules: Sequence[ModuleReadiness]) -> list[dict[str, Any]]:
    return [
        {
            "name": module.name,
            "taint": module.taint,
            "loaded": module.loaded,
            "readiness": module.readiness.value,
            "says": module.says,
            "functions": list(module.functions),
            "seen": sum(asked.number for asked in module.seen),
            "report": None if module.report is None else module.report.model_dump(mode="json"),
            "why": module.why,
        }
        for module in modules
    ]


def trace_sarif(
    header: TraceHeader, name: str, summary: Summary, end: TraceEnd | None, exit_code: int
) -> dict[str, Any]:
    """One run: a result for each who asked for what fails, would fail, or cannot be told."""
    groups = [asked for asked in summary.groups if asked.meaning.kind in _RULES]
    rules = [
        sarif_rule(rule.id, rule.severity, rule.title, rule.explanation, rule.advice) for rule in LOOKUP_RULES
    ]
    kinds = [rule.meaning for rule in LOOKUP_RULES]
    artifact = {"uri": quote(kernel_bytes(name), safe="/"), "index": 0}
    notes = [*lost_words(end)]
    if summary.ungrouped:
        notes.append(f"{summary.ungrouped} lookups of others who asked are not among the results.")
    run = {
        "tool": sarif_tool(rules),
        "artifacts": [{"location": {"uri": artifact["uri"]}}],
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": exit_code,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": sarif_message(note)} for note in notes
                ],
            }
        ],
        "results": [_result(asked, kinds.index(asked.meaning.kind), artifact) for asked in groups],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "release": escape_text(header.release),
            "generation": header.generation,
            "lookups": summary.lookups,
        },
    }
    return sarif_document(run)


def _result(asked: Asked, index: int, artifact: dict[str, Any]) -> dict[str, Any]:
    rule = _RULES[asked.meaning.kind]
    asker = asked.asker
    who = "Somebody whose stack was lost" if asker is None else asker.label
    paths = ", ".join(asked.paths) or "a path that is not known"
    text = f"{who} looks up {paths}{' and others' if asked.more_paths else ''} ({asked.number} times). "
    text += f"{asked.meaning.explanation} {asked.meaning.do}"
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact}}
    if asker is not None:
        function, module = escape_text(asker.function), escape_text(asker.module or "vmlinux")
        location["logicalLocations"] = [
            {"name": function, "fullyQualifiedName": f"{module}/{function}", "kind": "function"}
        ]
    subject = f"{rule.id}\0{'' if asker is None else asker.label}\0{asked.meaning.function or ''}\0{asked.module or ''}"
    return {
        "ruleId": rule.id,
        "ruleIndex": index,
        "level": sarif_level(rule.severity),
        "message": sarif_message(text.strip()),
        "locations": [location],
        "partialFingerprints": {"ruleAndAsker/v1": hashlib.sha256(kernel_bytes(subject)).hexdigest()[:32]},
        "properties": {
            "severity": rule.severity,
            "count": asked.number,
            "firstS": asked.first_s,
            "lastS": asked.last_s,
        },
    }
