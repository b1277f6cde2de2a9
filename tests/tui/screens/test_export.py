"""Export of the rows on the screen: what is written, where, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import json
import stat
from pathlib import Path

import pytest
from textual.widgets import Input, Static
from textual.widgets._toast import Toast

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.screens.dialogs.export import ExportScreen
from explorer.tui.screens.tables import TableScreen
from explorer.tui.screens.tasks import TasksScreen
from explorer.tui.views.details import row_text
from tests.tui.conftest import Pilots, drive, press, screen_text

_LONG = (
    "Not read again: the reader was stopped while it was looking at 112 tasks of a machine with a long name"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def says(app: ExplorerApp) -> str:
    return str(app.screen.query_one("#exportsays", Static).content)


def test_the_filtered_tasks_are_written_as_json_csv_and_markdown(
    app: ExplorerApp, saved: Snapshot, here: Path
) -> None:
    wanted = [task for task in saved.tasks if task.kind_word == "kthread"]

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash", *"kind:kthread", "enter")
        for key, suffix in (("1", ".json"), ("2", ".csv"), ("3", ".md")):
            await press(pilot, "x", key)
            name = app.screen.query_one("#exportname", Input).value
            assert name.startswith("nullfs-explorer-tasks-") and name.endswith(suffix)
            await press(pilot, "enter")
            assert isinstance(app.screen, TasksScreen)
            assert any(f"{len(wanted)} tasks in {here}" in note.message for note in app._notifications)

    drive(app, steps)
    files = {path.suffix: path for path in here.iterdir()}
    assert set(files) == {".json", ".csv", ".md"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    document = json.loads(files[".json"].read_text())
    assert document["query"] == "kind:kthread" and document["target"] == "sample"
    records = {task["address"]: task for task in document["tasks"]}
    assert records == {f"0x{task.address:x}": task.model_dump(mode="json") for task in wanted}
    with files[".csv"].open(newline="") as file:
        assert sorted(row["pid"] for row in csv.DictReader(file)) == sorted(str(task.pid) for task in wanted)
    assert len(files[".md"].read_text().splitlines()) == len(wanted) + 4


@pytest.mark.parametrize(("key", "name"), [("f", "fs_structs"), ("m", "mounts"), ("n", "findings")])
def test_every_table_exports_its_records(
    app: ExplorerApp, saved: Snapshot, here: Path, key: str, name: str
) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, key, "x", "enter")

    drive(app, steps)
    (path,) = here.iterdir()
    records = json.loads(path.read_text())[name]
    assert records
    if name != "findings":
        assert {record["address"] for record in records} == {
            f"0x{each.address:x}" for each in getattr(saved, name)
        }


def test_a_file_that_is_there_is_replaced_only_when_enter_is_pressed_again(
    app: ExplorerApp, here: Path
) -> None:
    (here / "mine.md").write_text("precious")

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f", "x", "3", "tab")
        box = app.screen.query_one("#exportname", Input)
        box.value = "mine.md"
        await press(pilot, "enter")
        assert isinstance(app.screen, ExportScreen) and "there already" in says(app)
        assert (here / "mine.md").read_text() == "precious"
        await press(pilot, "enter")
        assert not isinstance(app.screen, ExportScreen)
        assert "| " in (here / "mine.md").read_text()

    drive(app, steps)


def test_what_cannot_be_written_is_one_line_and_the_dialog_stays(app: ExplorerApp, here: Path) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f", "x")
        box = app.screen.query_one("#exportname", Input)
        for name, words in (
            ("", "no file name"),
            ("no/such/x.json", "not a directory"),
            (str(here), "is a directory"),
        ):
            box.value = name
            await press(pilot, "enter")
            assert isinstance(app.screen, ExportScreen) and words in says(app) and "\n" not in says(app)
        await press(pilot, "escape")
        assert not isinstance(app.screen, ExportScreen)

    drive(app, steps)
    assert list(here.iterdir()) == []


def test_arrows_choose_the_format_and_a_name_of_ones_own_keeps_its_ending(app: ExplorerApp) -> None:
    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f", "x", "down")
        box = app.screen.query_one("#exportname", Input)
        assert box.value.endswith(".csv")
        await press(pilot, "up", "up")
        assert box.value.endswith(".md")
        box.value = "report.txt"
        await press(pilot, "1")
        assert box.value == "report.txt"

    drive(app, steps)


def test_hostile_text_is_escaped_in_the_dialog_and_harmless_in_the_files(
    app: ExplorerApp, saved: Snapshot, here: Path
) -> None:
    hostile = saved.model_copy(deep=True)
    names = ["\x1b[31m[bold]x", "x[/red]y", "a\nb", "\u202egpj", "\udcff", "=1+1", "a|b`c", "<b>@me</b>"]
    for task, name in zip(hostile.tasks, names, strict=False):
        task.comm = name
        if task.kthread is not None:
            task.kthread.full_name = name  # by which a kernel thread goes where it is known
    own = ExplorerApp(snapshot=hostile)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "t", "slash")
        own.screen.query_one("#filter", Input).value = '"[" or not "[/b]"'
        await press(pilot, "enter", "x")
        assert '"[" or not "[/b]"' in screen_text(own)
        await press(pilot, "enter", "x", "2", "enter", "x", "3", "enter")

    drive(own, steps)
    for path in here.iterdir():
        text = path.read_text()
        assert all(char.isprintable() or char in "\r\n" for char in text), path.suffix
    written = json.loads(next(here.glob("*.json")).read_text())["tasks"]
    assert set(names) <= {task["comm"] for task in written}
    with next(here.glob("*.csv")).open(newline="") as file:
        assert "'=1+1" in {row["comm"] for row in csv.DictReader(file)}
    markdown = next(here.glob("*.md")).read_text()
    assert "a\\|b\\`c" in markdown and "&lt;b&gt;&#64;me&lt;/b&gt;" in markdown and "<b>" not in markdown


def test_no_notice_lies_on_the_dialog_of_a_small_terminal(app: ExplorerApp) -> None:
    async def run() -> None:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await press(pilot, "t", "c")
            assert app.screen.query(Toast), "what was copied is said"
            await press(pilot, "x")
            assert isinstance(app.screen, ExportScreen)
            assert not app.screen.query(Toast), "what was said before is not about the dialog"
            app.say(_LONG)
            await press(pilot)
            box = app.screen.query_one("#exportbox").region
            (toast,) = app.screen.query(Toast)
            assert toast.region.area and not toast.region.overlaps(box), (toast.region, box)
            assert "Cancel" in screen_text(app) and "of a machine" in screen_text(app)

    asyncio.run(run())


def test_a_column_that_is_left_out_is_neither_copied_nor_exported(
    app: ExplorerApp, here: Path, own_settings: Path
) -> None:
    shown: list[str] = []

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f")
        screen = app.screen
        assert isinstance(screen, TableScreen)
        names = [column.name for column in screen.source().columns]
        cells = dict(zip(names, screen.table.cells_at_cursor(), strict=True))
        hidden = names[screen.table.column]
        assert cells[hidden].strip()
        await press(pilot, "H", "c")
        shown.extend(name for name in names if name != hidden)
        assert app.clipboard == row_text([cells[name] for name in shown])
        await press(pilot, "space", "c")
        assert app.clipboard == row_text([cells[name] for name in shown])
        await press(pilot, "x", "2", "enter")

    drive(app, steps)
    (path,) = here.glob("*.csv")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == shown
