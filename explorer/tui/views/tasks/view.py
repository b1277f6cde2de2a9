"""The task table as data: which rows, in which order, grouped by ``fs_struct`` or flat, filtered and sorted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cached_property

from explorer.analysis import books_of
from explorer.analysis.query import (
    FIELDS,
    LabelColumn,
    Mask,
    Query,
    QueryField,
    Scope,
    TaskIndex,
    TaskRow,
    selected,
    told_columns,
)
from explorer.model import FsStruct, Reference, Snapshot, Task, escape_text, fields_of, task_reference
from explorer.naming import count_kinds
from explorer.tui.views.details import group_reference
from explorer.tui.views.table import Cell, ViewColumn

from .groups import Group, TaskGroups
from .rows import TaskRows

__all__ = ("TaskTable",)

#: Widths and ranks on the screen, by the column's name.
_LAYOUT = {
    "comm": (18, 2, 0),
    "pid": (6, 0, 0),
    "kind": (8, 1, 5),
    "state": (1, 0, 2),
    "fs": (17, 0, 1),
    "users": (6, 0, 1),
    "root": (15, 3, 1),
    "pwd": (8, 4, 4),
    "umask": (5, 0, 6),
    "owner": (8, 0, 7),
    "container": (12, 3, 3),
    "pid_in_namespace": (9, 0, 6),
    "runs": (19, 5, 3),
}
_MOST_NAMED = 4


def _view_columns(columns: tuple[LabelColumn, ...]) -> tuple[ViewColumn, ...]:
    made = []
    for column in columns:
        width, grow, rank = _LAYOUT[column.name]
        made.append(ViewColumn(column.name, column.title, width, grow, column.numeric, rank))
    return tuple(made)


class TaskTable:
    """A :class:`TableSource` of tasks.

    A visible row is an ``int``: a task's place in the snapshot, or ``-1 - code`` for a group's head. Filtering
    and ordering go through :class:`TaskIndex`, and nothing but what is on the screen is ever made into text.
    """

    fields: Mapping[str, QueryField] = FIELDS

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._labels = told_columns(snapshot)
        self.columns = _view_columns(self._labels)
        self.index = TaskIndex(snapshot)
        self.rows = TaskRows(self.index)
        self.grouped = True
        self.sort_column: str | None = None
        self.descending = False
        self.mask: Mask = self.index.everything
        self._filtered = False
        self._toggled: set[int] = set()
        self._groups = TaskGroups(self.index)
        self._visible: list[int] = []
        self._structs = 0
        self._members: dict[int, list[int]] | None = None
        """Of groups with a head, where the tasks are sorted."""
        self._made: dict[int, Group] = {}
        self.marks: Mapping[tuple[str, int | None], str] | None = None
        """(kind, address) -> what changed since the reading before, in one character; ``None``: nothing ever does."""
        self.picked: set[Hashable] = set()
        """The addresses of the tasks that the user has marked."""
        self._lay_out()

    @cached_property
    def _addresses(self) -> list[int]:
        """By place: the keys of the rows."""
        [addresses] = fields_of(self.snapshot.tasks, "address")
        return addresses

    # -- what is shown ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._visible)

    @property
    def first_match(self) -> int:
        return 0

    @property
    def matching(self) -> int:
        """Tasks that the filter lets through."""
        return self.mask.count(1)

    def matching_tasks(self) -> list[Task]:
        """The tasks that the filter lets through, in the order in which they are shown; closed groups opened."""
        if not self.grouped:
            return [self.snapshot.tasks[place] for place in self._visible]
        places: list[int] = []
        inside = 0
        for row in self._visible:
            if row < 0:
                members = self._members_of(-1 - row)
                places += members
                inside = len(members) if self.is_open(-1 - row) else 0
            elif inside:
                inside -= 1
            else:
                places.append(row)
        return [self.snapshot.tasks[place] for place in places]

    @property
    def groups_shown(self) -> int:
        """fs_structs with a task that the filter lets through; exited tasks count for none."""
        return self._structs if self.grouped else self._groups.count_structs(self.mask)

    def counts(self) -> str:
        """``59 of 84 tasks · 2 fs_structs``."""
        total, matching, structs = len(self.rows), self.matching, self.groups_shown
        tasks = total if matching == total else f"{matching} of {total}"
        return f"{tasks} tasks · {structs} fs_struct{'' if structs == 1 else 's'}"

    def set_filter(self, query: Query | None) -> None:
        """Show only tasks that match; ``None``: all."""
        self._filtered = query is not None
        self._toggled.clear()
        self.mask = self.index.everything if query is None else self.index.mask(query.root)
        self._lay_out()

    def set_grouped(self, grouped: bool) -> None:
        self.grouped = grouped
        self._lay_out()

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Order by one of :attr:`columns`; ``None``: as the snapshot has them, worlds first."""
        self.sort_column, self.descending = column, descending
        self._lay_out()

    def _order(self) -> list[int]:
        """The places of all matching tasks, in the order asked for."""
        if self.sort_column is None:
            return selected(self.mask)
        order, mask = self.rows.order(self.sort_column, self.descending), self.mask
        return [place for place in order if mask[place]]

    def _lay_out(self) -> None:
        self._made = {}
        groups = self._groups
        if not self.grouped:
            self._visible, self._members = self._order(), None
        elif self.sort_column is None:
            self._members = None
            self._visible, self._structs = groups.lay_out(self.mask, self.is_open)
        else:
            laid_out = groups.lay_out_sorted(self._order(), self.is_open)
            self._visible, self._structs, self._members = laid_out

    # -- groups ----------------------------------------------------------------------------------------------

    def is_open(self, code: int) -> bool:
        """Whether a group shows its members: at first only under a filter."""
        return self._filtered != (code in self._toggled)

    def group_at(self, index: int) -> Group | None:
        """The group whose head a visible row is."""
        code = -1 - self._visible[index]
        if code < 0:
            return None
        if code not in self._made:
            self._made[code] = self._groups.make(code, self._members_of(code))
        return self._made[code]

    def _members_of(self, code: int) -> list[int]:
        """The places of a group's tasks that the filter lets through, in the order in which they are shown."""
        return self._groups.members(code, self.mask) if self._members is None else self._members[code]

    def row_at(self, index: int) -> TaskRow | None:
        """The task that a visible row is; ``None`` for a group's head."""
        row = self._visible[index]
        return self.rows[row] if row >= 0 else None

    def mark(self, index: int) -> str:
        """A group's head is marked for its ``fs_struct``, and for any of its tasks."""
        marks, tasks, group = self.marks, self.snapshot.tasks, self.group_at(index)
        if not marks:
            return ""
        if group is None:
            return marks.get(("task", tasks[self._visible[index]].address), "")
        own = "" if group.fs is None else marks.get(("fs_struct", group.fs.address), "")
        inside = any(("task", tasks[place].address) in marks for place in group.members)
        return own or ("~" if inside else "")

    def resemble(self, old: TaskTable) -> None:
        """Be grouped and sorted as another table was, and open where it was open."""
        self.grouped = old.grouped
        codes = {address: code for code, address in enumerate(self.index.fs.values)}
        toggled = (codes.get(old.index.fs.values[code]) for code in old._toggled)
        self._toggled = {code for code in toggled if code is not None}
        known = {column.name for column in self.columns}
        self.sort_by(old.sort_column if old.sort_column in known else None, old.descending)

    def toggle(self, index: int) -> bool:
        """Open or close the group at a visible row. False: it is none."""
        group = self.group_at(index)
        if group is None:
            return False
        self._toggled ^= {group.code}
        self._lay_out()
        return True

    def open_all(self, opened: bool) -> None:
        """Open, or close, every group."""
        self._toggled = set(self._groups.codes) if opened != self._filtered else set()
        self._lay_out()

    def values_of(self, name: str) -> Sequence[str]:
        return self.index.offers(name)

    def warm_up(self, between: Callable[[], None]) -> None:
        self.index.warm_up(between)

    # -- marks of the user -----------------------------------------------------------------------------------

    def keys_at(self, index: int) -> Collection[Hashable]:
        group = self.group_at(index)
        if group is None:
            return (self.snapshot.tasks[self._visible[index]].address,)
        if group.keys is None:
            group.keys = frozenset(map(self._addresses.__getitem__, group.members))
        return group.keys

    def is_picked(self, index: int) -> bool:
        """A group's head, which may stand for half of all tasks, is asked at every frame."""
        if not self.picked:
            return False
        group = self.group_at(index)
        place = self._visible[index] if group is None else group.members[0]
        if self.snapshot.tasks[place].address not in self.picked:
            return False
        return group is None or self.picked.issuperset(self.keys_at(index))

    def all_keys(self) -> Collection[Hashable]:
        return list(map(self._addresses.__getitem__, selected(self.mask)))

    def picked_records(self) -> list[TaskRow]:
        column = self.sort_column
        places = range(len(self.rows)) if column is None else self.rows.order(column, self.descending)
        addresses = self._addresses
        return (
            [self.rows[place] for place in places if addresses[place] in self.picked] if self.picked else []
        )

    def keep_picked(self, picked: set[Hashable]) -> None:
        self.picked = picked.intersection(self._addresses) if picked else set()

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
        if reference.kind == "fs_struct":
            return self._find_fs(reference.address)
        place = self.rows.place_of(reference.address) if reference.kind == "task" else None
        if place is None or not self.mask[place]:
            return None
        code = self.index.fs.codes[place]
        closed = self.grouped and self._groups.is_many(code) and not self.is_open(code)
        return self._head(code) if closed else self._visible.index(place)

    def _head(self, code: int) -> int | None:
        return self._visible.index(-1 - code) if -1 - code in self._visible else None

    def _find_fs(self, address: int | None) -> int | None:
        if address is None or address not in self.snapshot.sharers_by_fs:
            return None
        code = self.index.fs.values.index(address)
        head = self._head(code)
        if head is not None:
            return head
        codes = self.index.fs.codes
        matches = (at for at, row in enumerate(self._visible) if row >= 0 and codes[row] == code)
        return next(matches, None)

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
        place = self._visible[index]
        inside = self.grouped and self._groups.is_many(self.index.fs.codes[place])
        row = self.rows[place]
        return [self._cell(column, row, inside) for column in self._labels]

    def cells_of(self, record: TaskRow) -> list[Cell]:
        return [self._cell(column, record, False) for column in self._labels]

    def _cell(self, column: LabelColumn, row: TaskRow, inside: bool) -> Cell:
        if inside and column.scope is Scope.FS:
            return Cell("")
        text = column.text(row)
        if column.name == "comm" and self.grouped:
            return Cell(("   " if inside else "  ") + text)
        if column.name == "users":
            return Cell(text, _books_tone(row.fs, self.snapshot))
        if column.name == "runs":
            return Cell(text, "warn" if row.task.borrowing else "muted")
        return Cell(text, "muted" if column.name in ("owner", "umask", "fs") else "")

    @cached_property
    def _borrowers(self) -> list[int]:
        column = self.index.column("borrowing")
        return selected(column.spread([bool(value) for value in column.values]))

    def _who(self, group: Group) -> str:
        kinds = self.index.column("kind")
        who = count_kinds(kinds.values[kinds.codes[place]] for place in group.members)
        codes, mask = self.index.fs.codes, self.mask
        borrowers = [place for place in self._borrowers if codes[place] == group.code and mask[place]]
        if borrowers:
            names = [escape_text(self.snapshot.tasks[place].name) for place in borrowers[:_MOST_NAMED]]
            who += f"; ▶ borrowing: {', '.join(names)}"
        return who

    def _group_cells(self, group: Group) -> list[Cell]:
        total = self._groups.size(group.code)
        mark = "▾" if self.is_open(group.code) else "▸"
        count = str(total) if len(group.members) == total else f"{len(group.members)}/{total}"
        if group.who is None:
            group.who = self._who(group)
        head = {"comm": f"{mark} {group.world.value}", "pid": f"×{count}", "runs": group.who}
        sample = TaskRow(self.snapshot.tasks[group.members[0]], group.fs, self.snapshot)
        cells = []
        for column in self._labels:
            if column.name in head:
                copied = group.world.value if column.name == "comm" else None
                cells.append(Cell(head[column.name], "group", copied))
            elif column.name == "users":
                cells.append(Cell(column.text(sample), _books_tone(group.fs, self.snapshot) or "group"))
            elif column.scope is Scope.FS or column.name == "owner":
                cells.append(Cell(column.text(sample), "group"))
            else:
                cells.append(Cell("", "group"))
        return cells


def _books_tone(fs: FsStruct | None, snapshot: Snapshot) -> str:
    return "bad" if fs is not None and books_of(fs, snapshot).differ else ""
