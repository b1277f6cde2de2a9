"""The columns of a task: declared once, used by the tables, the CSV export and the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explorer.analysis.accounting import expected_users
from explorer.analysis.words import known
from explorer.model import FsStruct, PathRef, Snapshot, Task, escape_text, hex_address

__all__ = (
    "COLUMNS",
    "LABEL_COLUMNS",
    "Column",
    "LabelColumn",
    "TaskRow",
    "fs_label",
    "name_label",
    "path_label",
    "pwd_label",
    "runs_label",
    "short_address",
    "task_rows",
    "users_label",
)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task with what it points at."""

    task: Task
    fs: FsStruct | None
    snapshot: Snapshot


def task_rows(snapshot: Snapshot) -> list[TaskRow]:
    """One row a task, in the snapshot's order."""
    by_address = snapshot.fs_by_address
    return [TaskRow(task, by_address.get(task.owned_fs or 0), snapshot) for task in snapshot.tasks]


def path_label(path: PathRef | None, snapshot: Snapshot) -> str:
    """``rootfs#2:/jail``: filesystem, mount id and path, because the path alone is ``/`` for nearly all."""
    if path is None:
        return "?"
    mount = snapshot.mount_by_address.get(path.mount)
    identity = "?" if path.fstype is None else escape_text(path.fstype)
    if mount is not None:
        identity += f"#{known(mount.id)}"
    text = "?" if path.path is None else escape_text(path.path)
    # A filesystem that names itself (failfs:/) has said its type already.
    text = text.removeprefix(f"{path.fstype}:")
    return f"{identity}:{text}"


def name_label(task: Task) -> str:
    """The task's name; one that is empty is visible as ``""``."""
    return escape_text(task.name) or '""'


def pwd_label(fs: FsStruct, snapshot: Snapshot) -> str:
    """``same`` where root and pwd are one place; the path alone where they are on one mount."""
    root, pwd = fs.root, fs.pwd
    if root is None or pwd is None or pwd.path is None:
        return path_label(pwd, snapshot)
    if (root.mount, root.dentry) == (pwd.mount, pwd.dentry):
        return "same"
    return escape_text(pwd.path) if root.mount == pwd.mount else path_label(pwd, snapshot)


def users_label(fs: FsStruct, snapshot: Snapshot) -> str:
    """``59=59``: the kernel's count and what was found; ``60≠59`` where they differ."""
    expected = expected_users(fs, snapshot)
    if fs.users is None:
        return f"?/{expected}"
    return f"{fs.users}{'=' if fs.users == expected else '≠'}{expected}"


def runs_label(task: Task) -> str:
    """What a kernel thread runs: work function and queue, thread function, or what it ran last."""
    kthread = task.kthread
    if kthread is None:
        return ""
    if kthread.current_func:
        queue = f" on {escape_text(kthread.workqueue)}" if kthread.workqueue else ""
        return f"{escape_text(kthread.current_func)}{queue}"
    if kthread.last_func:
        return f"idle, last {escape_text(kthread.last_func)}"
    return escape_text(kthread.threadfn or "")


@dataclass(frozen=True, slots=True)
class Column:
    """One fact about a task."""

    name: str
    """As scripts know it: the CSV header."""
    title: str
    """As people read it."""
    text: Callable[[TaskRow], str]
    """Escaped: safe on a terminal."""
    numeric: bool = False


def _hex(address: int | None) -> str:
    return "" if address is None else hex_address(address)


def _path_column(which: str, part: str) -> Callable[[TaskRow], str]:
    def text(row: TaskRow) -> str:
        path: PathRef | None = getattr(row.fs, which) if row.fs is not None else None
        value = None if path is None else getattr(path, part)
        return "" if value is None else escape_text(str(value))

    return text


def _mount_id(which: str) -> Callable[[TaskRow], str]:
    def text(row: TaskRow) -> str:
        path: PathRef | None = getattr(row.fs, which) if row.fs is not None else None
        mount = None if path is None else row.snapshot.mount_by_address.get(path.mount)
        return "" if mount is None else known(mount.id)

    return text


def _fs_field(name: str) -> Callable[[TaskRow], str]:
    def text(row: TaskRow) -> str:
        value = None if row.fs is None else getattr(row.fs, name)
        return "" if value is None else escape_text(str(value))

    return text


def _namespace(row: TaskRow) -> str:
    namespace = row.snapshot.namespace_by_address.get(row.task.mnt_ns or 0)
    return "" if namespace is None else known(namespace.inum)


def _kthread_field(name: str) -> Callable[[TaskRow], str]:
    def text(row: TaskRow) -> str:
        value = None if row.task.kthread is None else getattr(row.task.kthread, name)
        return "" if value is None else escape_text(value)

    return text


def _yes_or_no(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


COLUMNS: tuple[Column, ...] = (
    Column("pid", "PID", lambda row: str(row.task.pid), numeric=True),
    Column("tgid", "TGID", lambda row: known(row.task.tgid), numeric=True),
    Column("ppid", "PPID", lambda row: known(row.task.ppid), numeric=True),
    Column("comm", "NAME", lambda row: escape_text(row.task.name)),
    Column("kind", "KIND", lambda row: row.task.kind_word),
    Column("state", "S", lambda row: escape_text(row.task.state or "?")),
    Column("owner", "OWNER", lambda row: row.task.owner_word),
    Column("borrowing", "BORROWING", lambda row: _yes_or_no(row.task.borrowing)),
    Column("fs", "FS", lambda row: _hex(row.task.fs)),
    Column("real_fs", "REAL_FS", lambda row: _hex(row.task.real_fs)),
    Column("users", "USERS", _fs_field("users"), numeric=True),
    Column("sharers", "SHARERS", _fs_field("sharers"), numeric=True),
    Column("umask", "UMASK", _fs_field("umask")),
    Column("root_placement", "ROOT IN", _path_column("root", "placement")),
    Column("root_fstype", "ROOT FS", _path_column("root", "fstype")),
    Column("root_mount_id", "ROOT MNT", _mount_id("root"), numeric=True),
    Column("root_path", "ROOT", _path_column("root", "path")),
    Column("pwd_placement", "PWD IN", _path_column("pwd", "placement")),
    Column("pwd_fstype", "PWD FS", _path_column("pwd", "fstype")),
    Column("pwd_mount_id", "PWD MNT", _mount_id("pwd"), numeric=True),
    Column("pwd_path", "PWD", _path_column("pwd", "path")),
    Column("mnt_ns", "MNT_NS", _namespace, numeric=True),
    Column("threadfn", "THREADFN", _kthread_field("threadfn")),
    Column("workqueue", "WORKQUEUE", _kthread_field("workqueue")),
    Column("current_func", "CURRENT_FUNC", _kthread_field("current_func")),
    Column("address", "TASK", lambda row: _hex(row.task.address)),
)


@dataclass(frozen=True, slots=True)
class LabelColumn(Column):
    """A column as people read it: labels that join several facts, sorted by what they stand for."""

    sort: Callable[[TaskRow], Any] = lambda row: row.task.pid
    """What rows are ordered by; comparable with the same column's of any other row."""


def short_address(address: int | None) -> str:
    """``…8275ebc0``: the part of an address in which two of the same kernel differ; "" for ``None``."""
    return "" if address is None else f"…{address & 0xFFFFFFFF:08x}"


def fs_label(address: int | None, snapshot: Snapshot) -> str:
    """An ``fs_struct`` by its global name, else by its short address; ``-`` where there is none."""
    if address is None:
        return "-"
    if address == snapshot.kernel.init_fs:
        return "init_fs"
    if address == snapshot.kernel.userspace_init_fs:
        return "userspace_init_fs"
    return short_address(address)


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
    runs = runs_label(row.task)
    return f"▶ borrows userspace_init_fs  {runs}".rstrip() if row.task.borrowing else runs


#: The columns of the screen's task table.
LABEL_COLUMNS: tuple[LabelColumn, ...] = (
    LabelColumn("comm", "NAME", lambda row: name_label(row.task), sort=lambda row: row.task.name),
    LabelColumn("pid", "PID", lambda row: str(row.task.pid), True, lambda row: row.task.pid),
    LabelColumn("kind", "KIND", lambda row: row.task.kind_word, sort=lambda row: row.task.kind_word),
    LabelColumn(
        "state", "S", lambda row: escape_text(row.task.state or "?"), sort=lambda row: row.task.state or "?"
    ),
    LabelColumn(
        "fs",
        "FS_STRUCT",
        lambda row: fs_label(row.task.owned_fs, row.snapshot),
        sort=lambda row: row.task.owned_fs or 0,
    ),
    LabelColumn(
        "users",
        "USERS",
        _of_fs(users_label),
        sort=lambda row: -1 if row.fs is None or row.fs.users is None else row.fs.users,
    ),
    LabelColumn("root", "ROOT", _of_fs(lambda fs, snap: path_label(fs.root, snap)), sort=_path_key("root")),
    LabelColumn("pwd", "PWD", _of_fs(pwd_label), sort=_path_key("pwd")),
    LabelColumn(
        "umask",
        "UMASK",
        _of_fs(lambda fs, _: escape_text(fs.umask or "?")),
        sort=lambda row: "" if row.fs is None else row.fs.umask or "",
    ),
    LabelColumn("owner", "OWNER", lambda row: row.task.owner_word, sort=lambda row: row.task.owner_word),
    LabelColumn("runs", "RUNS", _runs, sort=_runs),
)
