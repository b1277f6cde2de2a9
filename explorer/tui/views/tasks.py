"""The task table as data: which rows, in which order, grouped by ``fs_struct`` or flat, filtered and sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from explorer.analysis.accounting import expected_users
from explorer.analysis.worlds import WORLD_ORDER, WorldKey, world_of
from explorer.model import FsStruct, Reference, Snapshot, Task, TaskKind, escape_text
from explorer.output.columns import LABEL_COLUMNS, TaskRow, fs_label, task_rows

from .table import Cell, ViewColumn

__all__ = ("KIND_PLURAL", "Group", "TaskTable", "count_kinds", "group_reference", "task_reference")

KIND_PLURAL = {
    TaskKind.INIT: "threads of PID 1",
    TaskKind.USER: "user tasks",
    TaskKind.KTHREAD: "kthreads",
    TaskKind.KWORKER: "kworkers",
    TaskKind.RESCUER: "rescuers",
    TaskKind.IDLE: "idle",
    TaskKind.IO_WORKER: "io workers",
    TaskKind.USERMODEHELPER: "usermodehelpers",
}
#: Widths and ranks on the screen, by the column's name.
_LAYOUT = {
    "comm": (18, 2, 0),
    "pid": (6, 0, 0),
    "kind": (8, 1, 4),
    "state": (1, 0, 2),
    "fs": (17, 0, 1),
    "users": (6, 0, 1),
    "root": (15, 3, 1),
    "pwd": (8, 4, 3),
    "umask": (5, 0, 6),
    "owner": (8, 0, 7),
    "runs": (22, 5, 5),
}
_OF_FS = frozenset({"fs", "users", "root", "pwd", "umask"})
_NO_FS = -1


def _view_columns() -> tuple[ViewColumn, ...]:
    made = []
    for column in LABEL_COLUMNS:
        width, grow, rank = _LAYOUT[column.name]
        made.append(ViewColumn(column.name, column.title, width, grow, column.numeric, rank))
    return tuple(made)


@dataclass(slots=True)
class Group:
    """The tasks of one ``fs_struct``; those that have exited have none, and are a group too."""

    key: int
    """Address of the ``fs_struct``."""
    world: WorldKey
    fs: FsStruct | None
    members: list[int] = field(default_factory=list)
    """Indices of rows, in the order of the snapshot."""


def count_kinds(tasks: Sequence[Task]) -> str:
    """``23 rescuers, 21 kthreads``: most first."""
    counts = Counter(task.kind for task in tasks).most_common()
    return ", ".join(_counted(kind, count) for kind, count in counts)


def _counted(kind: TaskKind, count: int) -> str:
    words = KIND_PLURAL[kind]
    if count == 1:
        words = "thread of PID 1" if kind is TaskKind.INIT else words.removesuffix("s")
    return f"{count} {words}"


def task_reference(task: Task) -> Reference:
    """A task as a place to go to."""
    return Reference(kind="task", address=task.address, label=f"{task.comm} ({task.pid})")


def group_reference(fs: FsStruct, snapshot: Snapshot) -> Reference:
    """An ``fs_struct`` as a place to go to."""
    return Reference(kind="fs_struct", address=fs.address, label=fs_label(fs.address, snapshot))


class TaskTable:
    """A :class:`TableSource` of tasks.

    A visible row is an ``int``: a row's index, or ``-1 - n`` for the n-th group's head. Filtering is one pass
    over the tasks, and nothing but what is on the screen is ever made into text.
    """

    columns = _view_columns()

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.rows = task_rows(snapshot)
        self.grouped = True
        self.sort_column: str | None = None
        self.descending = False
        self._matching: list[int] = list(range(len(self.rows)))
        self._filtered = False
        self._toggled: set[int] = set()
        self._sort_keys: dict[str, list[Any]] = {}
        self._groups = self._make_groups()
        self._shown: list[Group] = []
        self._visible: list[int] = []
        self._lay_out()

    def _make_groups(self) -> dict[int, Group]:
        groups: dict[int, Group] = {}
        for index, row in enumerate(self.rows):
            owned = row.task.owned_fs
            key = _NO_FS if owned is None else owned
            group = groups.get(key)
            if group is None:
                world = world_of(row.task, self.snapshot)
                group = groups[key] = Group(key, world, row.fs)
            group.members.append(index)
        names = (self.snapshot.kernel.init_fs, self.snapshot.kernel.userspace_init_fs)
        rank = {world: number for number, world in enumerate(WORLD_ORDER)}
        ordered = sorted(
            groups.values(),
            key=lambda group: (rank[group.world], group.key not in names, -len(group.members), group.key),
        )
        return {group.key: group for group in ordered}

    # -- what is shown ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._visible)

    @property
    def matching(self) -> int:
        """Tasks that the filter lets through."""
        return len(self._matching)

    @property
    def groups_shown(self) -> int:
        """fs_structs with a task that the filter lets through; exited tasks count for none."""
        if len(self._matching) == len(self.rows):
            return len(self._groups) - (_NO_FS in self._groups)
        owned = {self.rows[index].task.owned_fs for index in self._matching}
        return len(owned - {None})

    def counts(self) -> str:
        """``59 of 84 tasks · 2 fs_structs``."""
        total = len(self.rows)
        tasks = f"{total}" if self.matching == total else f"{self.matching} of {total}"
        structs = self.groups_shown
        return f"{tasks} tasks · {structs} fs_struct{'' if structs == 1 else 's'}"

    def set_filter(self, matches: Callable[[Task], bool] | None) -> None:
        """Show only tasks that match; ``None``: all."""
        self._filtered = matches is not None
        self._toggled.clear()
        if matches is None:
            self._matching = list(range(len(self.rows)))
        else:
            self._matching = [index for index, row in enumerate(self.rows) if matches(row.task)]
        self._lay_out()

    def set_grouped(self, grouped: bool) -> None:
        self.grouped = grouped
        self._lay_out()

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Order by a column of :data:`LABEL_COLUMNS`; ``None``: as the snapshot has them, worlds first."""
        self.sort_column, self.descending = column, descending
        self._lay_out()

    def _key(self, column: str) -> list[Any]:
        keys = self._sort_keys.get(column)
        if keys is None:
            sort = next(declared.sort for declared in LABEL_COLUMNS if declared.name == column)
            keys = self._sort_keys[column] = [sort(row) for row in self.rows]
        return keys

    def _lay_out(self) -> None:
        order = self._matching
        if self.sort_column is not None:
            order = sorted(order, key=self._key(self.sort_column).__getitem__, reverse=self.descending)
        if not self.grouped:
            self._shown, self._visible = [], list(order)
            return
        members: dict[int, list[int]] = {}
        rows = self.rows
        for index in order:
            owned = rows[index].task.owned_fs
            members.setdefault(_NO_FS if owned is None else owned, []).append(index)
        # Sorted: a group stands where its first member does. Otherwise: world by world.
        keys = list(members) if self.sort_column is not None else [k for k in self._groups if k in members]
        self._shown, self._visible = [], []
        for key in keys:
            self._add_group(self._groups[key], members[key])

    def _add_group(self, group: Group, members: list[int]) -> None:
        if len(group.members) == 1:
            self._visible.append(members[0])
            return
        self._shown.append(Group(group.key, group.world, group.fs, members))
        self._visible.append(-len(self._shown))
        if self.is_open(group.key):
            self._visible.extend(members)

    # -- groups ----------------------------------------------------------------------------------------------

    def is_open(self, key: int) -> bool:
        """Whether a group shows its members: at first only under a filter."""
        return self._filtered != (key in self._toggled)

    def group_at(self, index: int) -> Group | None:
        """The group whose head a visible row is."""
        row = self._visible[index]
        return self._shown[-1 - row] if row < 0 else None

    def row_at(self, index: int) -> TaskRow | None:
        """The task that a visible row is; ``None`` for a group's head."""
        row = self._visible[index]
        return self.rows[row] if row >= 0 else None

    def toggle(self, index: int) -> bool:
        """Open or close the group at a visible row. False: it is none."""
        group = self.group_at(index)
        if group is None:
            return False
        self._toggled ^= {group.key}
        self._lay_out()
        return True

    def open_all(self, opened: bool) -> None:
        """Open, or close, every group."""
        self._toggled = set(self._groups) if opened != self._filtered else set()
        self._lay_out()

    # -- identity --------------------------------------------------------------------------------------------

    def reference_at(self, index: int) -> Reference | None:
        """What a visible row is about; ``None`` for the exited tasks' head."""
        group = self.group_at(index)
        if group is not None:
            return None if group.fs is None else group_reference(group.fs, self.snapshot)
        row = self.row_at(index)
        return None if row is None else task_reference(row.task)

    def find(self, reference: Reference) -> int | None:
        """The visible row of a task or an fs_struct; a task inside a closed group: its head."""
        fallback = None
        for position, row in enumerate(self._visible):
            if row >= 0:
                task = self.rows[row].task
                if reference.kind == "task" and task.address == reference.address:
                    return position
                if reference.kind == "fs_struct" and task.owned_fs == reference.address and fallback is None:
                    fallback = position
            else:
                group = self._shown[-1 - row]
                if reference.kind == "fs_struct" and group.key == reference.address:
                    return position
                if reference.kind == "task" and self._holds(group, reference.address):
                    fallback = position
        return fallback

    def _holds(self, group: Group, address: int | None) -> bool:
        return any(self.rows[index].task.address == address for index in group.members)

    def reveal(self, reference: Reference) -> int | None:
        """Like :meth:`find`, with the group of a task opened."""
        position = self.find(reference)
        if position is not None and reference.kind == "task" and self.group_at(position) is not None:
            self.toggle(position)
            position = self.find(reference)
        return position

    # -- text ------------------------------------------------------------------------------------------------

    def cells(self, index: int) -> list[Cell]:
        group = self.group_at(index)
        if group is not None:
            return self._group_cells(group)
        row = self.rows[self._visible[index]]
        size = len(self._groups[_NO_FS if row.task.owned_fs is None else row.task.owned_fs].members)
        inside = self.grouped and size > 1
        return [self._cell(column, row, inside) for column in LABEL_COLUMNS]

    def _cell(self, column: Any, row: TaskRow, inside: bool) -> Cell:
        if inside and column.name in _OF_FS:
            return Cell("")
        text = column.text(row)
        if column.name == "comm" and self.grouped:
            return Cell(("   " if inside else "  ") + text)
        if column.name == "users":
            return Cell(text, _books_tone(row.fs, self.snapshot))
        if column.name == "runs":
            return Cell(text, "warn" if row.task.borrowing else "muted")
        return Cell(text, "muted" if column.name in ("owner", "umask", "fs") else "")

    def _group_cells(self, group: Group) -> list[Cell]:
        tasks = [self.rows[index].task for index in group.members]
        total = len(self._groups[group.key].members)
        mark = "▾" if self.is_open(group.key) else "▸"
        count = str(total) if len(tasks) == total else f"{len(tasks)}/{total}"
        who = count_kinds(tasks)
        borrowers = [escape_text(task.comm) for task in tasks if task.borrowing]
        if borrowers:
            who += f"; ▶ borrowing: {', '.join(borrowers[:4])}"
        head = {"comm": f"{mark} {group.world.value}", "pid": f"×{count}", "runs": who}
        sample = TaskRow(tasks[0], group.fs, self.snapshot)
        cells = []
        for column in LABEL_COLUMNS:
            if column.name in head:
                cells.append(Cell(head[column.name], "group"))
            elif column.name == "users":
                cells.append(Cell(column.text(sample), _books_tone(group.fs, self.snapshot) or "group"))
            elif column.name in _OF_FS or column.name == "owner":
                cells.append(Cell(column.text(sample), "group"))
            else:
                cells.append(Cell("", "group"))
        return cells


def _books_tone(fs: FsStruct | None, snapshot: Snapshot) -> str:
    if fs is None or fs.users is None:
        return ""
    return "" if fs.users == expected_users(fs, snapshot) else "bad"
