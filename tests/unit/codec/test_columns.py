"""Tables read in columns: what is taken for the text of a record is what pydantic takes, and is written as it was."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest

from explorer.codec import load_snapshot, write_json
from explorer.codec.columns import layout_of
from explorer.codec.encode import RecordEncoder
from explorer.codec.lines import parse_lines
from explorer.codec.snapshots import parse_snapshot
from explorer.model import (
    SNAPSHOT_ARRAYS,
    ColumnTable,
    FsStruct,
    Mount,
    Record,
    Snapshot,
    Task,
    defer_records,
    table_and_row,
    table_and_rows,
)

LIVELY = Path(__file__).parents[2] / "tui" / "data" / "lively.json.zst"
_LARGE: dict[str, type[Record]] = {"tasks": Task, "fs_structs": FsStruct, "mounts": Mount}
#: What damages a text in ways that matter: other digits, signs, words, quotes, escapes, spaces.
_PIECES = [
    *(b"null", b"true", b"0", b"-", b"1e5", b"0.5", b"1.50", b"00", b"-0", b"9" * 20, b"0x", b"F", b"_"),
    *(b'"', b"\\", b"\\u0041", b"\\udcff", b"\\u007f", b"\x7f", b"\xff", b"\x01", b" "),
    *(b",", b"{", b"}", b"[", b"]"),
]


@cache
def _lively_text() -> bytes:
    """As this version writes it: the file is older than some fields."""
    return _text(load_snapshot(LIVELY))


def _read() -> Snapshot:
    return parse_snapshot(_lively_text(), "lively")


@pytest.fixture
def lively() -> Snapshot:
    return _read()


def _text(snapshot: Snapshot) -> bytes:
    out = io.BytesIO()
    write_json(snapshot, out)
    return out.getvalue()


def _whole(text: bytes) -> Snapshot:
    return Snapshot.model_validate(json.loads(text))


def _damaged(line: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 2)):
        at = dice.randrange(len(line))
        end = at + dice.choice((0, 0, 1, 1, 2, 5))
        line = line[:at] + dice.choice([*_PIECES, line[at : at + 1], b""]) + line[end:]
    return line


@pytest.mark.parametrize("array", _LARGE)
def test_a_damaged_line_is_only_taken_for_a_record_if_pydantic_takes_it_and_it_is_written_so(
    array: str,
) -> None:
    record, dice = _LARGE[array], random.Random(20)
    layout = layout_of(record)
    assert layout is not None
    encoder, taken = RecordEncoder(), []
    whole = _whole(_lively_text())
    lines = [encoder.encode(each).encode() for each in getattr(whole, array)]
    for _ in range(6000):
        line = _damaged(dice.choice(lines), dice)
        match = layout.lines.fullmatch(line + b",")
        if match is not None:
            made = record.model_validate(json.loads(line))
            taken.append(made)  # the encoder remembers what is alive
            assert encoder.encode(made).encode() == line
            assert {
                name: text.value(json.loads(line)[name]) for name, text in layout.texts.items()
            } == made.__dict__
    assert len(taken) > 150


@pytest.mark.parametrize("array", _LARGE)
def test_every_line_that_is_written_of_the_lively_guest_is_read_in_columns(
    lively: Snapshot, array: str
) -> None:
    assert all(table_and_row(record) is not None for record in getattr(lively, array))


def test_a_record_in_columns_is_the_record_that_pydantic_makes_field_by_field(lively: Snapshot) -> None:
    whole = _whole(_text(lively))
    for array, record in _LARGE.items():
        for read, made in zip(getattr(_read(), array), getattr(whole, array), strict=True):
            assert {name: getattr(read, name) for name in record.model_fields} == made.__dict__
            assert table_and_row(read) is not None, "a field that is asked for does not make the record"
            assert read == made
            assert type(read) is record
            assert read.model_fields_set == made.model_fields_set


_AsIs = Callable[[Task], Task]


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda task: task.model_copy(),
        lambda task: task.model_copy(deep=True, update={"pid": task.pid}),
        lambda task: pickle.loads(pickle.dumps(task)),
        lambda task: Task.model_validate(task.model_dump()),
        lambda task: Task.model_validate_json(json.dumps(task.model_dump(mode="json"))),
        lambda task: Task.model_validate(task),
    ],
)
def test_a_copy_of_a_record_in_columns_is_that_record(lively: Snapshot, copied: _AsIs) -> None:
    whole = _whole(_text(lively))
    task = copied(_read().tasks[3])
    assert task == whole.tasks[3]
    assert repr(task) == repr(whole.tasks[3])


def test_what_is_changed_in_a_record_is_written(lively: Snapshot) -> None:
    lively.tasks[2].comm = "changed"
    lively.tasks[4].__dict__["pid"] = 4711
    del lively.tasks[7]
    lively.fs_structs.reverse()
    again = _whole(_text(lively))
    assert again.tasks[2].comm == "changed"
    assert again.tasks[4].pid == 4711
    assert again == lively


def test_two_reads_are_equal_and_a_difference_is_one(lively: Snapshot) -> None:
    other = _read()
    assert lively.tasks[1] == other.tasks[1]
    assert lively.tasks[1] != _read().tasks[2]
    assert lively == other


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_text_in_pieces_of_any_size_is_read(lively: Snapshot, size: int) -> None:
    text = _text(lively)[: 1 << 30]
    assert parse_lines(text[at : at + size] for at in range(0, len(text), size)) == lively


def test_a_line_that_is_longer_than_what_is_matched_at_once_is_read_in_columns(lively: Snapshot) -> None:
    lively.tasks[5].comm = "x" * 300_000
    again = parse_snapshot(_text(lively), "long")
    assert all(table_and_row(task) is not None for task in again.tasks)
    assert again == lively


@pytest.mark.parametrize("empty", ["tasks", "fs_structs", "mounts"])
@pytest.mark.parametrize("left", [0, 1])
def test_an_array_with_no_record_or_one_is_read_line_by_line(lively: Snapshot, empty: str, left: int) -> None:
    del getattr(lively, empty)[left:]
    read = parse_lines([_text(lively)])
    assert read == lively


def test_lines_of_another_layout_among_the_others_are_read_in_their_place(lively: Snapshot) -> None:
    lines = _text(lively).split(b"\n")
    first = next(number for number, line in enumerate(lines) if line.endswith(b'"tasks":['))
    for number in (first + 1, first + 5, first + 6, first + len(lively.tasks)):
        comma = b"," if lines[number].endswith(b",") else b""
        lines[number] = (
            json.dumps(json.loads(lines[number].removesuffix(b",")) | {"newer": 1}).encode() + comma
        )
    read = parse_lines([b"\n".join(lines)])
    assert read == lively


def test_a_record_whose_fields_pydantic_must_check_itself_has_no_columns() -> None:
    """A validator, or a type that is new here, would else not be asked."""
    from explorer.model import Kernel

    assert layout_of(Kernel) is None
    assert [name for name, record in SNAPSHOT_ARRAYS.items() if layout_of(record) is None] == []


@pytest.mark.parametrize("array", _LARGE)
@pytest.mark.parametrize("seed", range(5))
def test_records_that_have_values_in_common_are_written_as_each_by_itself(
    lively: Snapshot, array: str, seed: int
) -> None:
    record, dice = _LARGE[array], random.Random(seed)
    plain: list[Record] = [each.model_copy() for each in getattr(lively, array)]
    plain = [dice.choice(plain) for _ in range(700)]
    own = {name for name in record.model_fields if dice.random() < 0.5}
    columns = {name: [each.__dict__[name] for each in plain] for name in own}
    table = ColumnTable(
        record.model_fields,
        [each.__dict__ for each in plain],
        {name: partial(columns.__getitem__, name) for name in own},
    )
    encoder, rows = RecordEncoder(), slice(dice.randrange(300), 600)
    deferred = defer_records(record, table, len(plain))[rows]
    found = table_and_rows(deferred)
    assert found == (table, rows)
    expected = list(map(RecordEncoder().encode, plain))[rows]
    assert encoder.encode_rows(record, table, rows) == expected
