"""JUnit XML of an audit, as another reader sees it: which rules fail, which are skipped, and nothing unescaped."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from explorer.analysis import run_audit
from explorer.analysis.rules import RULES
from explorer.model import CaptureError, Severity, Snapshot
from explorer.output.pipelines import junit_document
from tests.conftest import SAMPLE, Run


def suite_of(text: str) -> TestSuite:
    (suite,) = JUnitXml.fromstring(text.encode())
    assert isinstance(suite, TestSuite)
    return suite


def results(suite: TestSuite) -> dict[str, list[object]]:
    return {str(case.name): list(case.result) for case in suite if isinstance(case, TestCase)}


def kinds(suite: TestSuite) -> dict[str, str]:
    return {name: type(found[0]).__name__ if found else "passed" for name, found in results(suite).items()}


@pytest.mark.parametrize(("fail_on", "fails"), [("medium", 1), ("critical", 0)])
def test_rules_fail_by_the_threshold_as_the_exit_code_does(fail_on: str, fails: int, run: Run) -> None:
    printed = run("audit", SAMPLE, "--format", "junit", "--fail-on", fail_on)
    suite = suite_of(printed.stdout)
    assert (printed.returncode, bool(suite.failures)) == (fails, bool(fails))
    assert suite.tests == len(list(suite))
    assert suite.failures == sum(kind == "Failure" for kind in kinds(suite).values())
    assert {rule.id for rule in RULES} < set(kinds(suite))


def test_a_rule_that_fails_tells_all_its_findings(isolated: Snapshot) -> None:
    report = run_audit(isolated)
    suite = suite_of(junit_document(isolated, report, Severity.INFO))
    for name, found in results(suite).items():
        findings = [finding for finding in report.findings if finding.rule == name]
        failures = [one for one in found if isinstance(one, Failure)]
        assert len(failures) == bool(findings), name
        assert all(str(failures[0].text).count(finding.title) for finding in findings), name


def test_what_is_accepted_or_not_about_this_kernel_does_not_fail(
    isolated: Snapshot, fresh: Callable[[str], Snapshot], run: Run
) -> None:
    report = run_audit(isolated)
    for finding in report.findings:
        finding.accepted = "--ignore"
    assert suite_of(junit_document(isolated, report, Severity.INFO)).failures == 0
    older = fresh("legacy-6.12")
    suite = suite_of(junit_document(older, run_audit(older), Severity.INFO))
    assert kinds(suite)["NX-PID1-ABANDONED"] == "Skipped"
    (skipped,) = results(suite)["NX-PID1-ABANDONED"]
    assert isinstance(skipped, Skipped)
    assert "legacy" in str(skipped.message)
    only = suite_of(run("audit", SAMPLE, "--format", "junit", "--only", "NX-PID1-ABANDONED").stdout)
    assert set(kinds(only)) == {"NX-PID1-ABANDONED", "everything could be read"}


def test_a_gap_is_an_error_and_not_a_pass(isolated: Snapshot) -> None:
    clean = suite_of(junit_document(isolated, run_audit(isolated), Severity.CRITICAL))
    assert kinds(clean)["everything could be read"] == "passed"
    isolated.errors.append(CaptureError(where="pid 1", what="fs", why="not there"))
    suite = suite_of(junit_document(isolated, run_audit(isolated), Severity.CRITICAL))
    (error,) = results(suite)["everything could be read"]
    assert isinstance(error, Error)
    assert "pid 1: fs: not there" in str(error.text)
    assert suite.errors == 1


def test_no_name_of_a_kernels_breaks_the_document(isolated: Snapshot) -> None:
    hostile = "]]><a>&\x00\x1b[2J\udcff\ufffe\U0001f600"
    isolated.errors.append(CaptureError(where=hostile, what=hostile, why=hostile))
    text = junit_document(isolated, run_audit(isolated), Severity.INFO)
    case = ElementTree.fromstring(text.encode()).find(".//error")
    assert case is not None
    assert "]]><a>&\\x00\\e[2J\\xff\\ufffe\U0001f600: " in str(case.get("message"))
    assert not [letter for letter in text if ord(letter) < 32 and letter != "\n"]
