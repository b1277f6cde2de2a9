"""The README is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

from explorer.cli.main import _COMMANDS
from tests.conftest import SAMPLE, Run

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_plugin_of_the_readme_runs_as_written(run: Run, tmp_path: Path) -> None:
    source = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert source is not None
    (tmp_path / "poweroff.py").write_text(source[1])
    result = run("snapshot", SAMPLE, "--plugin", "poweroff.py")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)["plugins"]["poweroff"]
    assert facts["state"] == "loaded"
    assert facts["command"] == "/sbin/poweroff"
    assert facts["program"]["found"] in ("no", "not cached")


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"nullfs-explorer ([a-z]+)\b(?![.@])", README)) - {"reads", "opens"}
    assert named <= set(_COMMANDS), named - set(_COMMANDS)
    assert len(named) >= 5


def test_every_make_target_the_readme_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readmes_table_of_the_sample_is_what_the_command_prints(run: Run) -> None:
    shown = re.search(r"\$ nullfs-explorer tasks sample\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    printed = [line.split() for line in run("tasks", "sample").stdout.splitlines()]
    for line in shown[1].splitlines():
        if "read in" in line:  # how long it took
            continue
        words = re.sub(r"\S*…", "", line).split()
        assert any(words == found[: len(words)] for found in printed), line
