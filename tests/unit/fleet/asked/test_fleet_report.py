"""A report on a fleet says what the audits of its targets say, target by target, counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic_sarif.model import (  # type: ignore[import-untyped]  # the models of SARIF's own JSON Schema
    StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog,
)

from explorer.analysis import finding_fingerprint, verdict
from explorer.fleet import Dataset, Outcome
from explorer.fleet.summary import FleetSummary, summarise, tell_findings
from explorer.model import Severity, Snapshot, escape_text
from tests.conftest import Run
from tests.written_fleets import audit_of, write_fleet

from .conftest import UNREAD


@pytest.fixture(scope="module")
def summary(fleet: Path) -> FleetSummary:
    return summarise(Dataset.open(fleet))


def changed(snapshot: Snapshot, release: str = "") -> Snapshot:
    copy = Snapshot.model_validate(snapshot.model_dump())
    if release:
        copy.kernel.release = release
    return copy


def without_borrowers(snapshot: Snapshot) -> Snapshot:
    copy = changed(snapshot)
    for task in copy.tasks:
        if task.borrowing:
            task.borrowing, task.fs = False, task.real_fs
    return copy


def rules_of(snapshot: Snapshot, least: Severity = Severity.INFO) -> set[str]:
    return {found.rule for found in audit_of(snapshot).findings if found.severity.reaches(least)}


def test_verdicts_by_release_are_those_of_the_targets(
    summary: FleetSummary, fleet_snapshots: dict[str, Snapshot]
) -> None:
    wanted = Counter(
        (snapshot.kernel.release, verdict(snapshot).kind.value) for snapshot in fleet_snapshots.values()
    )
    told = {
        (each.release, kind): number for each in summary.releases for kind, number in each.verdicts.items()
    }
    assert told == wanted
    assert [each.targets for each in summary.releases] == sorted(
        (each.targets for each in summary.releases), reverse=True
    )


def test_findings_by_rule_are_those_of_the_audits_with_the_targets_they_are_on(
    summary: FleetSummary, fleet_snapshots: dict[str, Snapshot]
) -> None:
    findings: Counter[str] = Counter()
    targets: dict[str, set[str]] = {}
    worst: dict[str, Severity] = {}
    for name, snapshot in fleet_snapshots.items():
        for found in audit_of(snapshot).findings:
            findings[found.rule] += 1
            targets.setdefault(found.rule, set()).add(name)
            worst[found.rule] = min(
                worst.get(found.rule, Severity.INFO), found.severity, key=lambda each: each.rank
            )
    assert {each.rule: each.findings for each in summary.rules} == findings
    assert {each.rule: set(each.targets.names) for each in summary.rules} == targets
    assert {each.rule: each.severity for each in summary.rules} == worst
    ranks = [Severity(each.severity).rank for each in summary.rules]
    assert ranks == sorted(ranks)
    assert sum(summary.by_severity.values()) == sum(findings.values())


def test_what_only_one_release_has_is_on_no_target_of_another(
    summary: FleetSummary, fleet_snapshots: dict[str, Snapshot]
) -> None:
    releases: dict[str, set[str]] = {}
    for snapshot in fleet_snapshots.values():
        for rule in rules_of(snapshot):
            releases.setdefault(rule, set()).add(snapshot.kernel.release)
    wanted = {(next(iter(of)), rule) for rule, of in releases.items() if len(of) == 1}
    assert {(each.release, rule) for each in summary.releases for rule in each.only_rules} == wanted
    assert wanted


def test_a_target_unlike_most_of_its_release_is_named_with_what_differs(
    summary: FleetSummary, fleet_snapshots: dict[str, Snapshot]
) -> None:
    usual = rules_of(fleet_snapshots["dumps/isolated.elf"], Severity.LOW)
    odd = rules_of(fleet_snapshots["dumps/abandoned.json"], Severity.LOW)
    found = {each.target: each for each in summary.unlike}
    assert set(found) == {"dumps/abandoned.json"}
    one = found["dumps/abandoned.json"]
    assert (one.verdict, one.usual) == ("abandoned", "isolated")
    assert (set(one.more), set(one.less)) == (odd - usual, usual - odd)


def test_two_targets_of_a_release_have_no_usual(fleet_snapshots: dict[str, Snapshot], tmp_path: Path) -> None:
    pair = {name: fleet_snapshots[name] for name in ("dumps/isolated.elf", "dumps/abandoned.json")}
    assert summarise(Dataset.open(write_fleet(tmp_path / "fleet", pair))).unlike == []


def test_borrowers_add_up_and_say_who_is_behind_most_of_them(
    fleet_snapshots: dict[str, Snapshot], tmp_path: Path
) -> None:
    """Ten in one module, one in another, one in vmlinux, and one of userspace."""
    snapshot = changed(fleet_snapshots["dumps/isolated.elf"])
    workers = [task for task in snapshot.tasks if task.kthread is not None]
    for number, task in enumerate(workers[:12]):
        assert task.kthread is not None
        where = "big" if number < 10 else "small" if number == 10 else None
        task.borrowing = True
        task.kthread.current_func = f"work{number % 2}" + (f" [{where}]" if where else "")
        task.kthread.module = where
    told = summarise(Dataset.open(write_fleet(tmp_path / "fleet", {"a": snapshot, "b": snapshot}))).borrowing
    assert told.borrowers == 2 * sum(bool(task.borrowing) for task in snapshot.tasks)
    assert told.targets == 2
    by_module = {each.module: each.borrowers for each in told.modules}
    assert by_module == {"big": 20, "small": 2, "vmlinux": 2, "userspace": 2}
    assert told.modules[0].module == "big" and told.modules[0].targets == 2
    assert sum(each.share for each in told.modules) == pytest.approx(1)
    assert told.modules[-1].cumulative == pytest.approx(1)
    assert sum(each.borrowers for each in told.functions) == told.borrowers
    assert {(each.function, each.borrowers) for each in told.functions if each.module == "big"} == {
        ("work0", 10),
        ("work1", 10),
    }


def test_what_could_not_be_read_is_told_by_reason_with_the_targets(summary: FleetSummary) -> None:
    assert summary.targets == summary.outcomes["ok"] + len(UNREAD)
    assert {(each.outcome, each.why, each.targets.names) for each in summary.unread} == {
        ("cannot-open", "the file is empty", ("dumps/empty.elf", "dumps/none.elf")),
        ("timeout", "it took longer than 600 s", ("dumps/huge.elf",)),
    }


def test_of_very_many_targets_some_are_named_and_all_counted(
    fleet_snapshots: dict[str, Snapshot], tmp_path: Path
) -> None:
    many = {f"t{number:02}": fleet_snapshots["dumps/abandoned.json"] for number in range(15)}
    told = summarise(Dataset.open(write_fleet(tmp_path / "fleet", many)))
    one = next(each for each in told.rules if each.rule == "NX-PID1-ABANDONED")
    assert (len(one.targets.names), one.targets.count, one.targets.more) == (10, 15, 5)
    assert one.targets.names == tuple(f"t{number:02}" for number in range(10))


# Against another fleet


@pytest.fixture(scope="module")
def builds(
    fleet_snapshots: dict[str, Snapshot], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The build before, and this one: one target is abandoned now, one no longer borrows, one is gone, one new."""
    isolated, abandoned = fleet_snapshots["dumps/isolated.elf"], fleet_snapshots["dumps/abandoned.json"]
    directory = tmp_path_factory.mktemp("builds")
    before = {"1/a.json": isolated, "1/b.json": isolated, "1/c.json": isolated, "1/gone.json": isolated}
    now = {
        "2/a.json": abandoned,
        "2/b.json": without_borrowers(isolated),
        "2/c.json": isolated,
        "2/new.json": changed(abandoned, "7.4"),
    }
    return write_fleet(directory / "now", now), write_fleet(directory / "before", before)


def test_against_the_build_before_it_says_what_is_new_gone_and_changed(
    builds: tuple[Path, Path], fleet_snapshots: dict[str, Snapshot]
) -> None:
    told = summarise(*map(Dataset.open, builds)).against
    assert told is not None
    assert told.matched == 3
    assert (told.new_targets.names, told.gone_targets.names) == (("2/new.json",), ("1/gone.json",))
    isolated, abandoned = fleet_snapshots["dumps/isolated.elf"], fleet_snapshots["dumps/abandoned.json"]
    prints = {
        name: {finding_fingerprint(found) for found in audit_of(snapshot).findings}
        for name, snapshot in (("i", isolated), ("a", abandoned), ("w", without_borrowers(isolated)))
    }
    gone = [f for f in audit_of(isolated).findings if finding_fingerprint(f) not in prints["a"]]
    gone += [f for f in audit_of(isolated).findings if finding_fingerprint(f) not in prints["w"]]
    new = [f for f in audit_of(abandoned).findings if finding_fingerprint(f) not in prints["i"]]
    assert (told.new_findings, told.gone_findings) == (len(new), len(gone))
    of_new_target = audit_of(abandoned).findings
    assert told.new_by_severity == Counter(found.severity.value for found in (*new, *of_new_target))
    by_target = {each.target: each for each in told.changed}
    assert set(by_target) == {"2/a.json", "2/b.json"}
    first = by_target["2/a.json"]
    assert (first.verdict_before, first.verdict) == ("isolated", "abandoned")
    assert set(first.came) == {found.rule for found in new}
    assert by_target["2/b.json"].came == () and "NX-BORROWER" in by_target["2/b.json"].went
    assert told.changed[0] is first, "what has another verdict comes first"
    rules = {each.rule: (each.before, each.now) for each in told.rules}
    assert rules["NX-PID1-ABANDONED"] == (0, 2)
    assert rules["NX-BORROWER"] == (4, 1)


def test_a_fleet_against_itself_has_nothing_new(fleet: Path, run: Run) -> None:
    told = summarise(Dataset.open(fleet), Dataset.open(fleet)).against
    assert told is not None
    assert (told.new_findings, told.gone_findings, told.changed, told.rules) == (0, 0, (), ())
    assert run("fleet", "report", fleet, "--against", fleet).returncode == 4, "only what was not read is left"


def test_hosts_match_where_file_names_do_not_and_neither_where_two_have_it(
    fleet_snapshots: dict[str, Snapshot], tmp_path: Path
) -> None:
    def of_host(name: str) -> Snapshot:
        copy = changed(fleet_snapshots["dumps/isolated.elf"])
        copy.kernel.nodename = name
        return copy

    now = {"x/monday": of_host("web"), "x/odd": of_host("two"), "x/even": of_host("two")}
    before = {"y/sunday": of_host("web"), "y/one": of_host("two")}
    told = summarise(
        Dataset.open(write_fleet(tmp_path / "now", now)),
        Dataset.open(write_fleet(tmp_path / "before", before)),
    ).against
    assert told is not None
    assert (told.matched, told.new_targets.count, told.gone_targets.count) == (1, 2, 1)


# The command


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 1), (("--fail-on", "critical"), 1), (("--format", "json"), 1)],
)
def test_the_exit_code_is_the_audits(fleet: Path, run: Run, options: tuple[str, ...], code: int) -> None:
    assert run("fleet", "report", fleet, *options).returncode == code


def test_without_a_finding_at_the_threshold_what_was_not_read_decides(
    fleet_snapshots: dict[str, Snapshot], tmp_path: Path, run: Run
) -> None:
    alone = {"a": fleet_snapshots["dumps/legacy-6.1.elf"]}
    write_fleet(tmp_path / "whole", alone)
    write_fleet(tmp_path / "holes", alone, [("b", Outcome.CRASHED, "SIGSEGV")])
    assert run("fleet", "report", tmp_path / "whole", "--fail-on", "critical").returncode == 0
    assert run("fleet", "report", tmp_path / "holes", "--fail-on", "critical").returncode == 4


def test_against_another_fleet_only_new_findings_count(builds: tuple[Path, Path], run: Run) -> None:
    now, before = builds
    assert run("fleet", "report", now, "--against", before).returncode == 1
    assert run("fleet", "report", before, "--against", before).returncode == 0
    assert run("fleet", "report", before).returncode == 1


def test_json_has_all_of_it_and_the_code(fleet: Path, summary: FleetSummary, run: Run) -> None:
    document = json.loads(run("fleet", "report", fleet, "--format", "json").stdout)
    assert (document["format"], document["version"], document["exit_code"]) == (
        "nullfs-explorer fleet report",
        1,
        1,
    )
    assert {each["rule"]: each["findings"] for each in document["rules"]} == {
        each.rule: each.findings for each in summary.rules
    }
    assert document["unread"][0]["targets"]["count"] == 2
    assert document["against"] is None
    assert document["borrowing"]["borrowers"] == summary.borrowing.borrowers


def test_text_and_markdown_name_every_rule_release_and_reason(
    fleet: Path, summary: FleetSummary, run: Run, tmp_path: Path
) -> None:
    text = run("fleet", "report", fleet).stdout
    run("fleet", "report", fleet, "-o", tmp_path / "report.md")
    markdown = (tmp_path / "report.md").read_text()
    for words in (
        *(each.rule for each in summary.rules),
        *(each.release for each in summary.releases),
        *(each.why for each in summary.unread),
    ):
        assert words in text
        assert words in markdown.replace("\\", "")
    assert "12 targets: 9 read whole, 3 not read." in text
    narrow = run("fleet", "report", fleet, "--width", "80").stdout.splitlines()
    assert max(map(len, narrow)) <= 80


def test_sarif_has_a_result_for_each_finding_of_each_target(
    fleet: Path, fleet_snapshots: dict[str, Snapshot], run: Run
) -> None:
    document = json.loads(run("fleet", "report", fleet, "--format", "sarif").stdout)
    SarifLog.model_validate(document)
    (only,) = document["runs"]
    wanted = Counter(
        (name, found.rule, finding_fingerprint(found))
        for name, snapshot in fleet_snapshots.items()
        for found in audit_of(snapshot).findings
    )
    told = Counter(
        (
            each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            each["ruleId"],
            each["partialFingerprints"]["ruleAndSubject/v1"],
        )
        for each in only["results"]
    )
    assert told == wanted
    assert len(only["invocations"][0]["toolExecutionNotifications"]) == 2
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in only["results"])


def test_sarif_against_another_fleet_says_which_results_are_new(builds: tuple[Path, Path], run: Run) -> None:
    now, before = builds
    document = json.loads(run("fleet", "report", now, "--against", before, "--format", "sarif").stdout)
    SarifLog.model_validate(document)
    states = Counter(each["baselineState"] for each in document["runs"][0]["results"])
    told = summarise(Dataset.open(now), Dataset.open(before)).against
    assert told is not None
    assert states["new"] == sum(told.new_by_severity.values())
    assert states["unchanged"] > 0


def test_findings_beyond_what_is_told_are_the_lesser_ones_and_counted(fleet: Path) -> None:
    every, some = tell_findings(Dataset.open(fleet)), tell_findings(Dataset.open(fleet), most=5)
    assert some.findings == every.findings[:5]
    assert some.more == len(every.findings) - 5
    ranks = [Severity(each.severity).rank for each in every.findings]
    assert ranks == sorted(ranks)


def test_text_from_a_kernel_is_escaped_once_in_every_form(
    fleet_snapshots: dict[str, Snapshot], tmp_path: Path, run: Run
) -> None:
    evil = changed(fleet_snapshots["dumps/abandoned.json"], "7.3\x1b[31m\\x|<b>")
    fleet = write_fleet(tmp_path / "fleet", {"a\x1b]0;b.json": evil})
    shown = escape_text(evil.kernel.release)
    for form in ("text", "markdown", "json", "sarif"):
        out = run("fleet", "report", fleet, "--format", form).stdout
        assert "\x1b" not in out
        if form == "json":
            assert json.loads(out)["releases"][0]["release"] == shown
        if form == "text":
            assert shown in out
        if form == "markdown":
            assert "<b>" not in out
    document = json.loads(run("fleet", "report", fleet, "--format", "sarif").stdout)
    assert document["runs"][0]["results"][0]["properties"]["release"] == shown
