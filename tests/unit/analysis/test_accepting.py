"""Which findings are accepted: by what they are about, never by what one boot calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from explorer.analysis import FoundObjects, accept_findings, baseline_of, entry_of, with_entry
from explorer.analysis.accepting import Acceptance, finding_subject
from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.folding import FOLD_AT, fold_findings
from explorer.analysis.rule import NotJudged
from explorer.model import (
    Baseline,
    CaptureError,
    Finding,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskKind,
    task_name,
    task_reference,
)
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
    lost = _finding("gone (7) has its root on ext4#9", "gone (7)")
    gone = entry_of(lost, FoundObjects([lost], snapshot))
    plugins = gone.model_copy(update={"rule": "NX-KSMBD-SHARE"})

    def unmatched(report: AuditReport, *only: str) -> list[str]:
        found = FoundObjects(report.findings, snapshot)
        acceptance = Acceptance(found, Baseline(accepted=[gone, plugins]), "known.json")
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
    found = FoundObjects(report.findings, snapshot)
    milder = entry_of(finding, found).model_copy(update={"severity": Severity.LOW})
    accept_findings(report, snapshot, Acceptance(found, Baseline(accepted=[milder]), "known.json"))
    assert [each.accepted for each in report.findings if each.rule == "NX-ROOT-DETACHED"] == [None]
    assert report.unmatched == [f"accepted as low, and medium now: {finding.title} [NX-ROOT-DETACHED]"]


def test_accepting_twice_is_accepting_once_and_taking_back_leaves_the_others(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    first, second = _finding("a (1) at /a", "a (1)"), _finding("b (2) at /b", "b (2)")
    later = _finding("a (9) at /a", "a (9)")
    snapshot = fixture_snapshots["isolated"]
    found, on_another_boot = FoundObjects([first, second], snapshot), FoundObjects([later], snapshot)
    baseline = with_entry(Baseline(accepted=[]), first, found, accepted=True)
    baseline = with_entry(baseline, second, found, accepted=True)
    again = with_entry(baseline, later, on_another_boot, accepted=True)
    assert len(again.accepted) == 2
    left = with_entry(again, first, found, accepted=False)
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


class _Boot:
    """A snapshot with some tasks of one name, and a finding about each that differs in what one boot says alone."""

    def __init__(self, snapshot: Snapshot, *tasks: Task) -> None:
        others = [task for task in snapshot.tasks if task.comm != "borrower"]
        same = {name: getattr(snapshot, name) for name in type(snapshot).model_fields}
        self.snapshot = Snapshot.model_construct(**same | {"tasks": [*others, *tasks]})
        self.report = AuditReport(
            [
                _finding(f"{task_name(task)} has its root on tmpfs#{task.pid}:/jail", "").model_copy(
                    update={"evidence": [task_reference(task)]}
                )
                for task in tasks
            ]
        )
        self.found = FoundObjects(self.report.findings, self.snapshot)

    def baseline(self) -> Baseline:
        return baseline_of(entry_of(each, self.found) for each in self.report.findings)

    def accepted(self, baseline: Baseline) -> list[bool]:
        accept_findings(self.report, self.snapshot, Acceptance(self.found, baseline, "known.json"))
        return [each.accepted is not None for each in self.report.findings]


@pytest.fixture
def boot(fixture_snapshots: dict[str, Snapshot]) -> Callable[..., _Boot]:
    """Makes one from what the tasks have."""
    snapshot = fixture_snapshots["isolated"]
    some = next(task for task in snapshot.tasks if task.comm == "borrower")
    parent = next(task for task in snapshot.tasks if task.pid == 1)

    def make(*tasks: dict[str, Any]) -> _Boot:
        same = {"kind": TaskKind.USER, "ppid": parent.pid, "cgroup": "/system.slice/borrower.service"}
        return _Boot(
            snapshot,
            *(
                some.model_copy(
                    update=same | {"pid": pid, "tgid": pid, "address": 0xFFFF888000000000 + pid} | task
                )
                for pid, task in enumerate(tasks, tasks[0].pop("first_pid", 5000) if tasks else 0)
            ),
        )

    return make


def test_of_two_tasks_of_one_name_the_other_one_is_not_accepted_with_the_one_that_was(
    boot: Callable[..., _Boot],
) -> None:
    one = boot({}).baseline()
    assert boot({"first_pid": 77}).accepted(one) == [True]  # another boot: other pids, other addresses
    twins = boot({}, {})
    assert finding_subject(twins.report.findings[0]) == finding_subject(twins.report.findings[1])
    assert twins.accepted(one) == [False, False]
    assert [words.split(": ")[:2] for words in twins.report.unmatched] == [
        [
            "accepted, and not so many",
            "2 of task borrower (#), user, child of nx-init, in /system.slice/borrower.service, where 1 was accepted",
        ]
    ]
    both = boot({}, {}).baseline()
    assert len(both.accepted) == 1
    assert boot({"first_pid": 9}, {}).accepted(both) == [True, True]
    assert boot({}).accepted(both) == [True]
    assert boot({}, {}, {}).accepted(both) == [False, False, False]


@pytest.mark.parametrize(
    "other",
    [
        {"cgroup": "/system.slice/docker-8d0c.scope/sh"},
        {"cgroup": None},
        {"ppid": 2},
        {"ppid": 0},
        {"ppid": None},
        {"kind": TaskKind.USERMODEHELPER},
        {"comm": "borrower2"},
    ],
)
def test_a_task_that_took_the_place_and_the_name_of_an_accepted_one_is_not_accepted(
    boot: Callable[..., _Boot], other: dict[str, Any]
) -> None:
    assert boot(dict(other)).accepted(boot({}).baseline()) == [False]
    assert boot(dict(other), {}).accepted(boot(dict(other), {}).baseline()) == [True, True]


@pytest.mark.parametrize(
    ("one", "later"),
    [
        ("/user.slice/user-1000.slice/session-3.scope", "/user.slice/user-1000.slice/session-17.scope"),
        ("/system.slice/docker-8d0c44a1f2b3.scope", "/system.slice/docker-99aa44a1f200.scope"),
        (
            "/kubepods.slice/kubepods-pod1f2b3c4d_0000_4000_8000_0123456789ab.slice",
            "/kubepods.slice/kubepods-pod9f2b3c4d_1111_4000_8000_0123456789ff.slice",
        ),
        ("/system.slice/run-r5f0e11223344.scope", "/system.slice/run-r5f0e11223399.scope"),
        ("/system.slice/run-u7.service", "/system.slice/run-u12.service"),
    ],
)
def test_a_group_that_is_made_anew_on_each_boot_is_the_same_one(
    boot: Callable[..., _Boot], one: str, later: str
) -> None:
    assert boot({"cgroup": later}).accepted(boot({"cgroup": one}).baseline()) == [True]
    assert boot({"cgroup": "/user.slice/user-1001.slice"}).accepted(
        boot({"cgroup": "/user.slice/user-1000.slice"}).baseline()
    ) == [False]


def test_a_baseline_that_counted_nothing_accepts_by_the_subject_until_it_is_written_anew(
    boot: Callable[..., _Boot],
) -> None:
    counted = boot({}).baseline()
    old = Baseline(accepted=[each.model_copy(update={"objects": None}) for each in counted.accepted])
    assert boot({}, {}).accepted(old) == [True, True]
    assert baseline_of([*old.accepted, *counted.accepted]) == counted
