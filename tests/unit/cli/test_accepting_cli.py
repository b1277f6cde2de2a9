"""``audit --baseline``, ``--ignore`` and ``--write-baseline`` as scripts use them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic_sarif.model import (  # type: ignore[import-untyped]  # the models of SARIF's own JSON Schema
    StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog,
)

from tests.conftest import FIXTURES, Run

ISOLATED, LEGACY = FIXTURES["isolated"], FIXTURES["legacy-6.12"]


@pytest.fixture
def baseline(run: Run, tmp_path: Path) -> Path:
    """What the sample has that reaches the threshold."""
    result = run("audit", ISOLATED, "--write-baseline", "known.json")
    assert result.returncode == 0, result.stderr
    return tmp_path / "known.json"


def test_what_is_accepted_does_not_count_and_is_never_left_unsaid(run: Run, baseline: Path) -> None:
    assert run("audit", ISOLATED).returncode == 1
    result = run("audit", ISOLATED, "--baseline", baseline)
    assert result.returncode == 0
    accepted = len(json.loads(baseline.read_text())["accepted"])
    assert accepted >= 4
    assert f"{accepted} accepted." in result.stdout.splitlines()[-1]
    assert "NX-ROOT-OTHER-NAMESPACE" not in result.stdout
    everything = run("audit", ISOLATED, "--baseline", baseline, "--all").stdout
    assert "NX-ROOT-OTHER-NAMESPACE" in everything


def test_a_baseline_says_what_it_is_and_only_its_owner_can_read_it(run: Run, baseline: Path) -> None:
    document = json.loads(baseline.read_text())
    assert (document["format"], document["version"]) == ("nullfs-explorer baseline", 1)
    assert all(
        set(entry) == {"rule", "subject", "severity", "title", "objects"} for entry in document["accepted"]
    )
    assert stat.S_IMODE(baseline.stat().st_mode) == 0o600


def test_a_new_finding_counts_beside_what_is_accepted(run: Run, baseline: Path) -> None:
    document = json.loads(baseline.read_text())
    document["accepted"] = [each for each in document["accepted"] if each["rule"] != "NX-ROOT-DETACHED"]
    baseline.write_text(json.dumps(document))
    result = run("audit", ISOLATED, "--baseline", baseline)
    assert result.returncode == 1
    assert "[NX-ROOT-DETACHED]" in result.stdout
    assert run("audit", ISOLATED, "--baseline", baseline, "--write-baseline", baseline).returncode == 0
    assert run("audit", ISOLATED, "--baseline", baseline).returncode == 0


def test_what_was_accepted_on_one_boot_is_accepted_on_another_of_another_kernel(
    run: Run, baseline: Path
) -> None:
    findings = [
        json.loads(run("audit", target, "--format", "json", "--baseline", baseline).stdout)["findings"]
        for target in (ISOLATED, LEGACY)
    ]
    accepted = [[each for each in found if each["accepted"]] for found in findings]
    assert [len(each) for each in accepted] == [4, 4]
    titles = [{each["title"] for each in found} for found in accepted]
    assert titles[0] != titles[1]
    addresses = [{each["evidence"][0]["address"] for each in found} for found in accepted]
    assert not addresses[0] & addresses[1]


def test_what_is_accepted_and_not_there_any_more_is_said(run: Run, baseline: Path) -> None:
    assert run("audit", ISOLATED, "--fail-on", "info", "--write-baseline", baseline).returncode == 0
    result = run("audit", LEGACY, "--baseline", baseline)
    assert "accepted, and not found any more: " in result.stdout
    document = json.loads(run("audit", LEGACY, "--baseline", baseline, "--format", "json").stdout)
    assert any("[NX-ROOT-FAILFS]" in words for words in document["unmatched"])


def test_ignoring_a_rule_and_ignoring_it_of_some_tasks_is_not_the_same(run: Run) -> None:
    def medium(*options: str) -> list[str]:
        result = run("audit", ISOLATED, "--format", "json", *options)
        found = json.loads(result.stdout)["findings"]
        return [each["title"].partition(" ")[0] for each in found if each["accepted"] is None]

    of_one = medium("--ignore", "NX-PWD-OUTSIDE-ROOT:comm:cross-cwd")
    assert "cross-cwd" not in of_one
    assert "chroot-cwd-out" in of_one
    assert "chroot-cwd-out" not in medium("--ignore", "nx-pwd-outside-root")
    nothing = run("audit", ISOLATED, "--ignore", "NX-PWD-OUTSIDE-ROOT:comm:nobody")
    assert "--ignore NX-PWD-OUTSIDE-ROOT:comm:nobody matches no finding" in nothing.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ignore", "NX-NO-SUCH"), "no rule NX-NO-SUCH"),
        (("--ignore", "NX-NS-EMPTY:cmm:x"), "there is no field cmm"),
        (("--ignore", "NX-NS-EMPTY:"), "a query is missing"),
        (("--baseline", "nothing.json"), "cannot read nothing.json"),
        (("--baseline", "."), "is a directory"),
        (("--baseline", "text"), "is not JSON"),
        (("--baseline", "other.json"), "no baseline"),
        (("--baseline", "newer.json"), "version 2"),
        (("--baseline", "holed.json"), "accepted.0.subject"),
        (("--write-baseline", "nowhere/b.json"), "nowhere"),
        (("--write-baseline", "b.json.zst"), "not compressed"),
    ],
)
def test_what_cannot_be_accepted_by_is_refused_before_the_target_is_opened(
    run: Run, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    head: dict[str, Any] = {"format": "nullfs-explorer baseline", "version": 1}
    (tmp_path / "text").write_text("not JSON")
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "newer.json").write_text(json.dumps(head | {"version": 2, "accepted": []}))
    (tmp_path / "holed.json").write_text(json.dumps(head | {"accepted": [{"rule": "NX", "severity": "low"}]}))
    result = run("audit", "/nothing/there", *options)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("b.json*"))


def test_sarif_keeps_what_is_accepted_as_suppressed_and_tells_new_from_known(
    run: Run, baseline: Path, tmp_path: Path
) -> None:
    document = json.loads(baseline.read_text())
    document["accepted"] = [each for each in document["accepted"] if each["rule"] != "NX-ROOT-DETACHED"]
    baseline.write_text(json.dumps(document))
    options = ("--format", "sarif", "--baseline", baseline, "--ignore", "NX-NS-EMPTY")
    log = json.loads(run("audit", ISOLATED, *options).stdout)
    SarifLog.model_validate(log)
    results = {result["ruleId"]: result for result in log["runs"][0]["results"]}
    plain = json.loads(run("audit", ISOLATED, "--format", "sarif").stdout)["runs"][0]["results"]
    assert len(plain) == len(log["runs"][0]["results"])
    assert not any("suppressions" in result or "baselineState" in result for result in plain)
    known, new, ignored = (
        results[rule] for rule in ("NX-ROOT-OTHER-NAMESPACE", "NX-ROOT-DETACHED", "NX-NS-EMPTY")
    )
    assert (known["baselineState"], len(known["suppressions"])) == ("unchanged", 1)
    assert (new["baselineState"], new["suppressions"]) == ("new", [])
    assert (ignored["baselineState"], ignored["suppressions"][0]["kind"]) == ("new", "external")
    assert "--ignore NX-NS-EMPTY" in ignored["suppressions"][0]["justification"]
