"""What docs/fleet.md shows of DuckDB, Polars and pandas runs as it stands there, and says what the audit says."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from explorer.analysis import audit_with, verdict
from explorer.fleet import Outcome
from explorer.fleet.running import FleetWriter, work
from explorer.fleet.running.requests import Answer, Examined
from explorer.fleet.running.rows import snapshot_tables
from explorer.model import Snapshot, escape_text
from explorer.plugin import PluginSet

PAGE = Path(__file__).parents[3] / "docs" / "fleet.md"


def example(language: str, about: str) -> str:
    """The code behind ``about:`` on the page."""
    found = re.search(rf"^{about}:\n\n```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, about
    return found[1]


@pytest.fixture
def fleet(fixture_snapshots: dict[str, Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of all fixtures, as ``FLEET`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    with FleetWriter(Path("FLEET")) as writer:
        for number, (layout, snapshot) in enumerate(fixture_snapshots.items()):
            tables = snapshot_tables(snapshot, audit_with(PluginSet(), snapshot))
            examined = Examined(f"/{layout}", "/", False, f"{number:032x}", 1)
            writer.add(work.result_of(examined, Answer(Outcome.OK, kind="vmcore", tables=tables)))
    return tmp_path / "FLEET"


def printed(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, str(PAGE), "exec"), {})
    return out.getvalue()


def test_duckdb_counts_bad_findings_by_release(fleet: Path, fixture_snapshots: dict[str, Snapshot]) -> None:
    expected = Counter(
        (snapshot.kernel.release, rule)
        for snapshot in fixture_snapshots.values()
        for rule in {
            finding.rule
            for finding in audit_with(PluginSet(), snapshot).findings
            if finding.severity in ("critical", "high")
        }
    )
    assert expected, "the fixtures have such findings"
    found = duckdb.sql(example("sql", "DuckDB"))
    assert found is not None
    rows = found.fetchall()
    assert {(release, rule): number for release, rule, number in rows} == expected


def test_polars_counts_borrowers_by_function_and_module(
    fleet: Path, fixture_snapshots: dict[str, Snapshot]
) -> None:
    borrowers = sum(
        bool(task.borrowing) for snapshot in fixture_snapshots.values() for task in snapshot.tasks
    )
    assert borrowers
    shown = printed(example("python", "Polars"))
    assert "borrow_function" in shown
    assert (
        sum(int(row.split("┆")[-1].strip(" │")) for row in shown.splitlines() if re.search(r"┆ \d+ +│$", row))
        == borrowers
    )


def test_pandas_counts_verdicts_by_release(fleet: Path, fixture_snapshots: dict[str, Snapshot]) -> None:
    shown = printed(example("python", "pandas"))
    for snapshot in fixture_snapshots.values():
        line = next(
            line for line in shown.splitlines() if line.startswith(escape_text(snapshot.kernel.release))
        )
        assert line.split()[1:] == [verdict(snapshot).kind.value, "1"]
