"""The task table: one row per fs_struct with its sharers folded, or one row per task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from explorer.analysis.accounting import reconcile
from explorer.model import (
    FsStruct,
    Owner,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    escape_text,
    hex_address,
)

from .columns import TaskRow, name_label, path_label, pwd_label, runs_label, task_rows, users_label
from .findings import findings_heading
from .table import Table, TableColumn

__all__ = ("Matches", "render_summary", "tasks_table", "worlds_table")

#: Which tasks to show; ``None`` for all.
Matches = Callable[[Task], bool] | None

_WORLD_ORDER = (
    Placement.NULLFS,
    Placement.INIT_ROOT,
    Placement.CHROOT,
    Placement.NS_ROOT,
    Placement.NULLFS_NS_ROOT,
    Placement.DETACHED,
    Placement.FAILFS,
    Placement.INTERNAL,
)
_KINDS = {
    TaskKind.INIT: ("thread of PID 1", "threads of PID 1"),
    TaskKind.USER: ("user task", "user tasks"),
    TaskKind.KTHREAD: ("kthread", "kthreads"),
    TaskKind.KWORKER: ("kworker", "kworkers"),
    TaskKind.RESCUER: ("rescuer", "rescuers"),
    TaskKind.IDLE: ("idle", "idle"),
    TaskKind.IO_WORKER: ("io worker", "io workers"),
    TaskKind.USERMODEHELPER: ("usermodehelper", "usermodehelpers"),
}
_NAMES_SHOWN = 4


def render_summary(snapshot: Snapshot, name: str) -> list[str]:
    """The verdict, and what was read: a few lines to stand above any table.

    :param name: of the target
    """
    capture = snapshot.capture
    read = f"types: {capture.types.upper()}, read in {capture.duration_s:.2f} s"
    lines = [*findings_heading(snapshot, name), escape_text("; ".join([read, *capture.notes]))]
    unbalanced = [reference for reference in reconcile(snapshot) if not reference.balanced]
    if unbalanced:
        lines.append(f"{len(unbalanced)} fs_structs whose users differ from the holders found (≠)")
    if not capture.consistent:
        lines.append("The kernel ran while it was read: rows may be of slightly different moments.")
    if snapshot.errors:
        count = len(snapshot.errors)
        lines.append(f"{count} value{'s' * (count != 1)} could not be read: see errors in the snapshot.")
    return lines


def _names(tasks: list[Task]) -> str:
    return ", ".join(name_label(task) for task in tasks)


def _counted(kind: TaskKind | None, count: int) -> str:
    if kind is None:
        return f"{count} of unknown kind"
    return f"{count} {_KINDS[kind][count != 1]}"


def _who(tasks: list[Task]) -> str:
    """Names where they are few, counts by kind where they are many; whoever borrows is always named."""
    if not tasks:
        return "nobody found"
    if len(tasks) <= _NAMES_SHOWN:
        text = _names(tasks)
    else:
        counts = Counter(task.kind for task in tasks)
        text = ", ".join(_counted(kind, count) for kind, count in counts.most_common())
    borrowers = [task for task in tasks if task.borrowing]
    if borrowers:
        text += " (borrowing)" if len(tasks) == 1 else f"; borrowing: {_names(borrowers)}"
    return text


def _world(fs: FsStruct) -> tuple[int, str]:
    placement = None if fs.root is None else fs.root.placement
    if placement is None:
        return len(_WORLD_ORDER), "?"
    return _WORLD_ORDER.index(placement), placement.value


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
        TableColumn("ROOT IN"),
        TableColumn("FS_STRUCT"),
        TableColumn("USERS"),
        TableColumn("ROOT", least=12),
        TableColumn("PWD", least=8),
        TableColumn("UMASK"),
        TableColumn("WHO", least=16),
    )
    names = {snapshot.kernel.init_fs: "init_fs", snapshot.kernel.userspace_init_fs: "userspace_init_fs"}
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
                names.get(fs.address) or hex_address(fs.address),
                users_label(fs, snapshot),
                path_label(fs.root, snapshot),
                pwd_label(fs, snapshot),
                escape_text(fs.umask or "?"),
                _sharers(sharers, matches),
            )
        )
    exited = [task for task in snapshot.tasks if task.owner is Owner.NONE and (not matches or matches(task))]
    if exited:
        rows.append(("none", "-", "-", "-", "-", "-", f"exited: {_names(exited[:_NAMES_SHOWN])}"))
        if len(exited) > _NAMES_SHOWN:
            rows[-1] = (*rows[-1][:-1], f"{len(exited)} exited")
    unread = [task for task in snapshot.tasks if task.owner is None and (not matches or matches(task))]
    if unread:
        rows.append(("?", *"?????", f"fs not readable: {_who(unread)}"))
    return Table(columns, rows)


def tasks_table(snapshot: Snapshot, matches: Matches = None) -> Table:
    """One row per task that matches, by pid."""
    columns = (
        TableColumn("PID", numeric=True),
        TableColumn("NAME", least=16),
        TableColumn("KIND"),
        TableColumn("S", rank=1),
        TableColumn("OWNER", least=11),
        TableColumn("USERS", rank=3),
        TableColumn("ROOT", least=12),
        TableColumn("PWD", least=8),
        TableColumn("UMASK", rank=4),
        TableColumn("RUNS", least=16, rank=2),
    )
    return Table(
        columns,
        [_task_cells(row) for row in task_rows(snapshot) if matches is None or matches(row.task)],
    )


def _task_cells(row: TaskRow) -> tuple[str, ...]:
    task, fs = row.task, row.fs
    runs = runs_label(task)
    if task.borrowing:
        runs = f"{runs} ▶ borrowing userspace_init_fs".lstrip()
    return (
        str(task.pid),
        name_label(task),
        task.kind_word,
        escape_text(task.state or "?"),
        task.owner_word,
        "-" if fs is None else users_label(fs, row.snapshot),
        "-" if fs is None else path_label(fs.root, row.snapshot),
        "-" if fs is None else pwd_label(fs, row.snapshot),
        "-" if fs is None else escape_text(fs.umask or "?"),
        runs,
    )
