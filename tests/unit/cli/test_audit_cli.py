"""``audit`` and ``explain`` as scripts and CI systems use them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic_sarif.model import (  # type: ignore[import-untyped]  # the models of SARIF's own JSON Schema
    StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog,
)

from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.lookups import LOOKUP_RULES, LookupRule
from explorer.analysis.rules import RULES
from explorer.model import CaptureError, Finding, Reference, Severity, Snapshot
from explorer.output.findings import findings_document, render_findings, render_rule, write_findings
from explorer.output.sarif import sarif_log
from explorer.plugin import PluginSet, explain_rules
from tests.conftest import FIXTURES, Run

ROOT = Path(__file__).parents[3]

ISOLATED, LEGACY = FIXTURES["isolated"], FIXTURES["legacy-6.12"]
HOSTILE = "\x1b[31m[bold]{0} evil\n](javascript:1)\udcff\u202e"


@pytest.fixture
def hostile(fixture_snapshots: dict[str, Snapshot]) -> tuple[Snapshot, AuditReport]:
    """A finding whose every text is a trap."""
    snapshot = Snapshot.model_validate(fixture_snapshots["isolated"].model_dump())
    snapshot.kernel.release = snapshot.capture.source.target = HOSTILE
    finding = Finding(
        rule="NX-MINE-TRAP",
        severity=Severity.HIGH,
        title=f"{HOSTILE} (1)",
        evidence=[Reference(kind="task", address=0xFFFF888000000000, label=HOSTILE)],
        explanation=HOSTILE,
        advice=HOSTILE,
    )
    error = CaptureError(where=HOSTILE, what="x", why="y")
    return snapshot, AuditReport([finding], [error])


def test_the_exit_code_says_whether_a_finding_reaches_the_threshold(run: Run) -> None:
    assert run("audit", ISOLATED).returncode == 1  # medium: an open chroot
    assert (
        run("audit", ISOLATED, "--fail-on", "high").returncode == 1
    )  # a task of another namespace on our root
    assert run("audit", ISOLATED, "--fail-on", "critical").returncode == 0
    assert run("audit", ISOLATED, "--only", "nx-ns-empty").returncode == 0
    assert run("audit", ISOLATED, "--only", "nx-ns-empty", "--fail-on", "info").returncode == 1
    assert run("audit", "/nothing/there").returncode == 3


def test_a_gap_is_no_clean_bill_and_a_finding_outweighs_it(run: Run, tmp_path: Path) -> None:
    assert run("snapshot", ISOLATED, "-o", "whole.json").returncode == 0
    document = json.loads((tmp_path / "whole.json").read_text())
    document["errors"] = [{"where": "task 7", "what": "task_struct", "why": "fault"}]
    (tmp_path / "gap.json").write_text(json.dumps(document))
    result = run("audit", "gap.json", "--fail-on", "critical")
    assert result.returncode == 4
    assert "task 7" in result.stderr
    assert "NX-UNREADABLE" in result.stdout
    assert run("audit", "gap.json", "--fail-on", "medium").returncode == 1


def test_a_plugin_that_cannot_be_loaded_did_not_judge(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')\n")
    result = run("audit", ISOLATED, "--fail-on", "critical", "--plugin", "broken.py")
    assert result.returncode == 4
    assert "broken on purpose" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plugins_findings_are_findings_and_its_fault_is_not_the_end(run: Run, tmp_path: Path) -> None:
    source = (
        "from explorer.model import Severity\n"
        "from explorer.plugin import Facts, Plugin\n"
        "def collect(kernel):\n"
        "    return Facts()\n"
        "def audit(snapshot, facts):\n"
        "    yield PLUGIN.finding('SEEN', Severity.HIGH, 'seen', [], means='m', do='d')\n"
        "    {fault}\n"
        "PLUGIN = Plugin(name='{name}', title='t', facts=Facts, collect=collect, audit=audit)\n"
    )
    (tmp_path / "good.py").write_text(source.format(name="good", fault="pass"))
    (tmp_path / "bad.py").write_text(source.format(name="bad", fault="raise RuntimeError('oh')"))
    result = run("audit", ISOLATED, "--plugin", "good.py", "--plugin", "bad.py", "--only", "NX-GOOD-SEEN")
    assert result.returncode == 1
    assert "seen [NX-GOOD-SEEN]" in result.stdout
    assert "plugin bad: audit: RuntimeError: oh" in result.stderr
    assert "Traceback" not in result.stderr
    debug = run("audit", ISOLATED, "--plugin", "bad.py", "--debug").stderr
    assert "Traceback" in debug


def test_a_rule_that_does_not_exist_is_refused_before_the_target_is_opened(run: Run) -> None:
    result = run("audit", "/nothing/there", "--only", "NX-NO-SUCH")
    assert result.returncode == 2
    assert "no rule NX-NO-SUCH" in result.stderr


def test_where_keeps_findings_about_the_tasks_asked_for(run: Run) -> None:
    document = json.loads(run("audit", ISOLATED, "--format", "json", "--where", "comm:cross-root").stdout)
    assert [finding["rule"] for finding in document["findings"]] == ["NX-ROOT-OTHER-NAMESPACE"]


def test_the_text_begins_with_the_verdict_and_ends_with_the_counts(run: Run) -> None:
    lines = run("audit", ISOLATED).stdout.splitlines()
    assert lines[0].startswith("ISOLATED. Kernel threads live in nullfs.")
    assert re.fullmatch(r"1 high, 3 medium, 2 low, \d+ info\.", lines[-1])
    assert max(map(len, lines)) <= 80
    assert run("audit", LEGACY).stdout.startswith("SHARED (normal before 7.3). nx-init (1) and ")


def test_what_findings_of_one_rule_mean_is_said_once(fixture_snapshots: dict[str, Snapshot]) -> None:
    snapshot = fixture_snapshots["isolated"]
    report = run_audit(snapshot)
    text = " ".join(" ".join(render_findings(snapshot, report, "target", 80)).split())
    assert sum(finding.rule == "NX-PWD-DETACHED" for finding in report.findings) == 2
    assert text.count("getcwd() says (unreachable)") == 1


def test_json_and_a_saved_snapshot_say_the_same(run: Run, tmp_path: Path) -> None:
    assert run("snapshot", ISOLATED, "-o", "saved.json.zst").returncode == 0
    from_kernel, saved = (
        json.loads(run("audit", target, "--format", "json").stdout) for target in (ISOLATED, "saved.json.zst")
    )
    assert from_kernel["findings"] == saved["findings"]
    assert from_kernel["verdict"] == saved["verdict"]
    assert from_kernel["verdict"]["kind"] == "isolated"


@pytest.mark.parametrize("layout", list(FIXTURES))
def test_sarif_is_what_the_schema_of_2_1_0_says(fixture_snapshots: dict[str, Snapshot], layout: str) -> None:
    snapshot = fixture_snapshots[layout]
    document = sarif_log(snapshot, run_audit(snapshot), 1)
    SarifLog.model_validate(json.loads(json.dumps(document)))
    [run] = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules[: len(RULES)]] == [rule.id for rule in RULES]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_a_finding_keeps_its_fingerprint_when_only_pids_move(fixture_snapshots: dict[str, Snapshot]) -> None:
    snapshot = Snapshot.model_validate(fixture_snapshots["isolated"].model_dump())

    def fingerprints() -> dict[str, str]:
        results = sarif_log(snapshot, run_audit(snapshot), 1)["runs"][0]["results"]
        return {
            result["partialFingerprints"]["ruleAndSubject/v1"]: result["message"]["text"]
            for result in results
        }

    before = fingerprints()
    for task in snapshot.tasks:
        task.pid += 1000 if task.pid > 1 else 0
    after = fingerprints()
    assert before.keys() == after.keys()
    assert before != after


def test_the_schema_check_refuses_what_sarif_does_not_know(fixture_snapshots: dict[str, Snapshot]) -> None:
    snapshot = fixture_snapshots["isolated"]
    for wrong in ({"level": "critical"}, {"extra": 1}, {"ruleIndex": -2}):
        document = sarif_log(snapshot, run_audit(snapshot), 1)
        document["runs"][0]["results"][0] |= wrong
        with pytest.raises(ValueError, match="validation error"):
            SarifLog.model_validate(document)


def test_sarif_from_the_command_line(run: Run) -> None:
    result = run("audit", ISOLATED, "--format", "sarif")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    SarifLog.model_validate(document)
    assert document["runs"][0]["invocations"][0]["exitCode"] == 1


def test_kernel_text_in_sarif_is_neither_a_placeholder_nor_a_link(
    hostile: tuple[Snapshot, AuditReport],
) -> None:
    document = sarif_log(*hostile, 1)
    SarifLog.model_validate(json.loads(json.dumps(document)))
    [run] = document["runs"]
    for message in (
        run["results"][0]["message"],
        run["invocations"][0]["toolExecutionNotifications"][0]["message"],
    ):
        text = message["text"]
        assert "{{0}}" in text
        assert re.search(r"(?<!\\)[\[\]]", text) is None
        assert text.isprintable()
    assert all(char.isprintable() for char in run["properties"]["release"])
    assert run["artifacts"][0]["location"]["uri"].isascii()


def test_nothing_in_a_name_acts_on_a_terminal(hostile: tuple[Snapshot, AuditReport]) -> None:
    for width in (40, 80, 200):
        lines = render_findings(*hostile, "\x1b[2Jtarget", width)
        assert all(line.isprintable() for line in lines)
    assert write_findings(findings_document(*hostile)).isascii()


@pytest.mark.parametrize(
    ("rule", "severity", "words"),
    [
        ("NX-COREDUMP-BORROWER", "info", "it ends with the look-up"),
        ("nx-coredump-stuck", "medium", "so the process cannot end"),
        ("NX-KSMBD-DEAD-SHARE", "high", "What to do: "),
        ("NX-UMH-NO-MODPROBE", "medium or info", "Set kernel.modprobe to where init sees the program"),
        ("NX-EROFS-WALK", "medium", "walks the path"),
    ],
)
def test_the_rule_of_a_plugin_is_explained_too(run: Run, rule: str, severity: str, words: str) -> None:
    """By what it finds itself, and by what its helpers find for it."""
    result = run("explain", rule)
    assert result.returncode == 0
    assert result.stdout.startswith(f"{rule.upper()}: {severity}\n")
    assert words in " ".join(result.stdout.split())


def test_every_finding_of_a_real_kernel_has_a_rule_that_is_explained(run: Run) -> None:
    known = {rule.id for rule in RULES} | {rule.id for rule in explain_rules(PluginSet())}
    findings = json.loads(run("audit", ISOLATED, "--format", "json").stdout)["findings"]
    found = {finding["rule"] for finding in findings}
    assert "NX-COREDUMP-BORROWER" in found
    assert found <= known


@pytest.mark.parametrize("rule", LOOKUP_RULES, ids=lambda rule: rule.id)
def test_every_rule_that_a_trace_gives_to_sarif_is_listed_and_explained(run: Run, rule: LookupRule) -> None:
    assert f" {rule.id} " in run("explain").stdout
    told = run("explain", rule.id.lower())
    assert told.returncode == 0 and told.stdout.startswith(f"{rule.id}: {rule.severity}\n")
    words = " ".join(told.stdout.split())
    assert rule.explanation in words and f"What to do: {rule.advice}" in words


def test_every_rule_can_be_explained(run: Run) -> None:
    listed = run("explain").stdout
    for rule in RULES:
        assert f" {rule.id} " in listed
        assert rule.title in " ".join(render_rule(rule, 200))
    result = run("explain", "nx-pid1-abandoned")
    assert result.returncode == 0
    assert "NX-PID1-ABANDONED: critical" in result.stdout
    assert "rfc-v1, isolated" in result.stdout
    listed_plugins = {word for word in listed.split() if word.startswith("NX-")}
    cases = 0
    for path in sorted((ROOT / "plugins").glob("*.py")):
        prefix = f"NX-{path.stem.upper().replace('_', '-')}-"
        for case in re.findall(r'PLUGIN\.finding\(\s*"([A-Z-]+)"', path.read_text()):
            assert prefix + case in listed_plugins
            cases += 1
    assert cases > 25
    unknown = run("explain", "NX-KSMBD-SHARE")
    assert unknown.returncode == 2
    assert "plugin ksmbd" in unknown.stderr


STRANGE = """
from explorer.plugin import Plugin, Severity
PLUGIN = Plugin(name="swap\\x1b[31m", title=7, needs_modules=5)

def audit(snapshot):
    yield PLUGIN.finding("GONE", Severity.HIGH, f"{snapshot} \\x1b[2J is gone", means="It is.", do="Look.")

raise SystemExit("a source that is explained is not run")
"""


def test_the_rule_of_a_plugin_file_is_explained_from_its_source_whatever_that_says(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "swap.py").write_text(STRANGE)
    listed = run("explain", "--plugin", "swap.py")
    assert listed.returncode == 0
    assert "NX-SWAP\\e[31M-GONE" in listed.stdout
    assert "NX-COREDUMP-BORROWER" in listed.stdout
    one = run("explain", "--plugin", "swap.py", "nx-swap\x1b[31m-gone")
    assert one.stdout.startswith("NX-SWAP\\e[31M-GONE: high\n… \\e[2J is gone\n")
    assert "What to do: Look." in one.stdout
    assert (listed.stdout + one.stdout).replace("\n", "").isprintable()
    assert run("explain", "nx-swap\x1b[31m-gone").returncode == 2


@pytest.mark.parametrize(
    "source", ["", "x =", "\0", f"x = {'-' * 100_000}1", f"x = {'(' * 3000}{')' * 3000}"]
)
def test_a_file_without_a_rule_to_explain_is_refused_in_one_line(
    run: Run, tmp_path: Path, source: str
) -> None:
    (tmp_path / "none.py").write_text(source)
    refused = run("explain", "--plugin", "none.py")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "none.py cannot be read, or its source has no finding" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
