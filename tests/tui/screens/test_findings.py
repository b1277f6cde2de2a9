"""The findings' screen: many of one rule in one row, what is accepted out of the way, and nothing cut that matters."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from rich.style import Style

from explorer.analysis.audit import AuditReport
from explorer.codec import load_baseline
from explorer.model import Finding, Reference, Severity, Snapshot, Task
from explorer.tui.app import ExplorerApp
from explorer.tui.screens import FindingsScreen, OverviewScreen
from explorer.tui.session import Session, View
from explorer.tui.views.details import FindingRow
from explorer.tui.widgets.virtual_table import VirtualTable
from tests.tui.conftest import Pilots, drive, press, screen_text

LONG = (
    "nx-init (1) abandoned userspace_init_fs, which now points into nullfs; init-share (94), "
    "a-second-sharer (95) and another-sharer (96) were moved with it, and nobody can undo it"
)


def _finding(rule: str, severity: Severity, title: str, task: Task) -> Finding:
    label = f"{title.partition(' ')[0]} (5)"
    evidence = [Reference(kind="task", address=task.address, label=label)]
    return Finding(
        rule=rule, severity=severity, title=title, evidence=evidence, explanation="means", advice="do"
    )


@pytest.fixture
def found(saved: Snapshot) -> list[Finding]:
    """One that is critical and long, forty that are alike, one of a path that is long."""
    many = [
        _finding("NX-ROOT-DETACHED", Severity.HIGH, f"w{number} (5) is on tmpfs", saved.tasks[number])
        for number in range(40)
    ]
    path = "/srv/" + "deep/" * 30 + "end"
    return [
        _finding("NX-PID1-ABANDONED", Severity.CRITICAL, LONG, saved.tasks[0]),
        *many,
        _finding("NX-PWD-DETACHED", Severity.LOW, f"{path} is walked by nobody", saved.tasks[1]),
    ]


def _app(saved: Snapshot, found: list[Finding], baseline: Path | None = None) -> ExplorerApp:
    app = ExplorerApp(Session(baseline=baseline), saved)
    assert app.view is not None
    app.view.__dict__["audit"] = AuditReport(found)  # where cached_property keeps it
    return app


def _screen(app: ExplorerApp) -> FindingsScreen:
    assert isinstance(app.screen, FindingsScreen)
    return app.screen


def _rows(app: ExplorerApp) -> list[FindingRow]:
    rows: list[FindingRow] = _screen(app).source().records
    return rows


def test_forty_of_one_rule_are_one_row_that_opens_and_closes(saved: Snapshot, found: list[Finding]) -> None:
    app = _app(saved, found)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert [len(row.findings) for row in _rows(app)] == [1, 40, 1]
        assert "▸ 40 times A task's root is on a mount" in screen_text(app)
        await press(pilot, "j", "enter")
        assert len(_rows(app)) == 43
        assert _screen(app).table.row == 1
        await press(pilot, "j", "j")
        assert _screen(app).finding() is found[2]
        await press(pilot, "k", "k", "enter")
        assert len(_rows(app)) == 3

    drive(app, steps)


def test_a_key_accepts_a_finding_into_the_file_and_takes_it_back(
    saved: Snapshot, found: list[Finding], tmp_path: Path
) -> None:
    path = tmp_path / "known.json"
    app = _app(saved, found, path)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n", "a")
        assert [entry.rule for entry in load_baseline(path).accepted] == ["NX-PID1-ABANDONED"]
        assert [len(row.findings) for row in _rows(app)] == [40, 1, 1]
        assert "▸ 1 finding accepted, by known.json" in screen_text(app)
        await press(pilot, "o")
        assert isinstance(app.screen, OverviewScreen)
        assert "findings  40 high   1 low   1 accepted" in screen_text(app)
        await press(pilot, "n", "G", "enter", "j")
        assert _screen(app).finding() is found[0]
        await press(pilot, "a")
        assert load_baseline(path).accepted == []
        assert [len(row.findings) for row in _rows(app)] == [1, 40, 1]

    drive(app, steps)


def test_a_row_of_several_is_accepted_as_a_whole(
    saved: Snapshot, found: list[Finding], tmp_path: Path
) -> None:
    app = _app(saved, found, tmp_path / "known.json")

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n", "j", "a")
        assert len(load_baseline(tmp_path / "known.json").accepted) == 40
        assert [len(row.findings) for row in _rows(app)] == [1, 1, 40]

    drive(app, steps)


def test_findings_that_no_reboot_leaves_apart_are_accepted_together_and_one_more_counts_again(
    saved: Snapshot, tmp_path: Path
) -> None:
    twins = [
        _finding("NX-ROOT-DETACHED", Severity.HIGH, "twin (5) is on tmpfs", saved.tasks[0]).model_copy(
            update={"evidence": [Reference(kind="task", address=address, label=f"twin ({address})")]}
        )
        for address in (1, 2, 3)
    ]
    path = tmp_path / "known.json"
    app = _app(saved, twins[:2], path)

    async def accept(pilot: Pilots) -> None:
        await press(pilot, "n", "a")
        assert any(note.message.startswith("2 findings accepted, in ") for note in app._notifications)
        (entry,) = load_baseline(path).accepted
        assert entry.objects == {"task twin (#)": 2}
        assert [row.accepted for row in _rows(app)] == ["known.json"]

    drive(app, accept)
    third = _app(saved, twins, path)

    async def look(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert [row.accepted for row in _rows(third)] == [None] * 3

    drive(third, look)


def test_what_is_accepted_here_is_accepted_when_the_app_is_started_again(
    saved: Snapshot, found: list[Finding], own_settings: Path
) -> None:
    """Without --baseline: in the settings' own directory, which nobody else can read."""

    async def accept(pilot: Pilots) -> None:
        await press(pilot, "n", "a")

    drive(_app(saved, found), accept)
    assert (own_settings / "accepted.json").stat().st_mode & 0o777 == 0o600
    again = _app(saved, found)

    async def look(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert _rows(again)[-1].accepted == "accepted.json"

    drive(again, look)


def test_a_file_that_is_no_baseline_accepts_nothing_and_is_not_written_over(
    saved: Snapshot, found: list[Finding], own_settings: Path
) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "accepted.json").write_text("somebody's notes")
    app = _app(saved, found)

    async def steps(pilot: Pilots) -> None:
        assert app.accepted.problem is not None and "is not JSON" in app.accepted.problem
        await press(pilot, "n", "a")
        assert all(row.accepted is None for row in _rows(app))

    drive(app, steps)
    assert (own_settings / "accepted.json").read_text() == "somebody's notes"


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
def test_what_was_found_is_read_in_full_without_scrolling(
    saved: Snapshot, found: list[Finding], size: tuple[int, int]
) -> None:
    app = _app(saved, found)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        region = _screen(app).pane.region
        lines = screen_text(app).splitlines()[region.y : region.bottom]
        pane = " ".join(" ".join(line[region.x : region.right].strip("│ ─") for line in lines).split())
        assert LONG in pane
        assert "evidence" in pane
        await press(pilot, "enter", "enter")
        detail = _screen(app).pane.detail
        assert detail is not None and detail.reference.kind == "task", "the cursor begins on the evidence"

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(run())


def test_where_the_row_has_no_room_for_both_the_rule_gives_way_to_what_was_found(saved: Snapshot) -> None:
    title = LONG[:103]
    app = _app(saved, [_finding("NX-PID1-ABANDONED", Severity.CRITICAL, title, saved.tasks[0])])

    async def run() -> None:
        async with app.run_test(size=(200, 50)) as pilot:
            await press(pilot, "n")
            lines = screen_text(app).splitlines()
            assert f"critical  {title} " in lines[2]
            assert "RULE" not in lines[1]

    asyncio.run(run())


def test_a_path_that_fills_the_row_does_not_hide_what_is_said_of_it(
    saved: Snapshot, found: list[Finding]
) -> None:
    app = _app(saved, found)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        assert "is walked by nobody" in screen_text(app).split("─────")[0]

    drive(app, steps)


def test_a_row_keeps_the_colour_of_its_severity_under_the_cursor_and_each_severity_has_its_own(
    saved: Snapshot, found: list[Finding]
) -> None:
    severities = [
        _finding("NX-TEST", severity, f"{severity} of all", saved.tasks[number])
        for number, severity in enumerate(Severity)
    ]
    app = _app(saved, severities)

    def drawn(table: VirtualTable, row: int) -> Style:
        style = next(iter(table.render_line(row + 1))).style
        assert style is not None
        return style

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n")
        table = _screen(app).table
        elsewhere, under = [], []
        for row in range(len(Severity)):
            table.put_cursor(row)
            await press(pilot)
            under.append(drawn(table, row))
            table.put_cursor(row - 1 if row else 1)
            await press(pilot)
            elsewhere.append(drawn(table, row))
        looks = {(style.color, style.bgcolor, style.bold, style.reverse) for style in elsewhere}
        assert len(looks) == len(Severity)
        for here, there in list(zip(under, elsewhere, strict=True))[:3]:
            assert (here.color, here.bgcolor) == (there.color, there.bgcolor)
            assert here.reverse, "a block of its colour, in the cursor's"

    drive(app, steps)


def test_every_finding_is_exported_whatever_is_folded(
    saved: Snapshot, found: list[Finding], tmp_path: Path
) -> None:
    app = _app(saved, found, tmp_path / "known.json")

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "n", "a")
        view = app.view
        assert isinstance(view, View)
        rows = _screen(app).row_set(view)
        assert rows is not None and rows.records is not None
        documents = [json.loads(record.model_dump_json()) for record in rows.records]
        first, *others = [each.title for each in found]
        assert [each["title"] for each in documents] == [
            *others,
            first,
        ]  # as shown: what is accepted comes last
        assert [each["accepted"] for each in documents] == [*[None] * 41, "known.json"]
        assert len(rows.rows) == 42

    drive(app, steps)


def test_the_settings_may_name_another_file_for_what_is_accepted_but_not_one_that_depends_on_where_one_is(
    saved: Snapshot, found: list[Finding], own_settings: Path, tmp_path: Path
) -> None:
    own_settings.mkdir(mode=0o700)
    settings = own_settings / "settings.json"
    settings.write_text(json.dumps({"baseline": str(tmp_path / "team.json")}))
    assert _app(saved, found).accepted.path == tmp_path / "team.json"
    settings.write_text(json.dumps({"baseline": "team.json"}))
    assert _app(saved, found).accepted.path == own_settings / "accepted.json"
