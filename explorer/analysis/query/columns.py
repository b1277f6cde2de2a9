"""The columns of tables of tasks as people read them, each declared once: labels that join several facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explorer.analysis.accounting import books_of
from explorer.model import FsStruct, PathRef, Snapshot, Task, escape_text, known
from explorer.naming import fs_label, name_label, path_label, pwd_label, runs_label

from .facts import FACTS, Scope

__all__ = ("LABEL_COLUMNS", "LabelColumn", "TaskRow", "label_columns", "task_rows", "told_columns")


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task with what it points at."""

    task: Task
    fs: FsStruct | None
    snapshot: Snapshot


def task_rows(snapshot: Snapshot) -> list[TaskRow]:
    """One row a task, in the snapshot's order."""
    return [TaskRow(task, snapshot.fs_of(task), snapshot) for task in snapshot.tasks]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """One column."""

    name: str
    title: str
    text: Callable[[TaskRow], str]
    """Escaped: safe on a terminal."""
    sort: Callable[[TaskRow], Any]
    """What rows are ordered by; comparable with the same column's of any other row."""
    numeric: bool = False
    scope: Scope = Scope.TASK
    is_fact: bool = False
    """It is the fact of that name, of which there are few different values."""


def _of_fs(label: Callable[[FsStruct, Snapshot], str]) -> Callable[[TaskRow], str]:
    return lambda row: "-" if row.fs is None else label(row.fs, row.snapshot)


def _path_key(which: str) -> Callable[[TaskRow], Any]:
    def key(row: TaskRow) -> Any:
        path: PathRef | None = None if row.fs is None else getattr(row.fs, which)
        if path is None:
            return ("", "", 0)
        return (path.fstype or "", path.path or "", path.mount)

    return key


def _runs(row: TaskRow) -> str:
    return runs_label(row.task, row.snapshot)


def _fact(name: str, title: str) -> LabelColumn:
    """A column that is one fact; :param name: of a fact that only a few values are known of"""
    field = FACTS[name]
    return LabelColumn(
        name,
        title,
        lambda row: field.text(row.task, row.snapshot),
        lambda row: known(field.get(row.task, row.snapshot)),
        is_fact=True,
    )


def _label(
    name: str, title: str, label: Callable[[FsStruct, Snapshot], str], sort: Callable[[TaskRow], Any]
) -> LabelColumn:
    """A column that is the same for all who share an ``fs_struct``."""
    return LabelColumn(name, title, _of_fs(label), sort, scope=Scope.FS)


def _users(row: TaskRow) -> int:
    return -1 if row.fs is None or row.fs.users is None else row.fs.users


def _umask(row: TaskRow) -> str:
    return "" if row.fs is None else row.fs.umask or ""


#: The columns of the screen's task table.
LABEL_COLUMNS: tuple[LabelColumn, ...] = (
    LabelColumn("comm", "NAME", lambda row: name_label(row.task), lambda row: row.task.name),
    LabelColumn("pid", "PID", lambda row: str(row.task.pid), lambda row: row.task.pid, numeric=True),
    _fact("kind", "KIND"),
    _fact("state", "S"),
    LabelColumn(
        "fs",
        "FS_STRUCT",
        lambda row: fs_label(row.task.owned_fs, row.snapshot),
        lambda row: row.task.owned_fs or 0,
        scope=Scope.FS,
    ),
    _label("users", "USERS", lambda fs, snapshot: books_of(fs, snapshot).label, _users),
    _label("root", "ROOT", lambda fs, snapshot: path_label(fs.root, snapshot), _path_key("root")),
    _label("pwd", "PWD", pwd_label, _path_key("pwd")),
    _label("umask", "UMASK", lambda fs, _: escape_text(fs.umask or "?"), _umask),
    _fact("owner", "OWNER"),
    _fact("container", "CONTAINER"),
    LabelColumn(
        "pid_in_namespace",
        "PID IN NS",
        lambda row: FACTS["pid_in_namespace"].text(row.task, row.snapshot),
        lambda row: -1 if row.task.pid_in_namespace is None else row.task.pid_in_namespace,
        numeric=True,
    ),
    LabelColumn("runs", "RUNS", _runs, _runs),
)
_BY_NAME = {column.name: column for column in LABEL_COLUMNS}
#: Those that are none of a table in which no task has a value of them.
_WHERE_TOLD = ("container", "pid_in_namespace")


def told_columns(snapshot: Snapshot) -> tuple[LabelColumn, ...]:
    """The columns of a snapshot's table: nearly no machine without containers has something to say of them."""
    without = {name for name in _WHERE_TOLD if all(getattr(task, name) is None for task in snapshot.tasks)}
    return tuple(column for column in LABEL_COLUMNS if column.name not in without)


def label_columns(*names: str) -> tuple[LabelColumn, ...]:
    """Some columns, by name."""
    return tuple(_BY_NAME[name] for name in names)
