"""Plugins: found by entry point and by file; a broken one costs only itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.plugin import list_plugins, load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import FIXTURES, SAMPLE, Run

GOOD = """
from explorer.plugin import Facts, Plugin

class GoodFacts(Facts):
    release: str

def collect(kernel):
    return GoodFacts(release=kernel.prog["UTS_RELEASE"].string_().decode())

def audit(snapshot, facts):
    return iter(())

PLUGIN = Plugin(name="good", title="A good one", facts=GoodFacts, collect=collect, audit=audit)
"""
RAISES = GOOD.replace("return GoodFacts", "raise RuntimeError('boom') ; return GoodFacts").replace(
    '"good"', '"bad"'
)
ABSENT = GOOD.replace("audit=audit", 'audit=audit, needs_modules=("no_such_module",)').replace(
    '"good"', '"absent"'
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    sources = {"good": GOOD, "raises": RAISES, "absent": ABSENT, "broken": "def (", "empty": ""}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    return [tmp_path / f"{name}.py" for name in sources]


def test_a_file_that_does_not_load_costs_only_itself(files: list[Path]) -> None:
    before = load_plugins()
    loaded = load_plugins(files)
    added = {plugin.name for plugin in loaded.plugins} - {plugin.name for plugin in before.plugins}
    assert added == {"good", "bad", "absent"}
    assert {broken.name for broken in loaded.errors} >= {"broken", "empty"}
    assert all("Traceback" in broken.traceback for broken in loaded.errors)


def test_a_plugin_that_raises_is_an_error_entry_and_the_others_give_their_facts(files: list[Path]) -> None:
    names = ("good", "bad", "absent")
    plugins = [plugin for plugin in load_plugins(files).plugins if plugin.name in names]
    stats = CaptureStats()
    with open_kernel(detect_target(str(FIXTURES["rfc-v1"]))) as kernel:
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins), stats=stats)
    assert snapshot.plugins["good"] == {"state": "loaded", "release": snapshot.kernel.release}
    assert snapshot.plugins["bad"] == {"state": "failed"}
    assert snapshot.plugins["absent"] == {"state": "not loaded"}
    assert [(error.where, error.why) for error in snapshot.errors] == [("plugin bad", "RuntimeError: boom")]
    assert any("boom" in trace for trace in stats.tracebacks)
    assert len(snapshot.tasks) == 81


def test_listing_imports_no_plugin(tmp_path: Path) -> None:
    source = GOOD + "\nraise SystemExit('imported')\n"
    (tmp_path / "trap.py").write_text(source)
    listing = next(found for found in list_plugins([tmp_path / "trap.py"]) if found.name == "good")
    assert listing.title == "A good one"
    code = (
        "import sys\nfrom explorer.plugin import list_plugins\nlist_plugins()\n"
        "print([m for m in sys.modules if m.startswith('explorer.plugins.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_command_reports_a_plugin_that_raises_and_shows_its_traceback_with_debug(
    run: Run, files: list[Path]
) -> None:
    quiet = run("snapshot", FIXTURES["rfc-v1"], "--plugin", files[1])
    loud = run("snapshot", FIXTURES["rfc-v1"], "--plugin", files[1], "--debug")
    assert quiet.returncode == loud.returncode == 4
    assert "boom" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


@pytest.mark.parametrize(
    "command", [("audit",), ("audit", "--only", "NX-WHEN-X"), ("snapshot",), ("tasks",)], ids=" ".join
)
def test_no_command_runs_a_plugin_before_the_kernel_is_open_and_rights_are_given_up(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    plugin = tmp_path / "when.py"
    log = tmp_path / "log"
    plugin.write_text(
        f'"""Says whether drgn was there."""\nimport sys\nopen({str(log)!r}, "a").write(str("drgn" in sys.modules))\n'
    )
    run(*command, SAMPLE, "--plugin", plugin)
    assert log.read_text().startswith("True")
