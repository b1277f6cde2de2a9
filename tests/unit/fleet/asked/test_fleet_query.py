"""A query over the tasks of a fleet finds what it finds in the snapshot of each of its targets."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings

from explorer.analysis.query import FIELDS, QueryError, parse_query
from explorer.analysis.query.ast import Comparison, Node, Not
from explorer.fleet import Dataset, FleetError
from explorer.fleet.query import bounds_of, find_tasks
from explorer.fleet.query.batches import BatchIndex, columns_of
from explorer.model import Snapshot, global_fs, hex_address
from explorer.naming import short_address
from tests.conftest import Run
from tests.unit.analysis.query.test_query import QUERIES
from tests.written_fleets import fleet_key, write_fleet

#: A snapshot of each sort is enough for the language.
SOME = ("dumps/isolated.elf", "dumps/legacy-6.1.elf", "dumps/abandoned.json")


@pytest.fixture(scope="module")
def some(fleet_snapshots: dict[str, Snapshot]) -> dict[str, Snapshot]:
    return {name: fleet_snapshots[name] for name in SOME}


@pytest.fixture(scope="module")
def dataset(some: dict[str, Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(write_fleet(tmp_path_factory.mktemp("query") / "fleet", some, keep=True))


def expected(text: str, snapshots: dict[str, Snapshot]) -> list[tuple[str, int]]:
    query = parse_query(text)
    return [
        (fleet_key(name), task.address)
        for name, snapshot in snapshots.items()
        for task in filter(query.bind(snapshot), snapshot.tasks)
    ]


def found(text: str, dataset: Dataset) -> list[tuple[str, int]]:
    tasks = find_tasks(dataset, parse_query(text), ("key", "address"))
    return [(row["key"], row["address"]) for batch in tasks.batches for row in batch.to_pylist()]


def _questions(name: str, snapshots: dict[str, Snapshot]) -> list[str]:
    """Comparisons of a field with values that tasks have, and with such as none has."""
    field = FIELDS[name]
    values = {field.get(task, snapshot) for snapshot in snapshots.values() for task in snapshot.tasks}
    texts = sorted(
        {str(each) for value in values for each in (value if isinstance(value, tuple) else (value,))}
    )
    some = [*texts[:: max(1, len(texts) // 5)], *field.choices[:3], "1", "yes", "no", "k*"]
    asked = []
    for text, sign in itertools.product(some, (":", "!=", "<=", "~")):
        try:
            asked.append(str(parse_query(str(Comparison(name, sign, text)))))
        except QueryError:  # this operator is none of the field's, or there is no such value of it
            continue
    return asked


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_means_in_a_fleet_what_it_means_in_each_snapshot(
    name: str, some: dict[str, Snapshot], dataset: Dataset
) -> None:
    questions = _questions(name, some)
    assert questions
    for question in questions:
        assert found(question, dataset) == expected(question, some), question


@settings(max_examples=120, deadline=None)
@given(node=QUERIES)
@example(node=Not(Comparison("users", "<", "5")))
def test_any_query_finds_in_a_fleet_what_it_finds_in_each_snapshot(
    some: dict[str, Snapshot], dataset: Dataset, node: Node
) -> None:
    wanted = expected(str(node), some)
    assert found(str(node), dataset) == wanted
    bounds = bounds_of(parse_query(str(node)).root)
    for bound, may_miss, may_add in ((bounds.must, True, False), (bounds.may, False, True)):
        batches = dataset.batches("tasks", ("key", "address"), bound)
        passed = {(row["key"], row["address"]) for batch in batches for row in batch.to_pylist()}
        assert may_add or passed <= set(wanted), "a row passes that does not match"
        assert may_miss or passed >= set(wanted), "a row that matches does not pass"


@settings(max_examples=60, deadline=None)
@given(node=QUERIES)
def test_what_is_decided_row_by_row_is_what_one_snapshot_decides(
    some: dict[str, Snapshot], dataset: Dataset, node: Node
) -> None:
    """Also of what the scanner decides exactly, so that the two never differ."""
    root = parse_query(str(node)).root
    rows = []
    for batch in dataset.batches("tasks", sorted({"key", "address", *columns_of(root)})):
        mask = BatchIndex(batch, lambda key, text: frozenset()).mask(root)
        rows += [
            (row["key"], row["address"]) for row, yes in zip(batch.to_pylist(), mask, strict=True) if yes
        ]
    assert rows == expected(str(node), some)


def test_addresses_go_by_name_by_their_end_and_by_what_they_lie_in_as_in_each_snapshot(
    some: dict[str, Snapshot], dataset: Dataset
) -> None:
    snapshot = some["dumps/isolated.elf"]
    task = next(task for task in snapshot.tasks if task.borrowing)
    init_fs = next(address for address, name in global_fs(snapshot.kernel).items() if name == "init_fs")
    assert snapshot.kernel.init_mnt_ns is not None and task.stack_base is not None
    texts = [
        "fs:init_fs",
        "not fs:userspace_init_fs",
        "real_fs!=init_fs kind:kernel",
        f"fs_struct:{short_address(task.owned_fs)}",
        f"fs_struct>{hex_address(init_fs)}",
        f"fs<{1 << 64:d}",
        hex_address(task.address + 8),
        hex_address(task.stack_base + 64),
        f"not {hex_address(snapshot.kernel.init_mnt_ns)} kind:user",
        hex_address(init_fs),
    ]
    for text in texts:
        wanted = expected(text, some)
        assert found(text, dataset) == wanted, text
        assert wanted, text


@pytest.mark.parametrize(
    "text", ["comm~K", "comm~ſ", "comm~İ", "MÜLL", "comm:ß", "comm~ı", "comm:?", "name~s$"]
)
def test_letters_beyond_ascii_are_those_of_one_snapshot(
    text: str, fixture_snapshots: dict[str, Snapshot], tmp_path: Path
) -> None:
    """Arrow's and Python's ideas of the case of these letters differ."""
    snapshot = Snapshot.model_validate(fixture_snapshots["isolated"].model_dump())
    names = (
        "ſtrange",
        "Kelvin",
        "İstanbul",
        "müll",
        "ß",
        "SS",
        "kilo",
        "ısı",
        "\\",
        "new\nline",
        "\x1b[1m",
        "中",
    )
    for task, name in zip(snapshot.tasks, names, strict=False):
        task.comm, task.kthread = name, None
    dataset = Dataset.open(write_fleet(tmp_path / "fleet", {"a": snapshot}))
    assert found(text, dataset) == expected(text, {"a": snapshot})


def test_what_can_be_pushed_down_is_and_nothing_but_the_tasks_found_is_made(dataset: Dataset) -> None:
    exact = find_tasks(
        dataset, parse_query("kind:kernel users>1 fs:init_fs (pid:2 or borrowing)"), ("key", "pid")
    )
    assert exact.pushed_down
    assert {name for batch in exact.batches for name in batch.schema.names} == {"key", "pid"}
    assert not find_tasks(dataset, parse_query("comm~kworker"), ("key",)).pushed_down


def test_an_address_is_not_looked_for_where_no_snapshot_was_kept(
    some: dict[str, Snapshot], tmp_path: Path
) -> None:
    dataset = Dataset.open(write_fleet(tmp_path / "fleet", some))
    with pytest.raises(FleetError, match="was not kept: fleet run --keep-snapshots"):
        found("0xffff888000000000", dataset)


def test_many_terms_are_no_deep_expression(some: dict[str, Snapshot], dataset: Dataset) -> None:
    text = " or ".join(f"pid:{number}" for number in range(300))
    assert found(text, dataset) == expected(text, some)


# The command


def test_the_command_lists_the_tasks_that_the_snapshots_have_with_their_target(
    fleet: Path, fleet_snapshots: dict[str, Snapshot], run: Run
) -> None:
    result = run("fleet", "tasks", fleet, "--where", "kind:kernel not pid:2", "--format", "jsonl")
    assert result.returncode == 4
    assert "3 targets of 12 could not be read, or not whole" in result.stderr
    told = [json.loads(line) for line in result.stdout.splitlines()]
    query = parse_query("kind:kernel not pid:2")
    wanted = {
        (name, task.pid, hex_address(task.address))
        for name, snapshot in fleet_snapshots.items()
        for task in filter(query.bind(snapshot), snapshot.tasks)
    }
    assert {(each["target"], each["pid"], each["address"]) for each in told} == wanted
    assert len(told) == len(wanted)


def test_csv_has_the_cells_of_the_csv_of_each_snapshot(
    fleet: Path, fleet_snapshots: dict[str, Snapshot], run: Run
) -> None:
    from explorer.output.csvfile import write_csv

    result = run("fleet", "tasks", fleet, "--format", "csv", "--where", "placement:nullfs or pid:1")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    for name in ("dumps/isolated.elf", "dumps/legacy-6.12.elf"):
        out = io.BytesIO()
        write_csv(fleet_snapshots[name], out)
        alone = {row["address"]: row for row in csv.DictReader(io.StringIO(out.getvalue().decode()))}
        mine = [row for row in rows if row["target"] == name]
        assert mine
        for row in mine:
            assert {key: value for key, value in row.items() if key != "target"} == alone[row["address"]]


def test_a_table_has_a_line_for_each_task_and_says_how_many(fleet: Path, run: Run) -> None:
    result = run("fleet", "tasks", fleet, "--where", "borrowing")
    head, *rows, last = result.stdout.splitlines()
    assert head.split() == ["TARGET", "PID", "NAME", "KIND", "S", "OWNER", "USERS", "ROOT", "UMASK", "RUNS"]
    assert [row.split()[0] for row in rows if "▶ borrowing" in row] == [row.split()[0] for row in rows]
    assert last == f"{len(rows)} tasks found."
    assert len(rows) > 3


def test_a_bad_query_and_what_is_no_fleet_are_one_line_and_a_code(
    fleet: Path, tmp_path: Path, run: Run
) -> None:
    bad = run("fleet", "tasks", fleet, "--where", "kind:ktread")
    assert bad.returncode == 2 and "did you mean kthread" in bad.stderr
    nothing = run("fleet", "tasks", tmp_path / "none")
    assert (
        nothing.returncode == 3 and "fleet run TARGET" in nothing.stderr and "Traceback" not in nothing.stderr
    )
    (tmp_path / "other").mkdir()
    other = run("fleet", "report", tmp_path / "other")
    assert other.returncode == 3 and "no fleet" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_a_damaged_file_is_one_line_and_the_output_is_not_there(
    fleet: Path, tmp_path: Path, run: Run
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(fleet, broken)
    for file in (broken / "tasks").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:200])
    result = run("fleet", "tasks", broken)
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1 and "damaged" in result.stderr
