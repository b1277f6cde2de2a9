"""Which findings are accepted: by what they are about, never by what one boot calls it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from explorer.analysis import accept_findings, entry_of, with_entry
from explorer.analysis.accepting import Acceptance, finding_subject
from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.folding import FOLD_AT, fold_findings
from explorer.analysis.rule import NotJudged
from explorer.model import Baseline, CaptureError, Finding, Reference, Severity, Snapshot
from explorer.output.findings import render_findings


def _finding(title: str, *labels: str, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(
        rule="NX-ROOT-DETACHED",
        severity=severity,
        title=title,
        evidence=[Reference(kind="task", address=0xFFFF888000000000, label=label) for label in labels],
        explanation="means",
        advice="do",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_finding("a (12) waits for 0.7 s", "a (12)"), _finding("a (9) has waited, 12 s now", "a (9)")),
        (_finding("x at tmpfs#35:/jail", "x (1)"), _finding("x is at tmpfs#2:/jail", "x (1)")),
        (_finding("", "kworker/u8:1 (29)"), _finding("", "kworker/3:0H (30)")),
        (_finding("", "fs 0xffff888012345678"), _finding("", "fs 0xffff8880aaaaaaaa")),
    ],
)
def test_what_differs_from_boot_to_boot_is_no_part_of_a_findings_identity(
    one: Finding, other: Finding
) -> None:
    assert finding_subject(one) == finding_subject(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_finding("a (1) is in /srv/1", "a (1)"), _finding("a (1) is in /srv/2", "a (1)")),
        (_finding("", "disk1 (5)"), _finding("", "disk2 (5)")),
        (_finding("", "worker-1 (5)"), _finding("", "worker-2 (5)")),
        (_finding("", "a (1)"), _finding("", "a (1)", "b (2)")),
    ],
)
def test_what_is_accepted_of_one_thing_is_not_accepted_of_another(one: Finding, other: Finding) -> None:
    assert finding_subject(one) != finding_subject(other)


@pytest.fixture
def audited(fixture_snapshots: dict[str, Snapshot]) -> tuple[Snapshot, Callable[[], AuditReport]]:
    snapshot = fixture_snapshots["isolated"]
    return snapshot, lambda: run_audit(snapshot)


def test_an_entry_that_nothing_is_found_for_any_more_is_said_but_not_of_a_rule_that_did_not_judge(
    audited: tuple[Snapshot, Callable[[], AuditReport]],
) -> None:
    snapshot, audit = audited
    gone = entry_of(_finding("gone (7) has its root on ext4#9", "gone (7)"))
    plugins = gone.model_copy(update={"rule": "NX-KSMBD-SHARE"})
    acceptance = Acceptance(Baseline(accepted=[gone, plugins]), "known.json")

    def unmatched(report: AuditReport, *only: str) -> list[str]:
        accept_findings(report, snapshot, acceptance, only)
        return report.unmatched

    assert [words.rpartition(" ")[2] for words in unmatched(audit())] == [
        "[NX-ROOT-DETACHED]",
        "[NX-KSMBD-SHARE]",
    ]
    silent = audit()
    silent.not_judged.append(NotJudged("NX-ROOT-DETACHED", "it lacks something"))
    silent.errors.append(CaptureError(where="plugin ksmbd", what="audit", why="RuntimeError"))
    assert unmatched(silent) == []
    assert unmatched(audit(), "NX-NS-EMPTY") == []


def test_what_is_worse_than_it_was_when_it_was_accepted_counts_and_is_said(
    audited: tuple[Snapshot, Callable[[], AuditReport]],
) -> None:
    snapshot, audit = audited
    report = audit()
    finding = next(each for each in report.findings if each.rule == "NX-ROOT-DETACHED")
    milder = entry_of(finding).model_copy(update={"severity": Severity.LOW})
    accept_findings(report, snapshot, Acceptance(Baseline(accepted=[milder]), "known.json"))
    assert [each.accepted for each in report.findings if each.rule == "NX-ROOT-DETACHED"] == [None]
    assert report.unmatched == [f"accepted as low, and medium now: {finding.title} [NX-ROOT-DETACHED]"]


def test_accepting_twice_is_accepting_once_and_taking_back_leaves_the_others() -> None:
    first, second = _finding("a (1) at /a", "a (1)"), _finding("b (2) at /b", "b (2)")
    baseline = with_entry(with_entry(Baseline(accepted=[]), first, accepted=True), second, accepted=True)
    again = with_entry(baseline, _finding("a (9) at /a", "a (9)"), accepted=True)
    assert len(again.accepted) == 2
    left = with_entry(again, first, accepted=False)
    assert [entry.title for entry in left.accepted] == ["b (2) at /b"]


def test_many_of_one_rule_are_one_entry_with_a_count_and_all_of_them_where_that_is_asked_for(
    audited: tuple[Snapshot, Callable[[], AuditReport]],
) -> None:
    snapshot, _ = audited
    many = [_finding(f"w{number} (5) has its root on tmpfs", f"w{number} (5)") for number in range(40)]
    other = _finding("alone (7) is on tmpfs", "alone (7)", severity=Severity.MEDIUM)
    report = AuditReport([*many, other])
    assert [len(fold) for fold in fold_findings(report.findings)] == [40, 1]
    folded = "\n".join(render_findings(snapshot, report, "target", 80))
    assert "40 times A task's root is on a mount that was unmounted lazily" in " ".join(folded.split())
    assert "w0 (5)" in folded
    assert "w39 (5)" not in folded
    assert "and 37 more: --all shows them" in folded
    assert folded.endswith("40 high, 1 medium.")
    unfolded = "\n".join(render_findings(snapshot, report, "target", 80, unfolded=True))
    assert all(finding.title in unfolded for finding in many)
    few = AuditReport(many[: FOLD_AT - 1])
    assert "times" not in "\n".join(render_findings(snapshot, few, "target", 80))
