"""What is said of a fleet that ``fleet run`` made is what the single commands say of each of its files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.conftest import Run
from tests.tui.conftest import SAVED

from .conftest import ROOT

QUERY = "kind:kernel users>1 not comm~kthreadd"


def test_report_tasks_and_comparison_are_those_of_audit_tasks_and_diff(run: Run, tmp_path: Path) -> None:
    folders = tmp_path / "before", tmp_path / "now"
    for folder in folders:
        folder.mkdir()
        shutil.copy(SAVED, folder / "steady.json.zst")
    shutil.copy(ROOT / "screenshots" / "healthy.json.zst", folders[0] / "moved.json.zst")
    shutil.copy(ROOT / "screenshots" / "abandoned.json.zst", folders[1] / "moved.json.zst")
    for folder in folders:
        made = run("fleet", "run", folder, "-o", f"{folder}.fleet", "--workers", "1")
        assert made.returncode == 0, made.stderr
    now = tmp_path / "now.fleet"

    audits = {
        name: run("audit", folders[1] / name, "--format", "json")
        for name in ("steady.json.zst", "moved.json.zst")
    }
    report = run("fleet", "report", now, "--format", "json")
    document = json.loads(report.stdout)
    assert report.returncode == max(audit.returncode for audit in audits.values()) == 1
    wanted: dict[str, set[str]] = {}
    for name, audit in audits.items():
        for found in json.loads(audit.stdout)["findings"]:
            wanted.setdefault(found["rule"], set()).add(name)
    told = {
        each["rule"]: {Path(name).name for name in each["targets"]["names"]} for each in document["rules"]
    }
    assert told == wanted
    verdicts = [json.loads(audit.stdout)["verdict"]["kind"] for audit in audits.values()]
    assert sum((each["verdicts"].get(verdicts[0], 0) for each in document["releases"]), 0) == verdicts.count(
        verdicts[0]
    )

    matching = run("fleet", "tasks", now, "--where", QUERY, "--format", "jsonl").stdout.splitlines()
    for name in audits:
        alone = run("tasks", folders[1] / name, "--all", "--where", QUERY).stdout
        number = re.search(r"^(\d+) of \d+ tasks match\.$", alone, re.MULTILINE)
        assert number is not None
        assert sum(json.loads(line)["target"].endswith(name) for line in matching) == int(number[1]) > 0

    before = run("fleet", "report", now, "--against", tmp_path / "before.fleet", "--format", "json")
    changed = [Path(each["target"]).name for each in json.loads(before.stdout)["against"]["changed"]]
    differ = [name for name in audits if run("diff", folders[0] / name, folders[1] / name).returncode == 1]
    assert changed == differ == ["moved.json.zst"]
