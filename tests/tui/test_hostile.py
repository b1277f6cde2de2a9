"""The screen on a snapshot whose every text is a weapon: its views, and the bytes that a terminal gets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from explorer.analysis.audit import AuditReport, run_audit
from explorer.analysis.diff.comparison import compare_snapshots
from explorer.analysis.worlds import find_worlds
from explorer.codec.snapshots import load_snapshot, write_json
from explorer.model import Reference, Snapshot
from explorer.output.files import open_output
from explorer.plugin import load_plugins
from explorer.tui.views.comparison import comparison_table
from explorer.tui.views.details import describe, describe_finding, findings_table, fs_table
from explorer.tui.views.details.facts import Detail, DetailTable
from explorer.tui.views.mounts import mounts_table
from explorer.tui.views.namespaces import namespaces_table
from explorer.tui.views.overview import header_line, make_overview
from explorer.tui.views.subsystems import describe_subsystem, subsystems_table
from explorer.tui.views.table import TableSource
from explorer.tui.views.tasks.view import TaskTable
from tests.hostile import WEAPONS, arm

from .conftest import SAVED
from .test_terminal import COPIED, Terminal, assert_only_own_controls


@pytest.fixture(scope="module")
def armed() -> Snapshot:
    return arm(load_snapshot(SAVED), load_plugins().plugins)


@pytest.fixture(scope="module")
def report(armed: Snapshot) -> AuditReport:
    return run_audit(armed, load_plugins().plugins)


def assert_harmless(texts: Iterator[str]) -> int:
    """Every text is printable, and there are some. Returns how many."""
    count = 0
    for text in texts:
        count += 1
        assert text.isprintable(), text
    assert count
    return count


def cells_of(table: TableSource) -> Iterator[str]:
    for index in range(len(table)):
        yield from (cell.text for cell in table.cells(index))


def texts_of(detail: Detail) -> Iterator[str]:
    yield detail.title
    yield detail.expression or ""
    for fact in detail.facts:
        yield from (fact.name, fact.value)
    yield from cells_of(DetailTable(detail, 60))


def test_every_table_of_the_screen_shows_a_hostile_snapshot_escaped(
    armed: Snapshot, report: AuditReport
) -> None:
    tables: list[TableSource] = [
        fs_table(armed),
        mounts_table(armed),
        namespaces_table(armed),
        findings_table(report.findings),
        subsystems_table(armed, report),
        TaskTable(armed),
    ]
    for table in tables:
        assert assert_harmless(cells_of(table)) > len(WEAPONS)


def test_the_overview_and_the_header_show_a_hostile_snapshot_escaped(armed: Snapshot) -> None:
    overview = make_overview(armed, find_worlds(armed))
    doors = [door for door in (overview.left, overview.bridge, overview.right, *overview.others) if door]
    texts = [overview.header, overview.root, overview.verdict.sentence, header_line(armed)]
    for door in doors:
        texts += [door.short, door.title, *door.lines]
    assert_harmless(iter(texts))


def test_every_object_opened_in_the_detail_pane_is_escaped(armed: Snapshot, report: AuditReport) -> None:
    references = [Reference(kind="kernel", address=None, label="\x1b[31m")]
    for kind, objects in (
        ("task", armed.tasks),
        ("fs_struct", armed.fs_structs),
        ("mount", armed.mounts),
        ("mount_namespace", armed.mount_namespaces),
        ("workqueue", armed.workqueues),
        ("usermodehelper", armed.usermodehelpers),
    ):
        for each in objects:
            references.append(
                Reference.model_validate({"kind": kind, "address": each.address, "label": WEAPONS[0]})
            )
    for setting in armed.settings:
        references.append(Reference(kind="setting", address=None, label=setting.name))
    for name in armed.plugins:
        references.append(Reference(kind="plugin", address=None, label=name))
    details = [describe(reference, armed) for reference in references]
    details += [describe_finding(finding) for finding in report.findings]
    table = subsystems_table(armed, report)
    details += [describe_subsystem(subsystem, armed) for subsystem in table.records]
    assert assert_harmless(chain.from_iterable(map(texts_of, details))) > 1000


def test_a_comparison_of_hostile_snapshots_is_escaped(armed: Snapshot) -> None:
    other = arm(load_snapshot(SAVED), load_plugins().plugins, 3)
    comparison = compare_snapshots(armed, other, run_audit(armed).findings, run_audit(other).findings)
    assert_harmless(cells_of(comparison_table(comparison.differences)))


def settle(terminal: Terminal) -> None:
    """Read until nothing has come for a while: the more is shown, the more is looked at."""
    before = -1
    while len(terminal.received) != before:
        before = len(terminal.received)
        terminal.read(0.3)


def test_no_control_byte_of_a_plugins_facts_or_a_finding_reaches_the_terminal(
    armed: Snapshot, tmp_path: Path
) -> None:
    saved = tmp_path / "hostile.json"
    with open_output(saved) as out:
        write_json(armed, out)
    terminal = Terminal(tmp_path, str(saved))
    terminal.wait_for(b"ISOLATED")
    for keys, sign in (
        (b"s", b"SUBSYSTEM"),
        (b"jjj", b""),
        (b"jjjjjj", b""),
        (b"G", b""),
        (b"kkkkkkkkkkkkkk", b""),
        (b"d", b""),
        (b"Y", b"copied"),
        (b"n", b"means"),
        (b"jjjjjj", b""),
        (b"jjjjjjjj", b""),
        (b"d", b""),
        (b"m", b"MOUNTPOINT"),
        (b"G", b""),
        (b"f", b"HELD BY"),
        (b"t", b"FS_STRUCT"),
        (b"vjjj", b""),
        (b"K", b"generation"),
        (b"\x1b", b""),
    ):
        terminal.send(keys)
        terminal.wait_for(sign)
        settle(terminal)
    terminal.send(b"q")
    assert terminal.close() == 0
    shown = assert_only_own_controls(COPIED.sub(b"", terminal.received))
    assert not [char for char in shown if not char.isprintable() and char not in "\r\n\t"]
    assert "\\e[31m\\e[2J" in shown and "\\u202egpj.exe" in shown
