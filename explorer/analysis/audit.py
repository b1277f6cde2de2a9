"""Run the rules and the plugins' audits over a snapshot."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from explorer.analysis.rule import AuditContext, NotJudged
from explorer.analysis.rules import RULES, merge_borrowers
from explorer.model import CaptureError, Finding, Severity, Snapshot, Task
from explorer.plugin import ApartError, Plugin, PluginSet, error_words, judge_apart, rule_prefix

__all__ = ("AuditReport", "audit_with", "findings_of_rule", "run_audit", "select_findings")


@dataclass(slots=True)
class AuditReport:
    """What an audit found, worst first."""

    findings: list[Finding]
    errors: list[CaptureError] = field(default_factory=list)
    """Plugins that raised: one entry each; nothing else is lost."""
    tracebacks: list[str] = field(default_factory=list)
    hidden: int = 0
    """Findings that were left out, because they are about other tasks than were asked for."""
    not_judged: list[NotJudged] = field(default_factory=list)
    """The rules that lack what they judge by."""
    unmatched: list[str] = field(default_factory=list)
    """What was to be accepted and is not found, in words; kernel text in it is not escaped."""

    def worst(self) -> Severity | None:
        """Of those that count: what is accepted does not."""
        counted = (finding.severity for finding in self.findings if finding.accepted is None)
        return min(counted, key=lambda found: found.rank, default=None)


def run_audit(
    snapshot: Snapshot,
    plugins: Sequence[Plugin] = (),
    only: Collection[str] = (),
    between: Callable[[], None] = lambda: None,
    apart: Collection[str] = (),
) -> AuditReport:
    """All findings, by severity, then rule.

    :param only: rule ids; empty: all
    :param between: called before every rule
    :param apart: the names of plugins that judge in a copy of this process, which they may end
    """
    report = AuditReport([])
    wanted = {rule_id.upper() for rule_id in only}
    context = AuditContext(snapshot, plugins)
    found: list[Finding] = []
    for rule in RULES:
        between()
        if wanted and rule.id not in wanted:
            continue
        found += rule.run(context)
        why = rule.cannot_tell(context) if rule.applies(snapshot) else None
        if why is not None:
            report.not_judged.append(NotJudged(rule.id, why))
    for plugin in plugins:
        found += _audit_plugin(plugin, snapshot, report, plugin.name in apart)
    chosen = [finding for finding in found if not wanted or finding.rule in wanted]
    report.findings = sorted(
        merge_borrowers(chosen, snapshot),
        key=lambda finding: (finding.severity.rank, finding.rule, finding.title),
    )
    return report


def findings_of_rule(
    rule_id: str, snapshot: Snapshot, plugins: Sequence[Plugin] = (), apart: Collection[str] = ()
) -> list[Finding]:
    """Those of one rule, for whoever asks many frames for them: nothing else is judged, and no error is kept.

    :param apart: as of :func:`run_audit`
    """
    context = AuditContext(snapshot, plugins)
    found: list[Finding] = []
    for rule in RULES:
        if rule.id == rule_id:
            found += rule.run(context)
    for plugin in plugins:
        if rule_id.startswith(rule_prefix(plugin.name)):
            found += _audit_plugin(plugin, snapshot, AuditReport([]), plugin.name in apart)
    return [finding for finding in found if finding.rule == rule_id]


def audit_with(
    plugins: PluginSet,
    snapshot: Snapshot,
    only: Collection[str] = (),
    between: Callable[[], None] = lambda: None,
    *,
    apart: bool = False,
) -> AuditReport:
    """As :func:`run_audit`. A plugin that could not be loaded did not judge, which is an error of the audit's.

    A capture made with the same plugins has said so already.

    :param apart: those that did not come with this package judge in a copy of this process
    """
    strangers = plugins.loaded.strangers if apart else ()
    report = run_audit(snapshot, plugins.plugins, only, between, strangers)
    for broken in plugins.loaded.errors:
        error = CaptureError(where=f"plugin {broken.name}", what="load", why=broken.why)
        if error not in snapshot.errors:
            report.errors.append(error)
            report.tracebacks.append(broken.traceback)
    return report


def select_findings(
    findings: Sequence[Finding], snapshot: Snapshot, matches: Callable[[Task], bool]
) -> list[Finding]:
    """Findings that are about a task that matches: it is evidence itself, or owns an ``fs_struct`` that is.

    What is about the kernel as a whole, or about nobody, is left out.
    """
    wanted = {task.address for task in snapshot.tasks if matches(task)}
    held = {task.owned_fs for task in snapshot.tasks if task.address in wanted}
    return [
        finding
        for finding in findings
        if any(
            (reference.kind == "task" and reference.address in wanted)
            or (reference.kind == "fs_struct" and reference.address in held)
            for reference in finding.evidence
        )
    ]


def _audit_plugin(plugin: Plugin, snapshot: Snapshot, report: AuditReport, apart: bool) -> Iterator[Finding]:
    """A plugin is a stranger's code: whatever it raises is an entry in the report."""
    raw = snapshot.plugins.get(plugin.name)
    if not isinstance(raw, dict) or raw.get("state") != "loaded":
        return

    def judge() -> list[Finding]:
        found = list(plugin.audit(snapshot, plugin.facts.model_validate(raw)))
        if not all(isinstance(each, Finding) for each in found):
            raise TypeError("audit() gave something that is no Finding")
        return found

    try:
        found = judge_apart(judge) if apart else judge()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # sys.exit() too: recorded, with its traceback
        why, trace = error_words(error), traceback.format_exc()
        if isinstance(error, ApartError):
            why, trace = str(error), error.trace or trace
        report.errors.append(CaptureError(where=f"plugin {plugin.name}", what="audit", why=why))
        report.tracebacks.append(trace)
    else:
        yield from found
