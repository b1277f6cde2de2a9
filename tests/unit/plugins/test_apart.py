"""A stranger's plugin that judges apart: whatever it does there is an error entry, and nothing is lost on the way."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from explorer.analysis import audit_with
from explorer.codec import load_snapshot
from explorer.model import Finding, Reference, Severity
from explorer.plugin import ApartError, PluginSet, judge_apart
from explorer.plugin.apart import _findings
from tests.conftest import DATA, SAMPLE, Run
from tests.crashing import crashing_plugin

FINDING = Finding(
    rule="NX-EVIL-ONE",
    severity=Severity.HIGH,
    title="a name \udcff\x1b[31m \U0001f600",
    evidence=[Reference(kind="task", address=0xFFFF888000000001, label="x")],
    explanation="because",
    advice="",
)


def test_a_finding_comes_back_as_it_was_made() -> None:
    assert judge_apart(lambda: [FINDING] * 2000) == [FINDING] * 2000
    assert judge_apart(list) == []


def raises() -> Iterable[Finding]:
    raise SystemExit(0)


def closes_everything() -> Iterable[Finding]:
    os.closerange(3, 256)
    os._exit(0)


def leaves_a_child() -> Iterable[Finding]:
    if not os.fork():
        time.sleep(600)
    os._exit(0)


@pytest.mark.parametrize(
    ("judge", "why"),
    [
        (lambda: os._exit(0), "its audit has ended the process: exit code 0"),
        (lambda: os._exit(3), "its audit has ended the process: exit code 3"),
        (lambda: ctypes.string_at(0), "its audit has ended the process: signal SIGSEGV"),
        (lambda: os.execv("/bin/true", ["true"]), "its audit has ended the process: exit code 0"),
        (
            lambda: os.execv("/bin/sleep", ["sleep", "600"]),
            "its audit has not ended, and says nothing any more",
        ),
        (raises, "SystemExit: 0"),
        (lambda: [None], "AttributeError"),
        (closes_everything, "its audit has ended the process: exit code 0"),
        (leaves_a_child, "its audit had not ended after 2 s, or finds no end"),
        (lambda: time.sleep(600), "its audit had not ended after 2 s, or finds no end"),
    ],
)
def test_whatever_it_does_is_said_in_words(judge: object, why: str) -> None:
    with pytest.raises(ApartError, match=f"^{why}"):
        judge_apart(judge, limit_s=2.0)  # type: ignore[arg-type]
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)


@pytest.mark.parametrize("said", [b"{", b"[]", b"{}", b'{"findings": [{}]}', b"\xff", b"[" * 100_000])
def test_what_is_cut_off_or_invented_is_no_finding(said: bytes) -> None:
    with pytest.raises(ApartError, match="before all was said"):
        _findings(said)


@pytest.mark.parametrize("audit", ["os._exit(0)", "ctypes.string_at(0)", "raise KeyboardInterrupt"])
def test_a_report_has_an_entry_for_it_and_all_that_the_others_found(
    run: Run, tmp_path: Path, audit: str
) -> None:
    plugin = crashing_plugin(tmp_path, collect="pass", audit=audit)
    assert run("snapshot", SAMPLE, "--plugin", plugin, "-o", "saved.json").returncode == 0
    snapshot = load_snapshot(tmp_path / "saved.json")
    plugins = PluginSet([plugin])
    report = audit_with(plugins, snapshot, apart=True)
    assert report.findings == audit_with(PluginSet(), snapshot).findings
    (error,) = report.errors
    assert (error.where, error.what) == ("plugin zcrash", "audit")
    assert len(report.tracebacks) == 1


def test_a_program_that_uses_the_library_goes_on_where_an_installed_plugin_ends_its_process(
    run: Run, tmp_path: Path
) -> None:
    plugin = crashing_plugin(tmp_path, collect="pass", audit="os._exit(0)")
    assert run("snapshot", SAMPLE, "--plugin", plugin, "-o", "saved.json").returncode == 0
    about = tmp_path / "zcrash-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: zcrash\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[explorer.plugins]\nzcrash = zcrash\n")
    code = (
        "from explorer import audit, load\n"
        "report = audit(load('saved.json'))\n"
        "print(len(report.findings), [str(error.why) for error in report.errors])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{DATA.parent.parent}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    findings = len(audit_with(PluginSet(), load_snapshot(tmp_path / "saved.json")).findings)
    assert ran.stdout == f"{findings} ['its audit has ended the process: exit code 0']\n", ran.stderr
    assert findings > 0
