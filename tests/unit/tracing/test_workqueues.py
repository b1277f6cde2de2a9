"""The kernel's table of works, and the one workqueue of a function; which one cannot be told is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.tracing.events import DefinedEvents
from explorer.tracing.tracer import Tracer
from explorer.tracing.workqueues import Workqueues, WorkTable, parse_table

#: As 7.3.4 prints it.
TABLE = b"""# event histogram
#
# trigger info: hist:keys=func,data,common_pid:vals=hitcount:sort=hitcount:size=16384 [active]
#

{ func: 18446744072642658304, data: 18446614420243460101, common_pid:          9 } hitcount:          1
{ func: 18446744072642658304, data: 18446614420243460357, common_pid:          9 } hitcount:         12
{ func: 18446744071580000000, data: 5, common_pid: 12 } hitcount:          3

Totals:
    Hits: 16
    Entries: 3
    Dropped: 0
"""


def test_all_works_of_a_function_are_in_the_table() -> None:
    assert parse_table(TABLE) == {
        (9, 18446744072642658304): {18446614420243460101, 18446614420243460357},
        (12, 18446744071580000000): {5},
    }


@pytest.mark.parametrize(
    "table", [b"", TABLE.replace(b"Dropped: 0", b"Dropped: 7"), TABLE[: TABLE.index(b"Totals")]]
)
def test_a_table_that_is_full_or_cut_off_is_not_taken_for_the_whole(table: bytes) -> None:
    """A function whose other workqueue is not in it would seem to have one."""
    assert parse_table(table) == {}


def test_the_table_is_asked_for_by_a_trigger_and_read_from_its_beginning_each_time(tmp_path: Path) -> None:
    (tmp_path / "trigger").touch()
    (tmp_path / "hist").write_bytes(TABLE)
    table = WorkTable(tmp_path)
    assert (tmp_path / "trigger").read_text() == "hist:keys=func,data,common_pid:size=16384\n"
    assert table.read() == table.read() == parse_table(TABLE)
    table.close()


def test_a_kernel_without_histograms_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(FileNotFoundError):
        WorkTable(tmp_path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_function_that_runs_from_two_workqueues_or_one_that_is_gone_has_none() -> None:
    table = {(7, 1): {10, 11}, (7, 2): {10, 20}, (7, 3): {30}, (7, 4): {10, 30}, (8, 2): {20}}
    names = {10: "events", 11: "events", 20: "other", 30: None}
    workqueues = Workqueues(lambda: table, names.__getitem__)
    workqueues.look()
    assert [workqueues.of(7, function) for function in (1, 2, 3, 4, 5)] == ["events", None, None, None, None]
    assert workqueues.of(8, 2) == "other", "another worker is asked about its own works"


def test_what_has_run_since_is_known_after_the_next_look() -> None:
    table = {(7, 1): {10}}
    workqueues = Workqueues(lambda: dict(table), {10: "events", 20: "other"}.__getitem__)
    workqueues.look()
    assert workqueues.of(7, 1) == "events"
    table[7, 1], table[7, 2] = {10, 20}, {20}
    assert workqueues.of(7, 2) is None
    workqueues.look()
    assert (workqueues.of(7, 1), workqueues.of(7, 2)) == (None, "other")


class _Instance:
    """As much of a tracing instance as is asked for its table."""

    def __init__(self, works: WorkTable | None) -> None:
        self.works = works


@pytest.mark.parametrize("has_table", [False, True])
def test_a_kernel_that_does_not_tell_of_workqueues_is_traced_all_the_same_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_table: bool
) -> None:
    """It keeps no table of works, or its types lack what leads from one to its workqueue."""

    def lacks(request: object) -> None:
        raise LookupError("no member pool_workqueue.pwqs_node")

    monkeypatch.setattr("explorer.tracing.tracer.WorkqueueNow", lacks)
    (tmp_path / "trigger").touch()
    (tmp_path / "hist").write_bytes(TABLE)
    works = WorkTable(tmp_path) if has_table else None
    tracer = Tracer()
    tracer._instance = _Instance(works)  # type: ignore[assignment]
    tracer._defined = DefinedEvents("kprobe")
    assert tracer._workqueues(None).of(9, 18446744072642658304) is None  # type: ignore[arg-type]
    [said] = tracer._defined.problems
    assert said.startswith("which workqueue a work is of cannot be seen on this kernel: ")
    assert ("pwqs_node" in said) is has_table
    if works is not None:
        works.close()


def test_the_workqueue_of_a_storm_of_works_is_read_once_for_each_look() -> None:
    asked: list[int] = []

    def name(data: int) -> str:
        asked.append(data)
        return "events"

    workqueues = Workqueues(lambda: {(7, 1): {10, 11}}, name)
    workqueues.look()
    assert {workqueues.of(7, 1) for _ in range(1_000)} == {"events"}
    assert sorted(asked) == [10, 11]
    workqueues.look()
    workqueues.of(7, 1)
    assert len(asked) == 4
