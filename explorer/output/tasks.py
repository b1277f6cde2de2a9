"""The task table: one row per fs_struct with its sharers folded, or one row per task."""

from __future__ import annotations

from collections.abc import Callable

from explorer.analysis import WORLD_ORDER, WorldKey, books_of, reconcile, verdict_and_subject, world_of_root
from explorer.model import (
    FsStruct,
    Owner,
    Snapshot,
    Task,
    comm_and_pid,
    escape_text,
    fs_name,
    global_fs,
)
from explorer.naming import count_kinds, name_label, path_label, pwd_label

from .table import Table, TableColumn, fit_address, fit_middle

__all__ = ("Matches", "findings_heading", "render_summary", "tasks_table", "worlds_table")

#: Which tasks to show; ``None`` for all.
Matches = Callable[[Task], bool] | None

_NAMES_SHOWN = 4
#: ``userspace_init_fs``: addresses are shortened before this is.
_SHORT_NAME = len("userspace_init_fs")
#: What a path may take of a terminal's width.
_PATH = 40


def findings_heading(snapshot: Snapshot, name: str) -> list[str]:
    """The verdict, and what it is about, in escaped lines. :param name: of the target"""
    return [escape_text(line) for line in verdict_and_subject(snapshot, name)]


def render_summary(snapshot: Snapshot, name: str) -> list[str]:
    """The verdict, and what was read: a few lines to stand above any table.

    :param name: of the target
    """
    capture = snapshot.capture
    types = "" if capture.types == "proc" else f"types: {capture.types.upper()}, "
    read = f"{types}read in {capture.duration_s:.2f} s"
    lines = [*findings_heading(snapshot, name), escape_text("; ".join([read, *capture.notes]))]
    unbalanced = [reference for reference in reconcile(snapshot) if reference.differ]
    if unbalanced:
        lines.append(f"{len(unbalanced)} fs_structs whose users differ from the holders found (≠)")
    if not capture.consistent:
        lines.append("The kernel ran while it was read: rows may be of slightly different moments.")
    if snapshot.errors:
        count = len(snapshot.errors)
        lines.append(f"{count} value{'s' * (count != 1)} could not be read: see errors in the snapshot.")
    return lines


def _names(tasks: list[Task]) -> str:
    return ", ".join(comm_and_pid(name_label(task), task.pid) for task in tasks)


def _who(tasks: list[Task]) -> str:
    """Names where they are few, counts by kind where they are many; whoever borrows is always named."""
    if not tasks:
        return "nobody found"
    text = _names(tasks) if len(tasks) <= _NAMES_SHOWN else count_kinds(task.kind for task in tasks)
    borrowers = [task for task in tasks if task.borrowing]
    if borrowers:
        text += ", borrowing" if len(tasks) == 1 else f"; borrowing: {_names(borrowers)}"
    return text


def _world(fs: FsStruct) -> tuple[int, str]:
    world = world_of_root(fs)
    return WORLD_ORDER.index(world), "?" if world is WorldKey.UNKNOWN else world.value


def _sharers(found: list[Task], matches: Matches) -> str:
    """Who holds an fs_struct; with a filter, how many of them match, and who these are."""
    if matches is None:
        return _who(found)
    matching = [task for task in found if matches(task)]
    return (
        _who(found) if len(matching) == len(found) else f"{len(matching)} of {len(found)}: {_who(matching)}"
    )


def worlds_table(snapshot: Snapshot, matches: Matches = None) -> Table:
    """One row per fs_struct: where its root is, whether the books balance, and who shares it.

    With a filter: only those of which a sharer matches.
    """
    columns = (
        TableColumn("PLACEMENT"),
        TableColumn("FS_STRUCT", least=_SHORT_NAME, cut=fit_address, first=True),
        TableColumn("USERS"),
        TableColumn("ROOT", least=12, most=_PATH, cut=fit_middle),
        TableColumn("PWD", least=8, most=_PATH, cut=fit_middle, rank=1),
        TableColumn("UMASK", rank=2),
        TableColumn("WHO", least=24),
    )
    names = global_fs(snapshot.kernel)
    rows = []
    ordered = sorted(
        snapshot.fs_structs,
        key=lambda fs: (_world(fs)[0], fs.address not in names, -fs.sharers, fs.address),
    )
    for fs in ordered:
        sharers = snapshot.sharers_by_fs.get(fs.address, [])
        if matches is not None and not any(map(matches, sharers)):
            continue
        rows.append(
            (
                _world(fs)[1],
                fs_name(fs.address, snapshot.kernel),
                books_of(fs, snapshot).label,
                path_label(fs.root, snapshot),
                pwd_label(fs, snapshot),
                escape_text(fs.umask or "?"),
                _sharers(sharers, matches),
            )
        )
    exited = [task for task in snapshot.tasks if task.owner is Owner.NONE and (not matches or matches(task))]
    if exited:
        who = f"{_who(exited)}, exited" if len(exited) == 1 else f"{len(exited)} exited: {_who(exited)}"
        rows.append((*"------", who))
    unread = [task for task in snapshot.tasks if task.owner is None and (not matches or matches(task))]
    if unread:
        rows.append(("?", *"?????", f"fs not readable: {_who(unread)}"))
    return Table(columns, rows)


#: The columns of one row per task: how many terminal columns each has at least, and what goes first.
_LAYOUT = {
    "pid": TableColumn("PID", numeric=True),
    "comm": TableColumn("NAME", least=16, most=_PATH),
    "kind": TableColumn("KIND"),
    "state": TableColumn("S", rank=1),
    "owner": TableColumn("OWNER", least=11),
    "users": TableColumn("USERS", rank=3),
    "root": TableColumn("ROOT", least=12, most=_PATH, cut=fit_middle),
    "pwd": TableColumn("PWD", least=8, most=_PATH, cut=fit_middle),
    "umask": TableColumn("UMASK", rank=4),
    "runs": TableColumn("RUNS", least=16, rank=2),
}
#: The same where someone borrows or walks: which path, where and for how long is what the table is for.
_BUSY_LAYOUT = _LAYOUT | {
    "kind": _LAYOUT["kind"]._replace(rank=1),
    "owner": _LAYOUT["owner"]._replace(rank=2),
    "pwd": _LAYOUT["pwd"]._replace(rank=3),
    "runs": TableColumn("RUNS", least=36, cut=fit_middle),
}


def tasks_table(snapshot: Snapshot, matches: Matches = None) -> Table:
    """One row per task that matches, by pid."""
    from explorer.analysis.query import label_columns, task_rows  # who folds has no use for the language

    rows = [row for row in task_rows(snapshot) if matches is None or matches(row.task)]
    is_busy = any(row.task.walk is not None or row.task.borrowing for row in rows)
    columns = label_columns(*_LAYOUT)
    return Table(
        tuple((_BUSY_LAYOUT if is_busy and matches is not None else _LAYOUT).values()),
        [tuple(column.text(row) for column in columns) for row in rows],
    )
