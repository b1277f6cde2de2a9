"""No row is lost, and none doubled, whenever writing ends; and what a reader sees is whole at every moment."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from explorer.fleet import TABLES, Dataset, FleetError, Outcome
from explorer.fleet.running import FleetWriter, compacting, work
from explorer.fleet.running.files import whole_file
from explorer.fleet.running.requests import Answer, Examined, Result, Told
from explorer.fleet.tables import COLUMNS


def key(index: int) -> str:
    return hashlib.blake2b(str(index).encode(), digest_size=16).hexdigest()


def result(index: int, tasks: int = 3) -> Result:
    """A target with so many tasks, made as a worker makes it."""
    columns: dict[str, list[int | None]] = {
        column.name: [None] * tasks for column in COLUMNS["tasks"] if column.name != "key"
    }
    columns["pid"] = list(range(tasks))
    answer = Answer(Outcome.OK, kind="snapshot", tables={"tasks": columns}, snapshot=b"snapshot")
    return work.result_of(Examined(f"/t/{index}", "/t", False, key(index), 7), answer)


def write(fleet: Path, *indexes: int) -> None:
    with FleetWriter(fleet) as writer:
        for index in indexes:
            writer.add(result(index))


def seen(fleet: Path) -> tuple[list[str], int]:
    """The paths of the targets, sorted, and how many tasks there are."""
    dataset = Dataset.open(fleet)
    rows = dataset.table("targets", ["path"]).to_pylist()
    return sorted(row["path"] for row in rows), dataset.table("tasks", ["key"]).num_rows


def test_what_is_in_it_is_known_and_not_written_twice(tmp_path: Path) -> None:
    write(tmp_path / "f", 1, 2, 2)
    with FleetWriter(tmp_path / "f") as writer:
        assert writer.knows(key(1))
        assert not writer.knows(key(3))
        writer.add(result(1))
        writer.add(result(3))
    assert seen(tmp_path / "f") == (["/t/1", "/t/2", "/t/3"], 9)
    kept = Dataset.open(tmp_path / "f").snapshot_of(key(3))
    assert kept is not None and kept.read_bytes() == b"snapshot"


def test_of_targets_that_come_together_those_that_are_known_are_not_written_twice(tmp_path: Path) -> None:
    write(tmp_path / "f", 1)
    parts = [result(1), result(2, tasks=5), result(3)]
    together = Result(
        [told for part in parts for told in part.targets],
        {name: pa.concat_tables([part.tables[name] for part in parts]) for name in parts[0].tables},
    )
    with FleetWriter(tmp_path / "f") as writer:
        writer.add(together)
        writer.add(together)
        writer.add(Result([Told(key(4), None)], {}))  # which is no target
    assert seen(tmp_path / "f") == (["/t/1", "/t/2", "/t/3"], 11)
    assert writer.written == 2
    assert Dataset.open(tmp_path / "f").snapshot_of(key(2)) is not None


def test_a_newer_version_replaces_the_row_and_all_that_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "f", 1, 2)
    for module in ("writer", "work"):
        monkeypatch.setattr(f"explorer.fleet.running.{module}.__version__", "99.0")
    with FleetWriter(tmp_path / "f") as writer:
        assert not writer.knows(key(1))
        writer.add(result(1, tasks=5))
        writer.flush()
        assert seen(tmp_path / "f") == (["/t/1", "/t/2"], 8)
        assert len(list((tmp_path / "f" / "targets").glob("*.parquet"))) == 2
    assert seen(tmp_path / "f") == (["/t/1", "/t/2"], 8)
    assert (
        sum(pq.read_metadata(path).num_rows for path in (tmp_path / "f" / "targets").glob("*.parquet")) == 2
    )


def test_a_predicate_is_decided_by_the_files_and_columns_that_are_not_asked_for_are_not_read(
    tmp_path: Path,
) -> None:
    write(tmp_path / "f", 1, 2)
    found = Dataset.open(tmp_path / "f").table("tasks", ["pid"], pc.field("pid") > 1)
    assert found.to_pylist() == [{"pid": 2}, {"pid": 2}]


class Killed(BaseException):
    """The end of a process, in the middle of something."""


@pytest.mark.parametrize("table", TABLES)
def test_a_run_that_is_killed_while_it_writes_leaves_a_whole_part_or_none(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of this table gets its name, and then nothing more happens."""
    fleet = tmp_path / "f"
    write(fleet, 1)
    publish = whole_file
    real = os.fsync

    @contextmanager
    def dies(path: Path) -> Iterator[object]:
        with publish(path) as file:
            yield file
        if path.parent.name == table:
            raise Killed

    monkeypatch.setattr("explorer.fleet.running.writer.whole_file", dies)
    with pytest.raises(Killed):
        write(fleet, 2)
    monkeypatch.undo()
    assert os.fsync is real
    names, tasks = seen(fleet)
    assert (names, tasks) in ((["/t/1"], 3), (["/t/1", "/t/2"], 6))
    write(fleet, 2)
    assert seen(fleet) == (["/t/1", "/t/2"], 6)
    assert len({len(list((fleet / each).iterdir())) for each in TABLES}) == 1, "nothing of it is left"


@pytest.mark.parametrize("step", range(8))
def test_a_run_that_is_killed_while_parts_are_made_one_loses_no_row_and_doubles_none(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind each file that gets its name, and behind each old part that goes."""
    fleet = tmp_path / "f"
    monkeypatch.setattr(compacting, "_MOST_SMALL", 99)
    for index in range(4):
        write(fleet, index)
    monkeypatch.setattr(compacting, "_MOST_SMALL", 2)
    left = [step]
    publish, unlink = whole_file, Path.unlink

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    @contextmanager
    def dies(path: Path) -> Iterator[object]:
        with publish(path) as file:
            yield file
        count()

    def dying_unlink(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        count()

    monkeypatch.setattr(compacting, "whole_file", dies)
    monkeypatch.setattr(Path, "unlink", dying_unlink)
    with pytest.raises(Killed):
        compacting.compact(Dataset.open(fleet))
    monkeypatch.undo()
    everything = ([f"/t/{index}" for index in range(4)], 12)
    assert seen(fleet) == everything
    write(fleet, 4)
    assert seen(fleet) == ([*everything[0], "/t/4"], 15)
    assert not (fleet / "compacting.json").exists()


def test_many_small_parts_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "_MOST_SMALL", 2)
    for index in range(5):
        write(tmp_path / "f", index)
    assert len(Dataset.open(tmp_path / "f").parts) <= 3
    assert seen(tmp_path / "f") == ([f"/t/{index}" for index in range(5)], 15)


def test_a_full_disk_is_one_line_and_the_rows_before_it_are_whole(tmp_path: Path) -> None:
    """A file may not grow beyond some bytes, as on a disk that is full."""
    fleet = tmp_path / "f"
    write(fleet, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FleetError, match=r"cannot write .*the same command goes on"):
            write(fleet, 2, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert seen(fleet) == (["/t/1"], 3)
    write(fleet, 2, 3)
    assert seen(fleet) == (["/t/1", "/t/2", "/t/3"], 9)


def test_two_runs_do_not_write_to_one_dataset(tmp_path: Path) -> None:
    with FleetWriter(tmp_path / "f"), pytest.raises(FleetError, match="another run is writing"):
        FleetWriter(tmp_path / "f")


def test_a_directory_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FleetError, match="other things in it"):
        FleetWriter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no fleet"),
        (
            json.dumps({"format": "nullfs-explorer fleet", "version": 9, "tool_version": "9"}),
            "update the tool",
        ),
        ('{"format": "other"}', "damaged, or no fleet's"),
        ("[", "damaged, or no fleet's"),
    ],
)
def test_what_is_no_fleet_of_this_version_is_refused_in_words(
    content: str | None, why: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "fleet.json").write_text(content)
    with pytest.raises(FleetError, match=why):
        Dataset.open(tmp_path)


def test_a_damaged_file_of_it_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "f", 1)
    dataset = Dataset.open(tmp_path / "f")
    dataset.files("tasks")[0].write_bytes(b"PAR1 no more")
    with pytest.raises(FleetError, match="damaged"):
        dataset.table("tasks")
