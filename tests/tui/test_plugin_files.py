"""``--plugin`` on the screen: what a file collects is judged there as ``audit`` judges it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from explorer.codec.snapshots import write_json
from explorer.model import KernelSetting, Snapshot
from explorer.plugin import PluginSet
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.subsystems import SubsystemsScreen
from explorer.tui.session.state import Session
from tests.conftest import SAMPLE, Run

from .conftest import Pilots, drive, press, screen_text
from .test_terminal import ROOT


@pytest.fixture
def poweroff(tmp_path: Path) -> Path:
    """The plugin of the docs."""
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    assert source is not None
    path = tmp_path / "poweroff.py"
    path.write_text(source[1])
    return path


@pytest.fixture
def reported(saved: Snapshot) -> Snapshot:
    """A snapshot with facts of the docs' plugin: what it looks for is not there."""
    missing = "/sbin/poweroff"
    program = KernelSetting(name="poweroff_cmd", value=missing, path=missing, found="no", target=None)
    facts = {"state": "loaded", "command": "/sbin/poweroff", "program": program.model_dump(mode="json")}
    return saved.model_copy(update={"plugins": {**saved.plugins, "poweroff": facts}})


def session(plugin: Path) -> Session:
    return Session(plugins=PluginSet([plugin]))


def test_the_screen_has_the_finding_and_the_subsystem_of_a_plugin_file(
    poweroff: Path, reported: Snapshot, run: Run, tmp_path: Path
) -> None:
    with (tmp_path / "s.json").open("wb") as out:
        write_json(reported, out)
    ran = run("audit", "s.json", "--plugin", "poweroff.py", "--format", "json")
    findings = json.loads(ran.stdout)["findings"]
    rules = [finding["rule"] for finding in findings]
    assert "NX-POWEROFF-MISSING" in rules
    [title] = [finding["title"] for finding in findings if finding["rule"] == "NX-POWEROFF-MISSING"]
    app = ExplorerApp(session(poweroff), reported)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert title in screen_text(app)
        assert app.view is not None and [finding.rule for finding in app.view.audit.findings] == rules
        await press(pilot, "s")
        assert isinstance(app.screen, SubsystemsScreen)
        rows = app.screen.source().records
        app.screen.table.changed([each.name for each in rows].index("poweroff"))
        await press(pilot)
        text = screen_text(app)
        assert "poweroff: Orderly power-off" in text and "1 low" in text
        assert "not installed" not in text

    drive(app, steps, 120)


def test_what_the_screen_reads_again_and_what_it_compares_with_is_judged_by_the_same_plugins(
    poweroff: Path,
) -> None:
    words = (str(SAMPLE), "--plugin", str(poweroff))
    app = ExplorerApp(Session(words, plugins=PluginSet([poweroff])))

    async def steps(pilot: Pilots) -> None:
        while app.view is None:
            await pilot.pause(0.05)
        assert app.view.snapshot.plugins["poweroff"]["state"] == "loaded"
        first = app.view
        await press(pilot, "r")
        while app.view is first:
            await pilot.pause(0.05)
        assert app.view.plugins is first.plugins
        app.compare_with(str(SAMPLE))
        while app.other is None:
            await pilot.pause(0.05)
        assert app.other.plugins is first.plugins
        assert app.other.snapshot.plugins["poweroff"] == first.snapshot.plugins["poweroff"]

    drive(app, steps)


def test_a_plugin_file_that_does_not_load_is_said_on_the_screen(poweroff: Path, reported: Snapshot) -> None:
    poweroff.write_text("raise OSError('none of your business')\n")
    app = ExplorerApp(session(poweroff), reported)

    async def steps(pilot: Pilots) -> None:
        await press(pilot)
        assert "1 audits failed" in screen_text(app)
        await press(pilot, "s")
        assert isinstance(app.screen, SubsystemsScreen)
        subsystem = next(each for each in app.screen.source().records if each.name == "poweroff")
        assert (subsystem.state, subsystem.problem) == ("fault", "load: OSError: none of your business")

    drive(app, steps)


def test_a_plugin_file_is_run_once_after_its_trial_and_not_before_it_is_needed(
    tmp_path: Path, poweroff: Path
) -> None:
    ran = tmp_path / "ran"
    poweroff.write_text(f"open({str(ran)!r}, 'a').write('x')\n" + poweroff.read_text())
    plugins = PluginSet([poweroff])
    assert "poweroff" in {each.name for each in plugins.listings}
    assert not ran.exists(), "listing runs nothing"
    assert "poweroff" in {plugin.name for plugin in plugins.plugins} and plugins.loaded is plugins.loaded
    assert ran.read_text() == "xx", "once in a copy of the process, and once here"
    assert plugins.name_of_rule("nx-poweroff-missing") == "poweroff"
