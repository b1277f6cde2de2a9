"""The tasks of all targets that a query selects, written as they come: a line, a CSV row or a JSON object each.

Text in a fleet's dataset is escaped already. A value that could not be read is null there, as one that a task has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from explorer.analysis.query import CSV_FACTS, FieldType
from explorer.codec import encode_value
from explorer.compression import method_of_name
from explorer.fleet import COLUMNS, ColumnType, query_column
from explorer.model import display_width, hex_address
from explorer.naming import count
from explorer.output.csvfile import write_csv_rows
from explorer.output.files import check_writable, open_growing
from explorer.output.table import RowLines, TableColumn, fit_middle

__all__ = ("TASK_FORMS", "TaskForm", "columns_for", "task_form_of_name", "write_fleet_tasks")

TaskForm = Literal["table", "csv", "jsonl"]
TASK_FORMS: tuple[TaskForm, ...] = ("table", "csv", "jsonl")

Row = Mapping[str, Any]
#: Header of a column, the columns of the dataset that it is made of, and how.
_Cell = tuple[TableColumn, tuple[str, ...], Callable[[Row], str]]


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else str(row[name])


def _place(row: Row) -> str:
    """``rootfs#2:/jail``, as in the table of one target."""
    if row["root_path"] is None and row["root_mount"] is None:
        return "-"
    return f"{row['root_fstype'] or '?'}#{_known(row['root_mount'])}:{_known(row['root_path'])}"


def _known(value: Any) -> str:
    return "?" if value is None else str(value)


def _umask(row: Row) -> str:
    return "" if row["umask"] is None else f"{row['umask']:04o}"


def _runs(row: Row) -> str:
    """What it does with paths, then what a kernel thread runs."""
    doing = ["▶ borrowing"] if row["borrowing"] else []
    if row["walking"]:
        doing.append(f"walking {_known(row['walk_path'])}")
    runs = row["func"] or row["threadfn"] or ""
    return "; ".join([*filter(None, [", ".join(doing), runs])])


_PATH = 40
_TABLE: tuple[_Cell, ...] = (
    (TableColumn("TARGET", least=16, most=_PATH, cut=fit_middle), ("path",), _text("path")),
    (TableColumn("PID", numeric=True), ("pid",), _text("pid")),
    (TableColumn("NAME", least=15, most=_PATH), ("name",), lambda row: row["name"] or "?"),
    (TableColumn("KIND", rank=1), ("kind",), lambda row: row["kind"] or "?"),
    (TableColumn("S", rank=2), ("state",), lambda row: row["state"] or "?"),
    (TableColumn("OWNER", least=11, rank=3), ("owner",), lambda row: row["owner"] or "?"),
    (TableColumn("USERS", numeric=True, rank=4), ("users",), _text("users")),
    (
        TableColumn("ROOT", least=12, most=_PATH, cut=fit_middle),
        ("root_path", "root_mount", "root_fstype"),
        _place,
    ),
    (TableColumn("UMASK", rank=5), ("umask",), _umask),
    (
        TableColumn("RUNS", least=16),
        ("borrowing", "walking", "walk_path", "func", "threadfn"),
        _runs,
    ),
)
#: What a usual task takes: widths are known before the first comes.
_USUAL = (
    "",
    "9999999",
    "x" * 20,
    "usermodehelper",
    "S",
    "userspace_init_fs",
    "99999",
    "x" * 24,
    "0022",
    "x" * 30,
)
_USUAL_TARGET = 40
#: What nothing is told of where the control group is not known.
_OF_CGROUP = ("container", "runtime")
#: What of a row is its target's, and not in the table ``tasks``.
_OF_TARGET = ("path",)


def task_form_of_name(path: Path | None) -> TaskForm:
    """The form that a file's name asks for, behind the suffix of a compression; a table if it asks for none."""
    if path is None:
        return "table"
    method = method_of_name(path.name)
    name = path.name if method is None else path.name.removesuffix(method.suffix)
    asked: dict[str, TaskForm] = {".csv": "csv", ".jsonl": "jsonl"}
    return asked.get(Path(name).suffix, "table")


def columns_for(form: TaskForm) -> list[str]:
    """The columns of the dataset's tasks that a form is made of; ``key`` is among them."""
    if form == "jsonl":
        return [column.name for column in COLUMNS["tasks"]]
    if form == "csv":
        return ["key", *(query_column(fact.name) for fact in CSV_FACTS.values())]
    own = {name for _, names, _ in _TABLE for name in names if name not in _OF_TARGET}
    return ["key", *sorted(own)]


@dataclass(slots=True)
class _Counter:
    """How many there were, once they have been written."""

    tasks: int = 0


def write_fleet_tasks(
    batches: Iterable[Any],
    path_of: Callable[[Any], Sequence[str | None]],
    form: TaskForm,
    path: Path | None,
    width: int | None,
) -> int:
    """Write to a file or to standard output, a batch at a time. Returns how many tasks.

    :param batches: ``pyarrow.RecordBatch`` with the columns of :func:`columns_for`
    :param path_of: of an array of keys the paths of these targets
    :param width: of a terminal, for a table

    :raises OutputError: if it cannot be written
    """
    if path is not None:
        check_writable(path)
    counter = _Counter()
    with open_growing(path) as out:
        rows = _rows(batches, path_of, counter)
        if form == "csv":
            cells = {"target": _text("path")} | {
                header: _csv_cell(query_column(fact.name), fact.show, fact.type, fact.unread)
                for header, fact in CSV_FACTS.items()
            }
            write_csv_rows(list(cells), ([cell(row) for cell in cells.values()] for row in rows), out)
        elif form == "jsonl":
            _write_lines(rows, out)
        else:
            _write_table(rows, counter, width, out)
    return counter.tasks


def _rows(
    batches: Iterable[Any], path_of: Callable[[Any], Sequence[str | None]], counter: _Counter
) -> Iterator[dict[str, Any]]:
    for batch in batches:
        keys = batch.column("key")
        counter.tasks += batch.num_rows
        for path, row in zip(path_of(keys), batch.to_pylist(), strict=True):
            yield {"path": path, **row}


def _csv_cell(column: str, show: Callable[[Any], str], kind: FieldType, unread: str) -> Callable[[Row], str]:
    """As the CSV of one snapshot has it; text is escaped already."""
    plain = kind in (FieldType.TEXT, FieldType.CHOICE)

    def cell(row: Row) -> str:
        value = row[column]
        if column in _OF_CGROUP and row["cgroup"] is None:
            return "?"
        return unread if value is None else value if plain else show(value)

    return cell


def _write_lines(rows: Iterable[Row], out: BinaryIO) -> None:
    """``{"target": …, "key": …, "pid": …, …}``: the columns of the dataset; addresses and masks as in a snapshot."""
    hexes = [column.name for column in COLUMNS["tasks"] if column.type is ColumnType.ADDRESS]
    for row in rows:
        told = {"target": row["path"], **{name: value for name, value in row.items() if name != "path"}}
        told |= {name: hex_address(told[name]) for name in hexes if told[name] is not None}
        out.write(f"{encode_value(told)}\n".encode())


def _write_table(rows: Iterable[Row], counter: _Counter, width: int | None, out: BinaryIO) -> None:
    others = sum(map(display_width, _USUAL)) + 2 * (len(_USUAL) - 1)
    room = _USUAL_TARGET if width is None else max(_USUAL_TARGET, width - others)
    lines = RowLines([column for column, _, _ in _TABLE], ["x" * room, *_USUAL[1:]], width)
    any_yet = False
    for row in rows:
        if not any_yet:
            out.write(f"{lines.header}\n".encode())
            any_yet = True
        out.write(f"{lines.line([cell(row) for _, _, cell in _TABLE])}\n".encode())
    for note in lines.notes if any_yet else ():
        out.write(f"{note}\n".encode())
    out.write(f"{count(counter.tasks, 'task')} found.\n".encode())
