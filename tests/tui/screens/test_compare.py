"""Two targets compared: the second is asked for, read in a child, and every difference leads to either side."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from explorer.analysis.diff.comparison import KINDS, Comparison, compare_snapshots
from explorer.analysis.diff.snapshots import diff_snapshots
from explorer.analysis.query import parse_query
from explorer.codec.snapshots import write_json
from explorer.model import Placement, Snapshot
from explorer.output.files import open_output
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.compare import CompareScreen
from explorer.tui.screens.dialogs.prompt import TargetPrompt
from explorer.tui.session.state import Session, View
from explorer.tui.views.comparison import comparison_table, select_differences
from explorer.tui.views.tasks.completion import complete_target, longest_common
from tests.conftest import DATA, silent_qemu
from tests.tui.conftest import Golden, Pilots, drive, press, screen_text
from tests.tui.later import HOSTILE, make_later
from tests.tui.test_goldens import SIZES, app_with_findings, some_findings

ESCAPED = "\\e[31m[bold]evil\\n\\u202e[/red]"


@pytest.fixture(scope="module")
def later(saved: Snapshot) -> Snapshot:
    found = make_later(saved)
    found.capture.source.target = f"/dumps/{HOSTILE}.json"
    return found


@pytest.fixture(scope="module")
def comparison(saved: Snapshot, later: Snapshot) -> Comparison:
    return compare_snapshots(saved, later, some_findings(saved).findings, some_findings(saved).findings[1:])


def compare_screen(app: ExplorerApp) -> CompareScreen:
    assert isinstance(app.screen, CompareScreen)
    return app.screen


async def shown(app: ExplorerApp, pilot: Pilots) -> CompareScreen:
    """The comparison, when it is there."""
    while not isinstance(app.screen, CompareScreen) or not app.screen.query("#rows"):
        await pilot.pause(0.05)
    while app.screen.source() is None:
        await pilot.pause(0.05)
    await press(pilot)
    return compare_screen(app)


# -- what differs --------------------------------------------------------------------------------------------


def test_each_difference_has_its_two_values_and_leads_to_the_object_on_each_side(
    comparison: Comparison, saved: Snapshot, later: Snapshot
) -> None:
    by_name = {
        (each.sign.value, each.kind.value, each.name, each.what): each for each in comparison.differences
    }
    root = by_name["~", "task", "plain-a (90)", "root"]
    assert (root.before, root.after) == ("init-root rootfs#2:/", "chroot rootfs#2:/jail")
    assert root.a is not None and root.b is not None
    gone = by_name["-", "task", "plain-b (91)", ""]
    assert gone.b is None and gone.after is None and gone.before is not None
    new = by_name["+", "task", f"{HOSTILE} (9000)", ""]
    assert new.a is None and new.before is None
    assert {each.kind for each in comparison.differences} == {"task", "fs_struct", "mount", "finding"}
    for each in comparison.differences:
        for reference, snapshot in ((each.a, saved), (each.b, later)):
            if reference is not None and reference.kind == "task":
                assert reference.address in {task.address for task in snapshot.tasks}


def test_a_finding_that_is_gone_and_nothing_else_is_a_difference_of_findings(comparison: Comparison) -> None:
    findings = [each for each in comparison.differences if each.kind == "finding"]
    assert [(each.sign, each.name) for each in findings] == [("-", "NX-DETACHED-ROOT")]


def test_what_is_equal_does_not_differ(saved: Snapshot) -> None:
    findings = some_findings(saved).findings
    same = compare_snapshots(saved, saved.model_copy(deep=True), findings, findings)
    assert same.differences == [] and same.diff.same_boot


def test_a_filter_finds_words_as_they_are_shown(comparison: Comparison) -> None:
    table = comparison_table(select_differences(comparison, ""))

    def found(query: str) -> int:
        table.set_filter(parse_query(query, table.fields))
        return len(table)

    assert found("PLAIN-A jail") == 1 and found("name:plain-a* in_b:*jail") == 1
    assert found("\\e[31m")
    assert not found("sign:+ plain-a")
    assert sum(len(select_differences(comparison, kind)) for kind in KINDS) == len(comparison.differences)


def test_two_long_values_are_shown_from_where_they_differ(saved: Snapshot) -> None:
    other = saved.model_copy(deep=True)
    other.kernel.cmdline = f"{saved.kernel.cmdline} one.more=word"
    table = comparison_table(compare_snapshots(saved, other).differences)
    before, after = (cell.text for cell in table.cells(0)[4:6])
    assert after.startswith("…") and after.endswith("one.more=word") and before.startswith("…")


def test_kernels_of_other_generations_are_compared_by_name(fixture_snapshots: dict[str, Snapshot]) -> None:
    found = compare_snapshots(fixture_snapshots["nullfs-rootfs"], fixture_snapshots["isolated"])
    assert not found.diff.same_boot
    owner = [each for each in found.differences if each.kind == "kernel" and each.name == "PID 1 owns"]
    assert [(each.before, each.after) for each in owner] == [("init_fs", "userspace_init_fs")]
    assert found.count("workers")
    table = comparison_table(found.differences)
    assert all(cell.text.isprintable() for row in range(len(table)) for cell in table.cells(row))


# -- the screen ----------------------------------------------------------------------------------------------


def test_the_sides_the_kinds_and_both_objects_are_a_key_away(saved: Snapshot, later: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(later))
        screen = await shown(app, pilot)
        everything = len(screen.source())
        text = screen_text(app)
        assert "The same boot" in text and ESCAPED in text
        assert all(character.isprintable() for character in text.replace("\n", ""))
        await press(pilot, "v")
        assert {each.kind for each in screen.source().records} == {"task"}
        await press(pilot, "escape", "slash", *"fact:root plain-a", "enter")
        assert len(screen.source()) == 1
        await press(pilot, "1")
        assert screen.pane.detail is not None and screen.pane.detail.title == "A: task 90  plain-a"
        assert not any("/jail" in fact.value for fact in screen.pane.detail.facts)
        await press(pilot, "2")
        assert screen.pane.detail.title == "B: task 90  plain-a"
        assert any("/jail" in fact.value for fact in screen.pane.detail.facts)
        await press(pilot, "escape", "escape", "slash", *"plain-b", "enter", "2")
        assert any("not in B" in note.message for note in app._notifications)
        await press(pilot, "z")
        assert [each.sign for each in screen.source().records if each.kind == "task"] == ["+"]
        await press(pilot, "escape")
        assert len(screen.source()) == everything
        await press(pilot, "o", "equals_sign")
        assert app.screen is screen

    drive(app, steps, width=120)


def test_a_reading_again_of_the_first_target_compares_anew(saved: Snapshot, later: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(later))
        screen = await shown(app, pilot)
        assert len(screen.source())
        app.source.show(View(later, number=1))
        await press(pilot)
        assert not any(each.kind == "task" for each in screen.source().records)

    drive(app, steps)


def test_swapping_twice_is_as_it_was(saved: Snapshot, later: Snapshot) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await app.show_other(View(later))
        await shown(app, pilot)
        first = screen_text(app)
        await press(pilot, "z")
        assert screen_text(app) != first
        await press(pilot, "z")
        assert screen_text(app) == first

    drive(app, steps)


# -- asking for the second target ----------------------------------------------------------------------------


def test_the_key_asks_for_a_target_reads_it_and_shows_the_comparison(
    saved: Snapshot, later: Snapshot, tmp_path: Path
) -> None:
    path = tmp_path / "later.json"
    with open_output(path) as out:
        write_json(later, out)
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "equals_sign")
        assert isinstance(app.screen, TargetPrompt)
        app.screen.query_one("#target", Input).value = f"{tmp_path}/la"
        await press(pilot, "tab")
        assert app.screen.query_one("#target", Input).value == str(path)
        await pilot.press("enter")
        screen = await shown(app, pilot)
        assert any(each.name == "plain-a (90)" for each in screen.source().records)

    drive(app, steps)


def test_a_second_target_that_cannot_be_read_is_said_and_another_can_be_named(
    saved: Snapshot, tmp_path: Path
) -> None:
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "equals_sign")
        prompt = app.screen
        for name, words in ((f"{tmp_path}/none.elf", "none.elf"), ("--help", "an option, not a target")):
            prompt.query_one("#target", Input).value = name
            await press(pilot, "enter")
            state = prompt.query_one("#promptstate", Static)
            assert words in str(state.content) and "wrong" in state.classes
        await press(pilot, "escape")
        assert not isinstance(app.screen, TargetPrompt) and app.other is None

    drive(app, steps)


def test_a_second_target_that_hangs_is_stopped_with_escape_and_the_prompt_stays(
    saved: Snapshot, tmp_path: Path
) -> None:
    app = ExplorerApp(Session((str(DATA / "linux-7.2.elf.zst"),)), saved)

    async def steps(pilot: Pilots) -> None:
        app.compare_with(target)
        while not isinstance(app.screen, TargetPrompt) or not app.screen.is_reading:
            await pilot.pause(0.05)
        prompt = app.screen
        await press(pilot, "escape")
        assert isinstance(app.screen, TargetPrompt)
        assert "as you asked" in str(prompt.query_one("#promptstate", Static).content)
        await press(pilot, "escape")
        assert not isinstance(app.screen, TargetPrompt)

    with silent_qemu(tmp_path) as target:
        drive(app, steps)


def test_against_on_the_command_line_reads_both_and_shows_the_comparison(saved: Snapshot) -> None:
    other = str(DATA / "linux-7.2.elf.zst")
    app = ExplorerApp(Session(("sample",), against=other))

    async def steps(pilot: Pilots) -> None:
        screen = await shown(app, pilot)
        text = screen_text(app)
        assert "SHARED" in text and "ISOLATED" in text and "Different boots" in text
        assert any(each.kind == "kernel" for each in screen.source().records)

    drive(app, steps, width=120)


def test_names_are_completed_and_those_that_a_terminal_would_obey_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vmcore.1", "vmcore.2", ".hidden", "evil\x1b[31m", "\u202e"):
        (tmp_path / name).touch()
    (tmp_path / "dumps").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete_target("") == [
        "live",
        "proc",
        "sample",
        "qemu:",
        "physmem:",
        "dumps/",
        "vmcore.1",
        "vmcore.2",
    ]
    assert complete_target("sa") == ["sample"]
    assert longest_common(complete_target("v")) == "vmcore."
    assert complete_target(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert complete_target("qemu:d") == ["qemu:dumps/"]
    assert complete_target("none/") == [] and complete_target("~no-such-user/") == []


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_comparison_looks_as_it_did(
    saved: Snapshot, later: Snapshot, golden: Golden, size: tuple[int, int]
) -> None:
    async def draw() -> str:
        app = app_with_findings(saved)
        other = View(later)
        other.__dict__["audit"] = some_findings(saved)
        async with app.run_test(size=size) as pilot:
            await app.show_other(other)
            await shown(app, pilot)
            await press(pilot, "j", "j")
            return screen_text(app)

    text = asyncio.run(draw())
    assert all(len(line) <= size[0] for line in text.splitlines())
    golden(f"compare-{size[0]}x{size[1]}", text)


def test_a_task_that_changed_its_directory_is_not_said_to_have_called_chroot(saved: Snapshot) -> None:
    later = saved.model_copy(deep=True)
    task = next(task for task in later.tasks if task.comm == "plain-a")
    fs = later.fs_by_address[task.owned_fs or 0]
    assert fs.pwd is not None
    elsewhere = {"dentry": fs.pwd.dentry + 1, "path": "/srv", "placement": Placement.CHROOT}
    fs.pwd = fs.pwd.model_copy(update=elsewhere)  # its root may be the same record
    told = {
        (change.what, change.after)
        for changed in diff_snapshots(saved, later).changed
        if changed.after.pid == task.pid
        for change in changed.changes
    }
    assert told == {("pwd", "rootfs#2:/srv")}
