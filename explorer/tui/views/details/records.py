"""The smaller tables, such as that of fs_structs. Rows are made into text only when they are shown."""

from __future__ import annotations

from explorer.analysis import books_of, fs_structs_by_world
from explorer.analysis.query import FieldType
from explorer.model import FsStruct, Snapshot, escape_text, known
from explorer.naming import count_kinds, fs_label, name_label, path_label, pwd_label
from explorer.tui.views.table import Cell, ViewColumn

from .facts import group_reference
from .record_table import ColumnValue, RecordTable

__all__ = ("SEVERITY_TONES", "fs_table")

_FEW = 4

#: Worst first.
SEVERITY_TONES = {"critical": "critical", "high": "bad", "medium": "warn", "low": "", "info": "muted"}


def fs_table(snapshot: Snapshot) -> RecordTable[tuple[str, FsStruct]]:
    """Every fs_struct, world by world, the well-known ones first."""
    columns = (
        ViewColumn("placement", "PLACEMENT", 17, rank=2),
        ViewColumn("fs", "FS_STRUCT", 17),
        ViewColumn("users", "USERS", 6),
        ViewColumn("root", "ROOT", 14, 2),
        ViewColumn("pwd", "PWD", 8, 2, rank=3),
        ViewColumn("umask", "UMASK", 5, rank=4),
        ViewColumn("who", "HELD BY", 16, 3, rank=1),
    )
    names = (snapshot.kernel.init_fs, snapshot.kernel.userspace_init_fs)
    records = []
    for inside in fs_structs_by_world(snapshot).values():
        ordered = sorted(inside, key=lambda fs: (fs.address not in names, -fs.sharers, fs.address))
        records += [(known(None if fs.root is None else fs.root.placement), fs) for fs in ordered]

    def cells(record: tuple[str, FsStruct]) -> list[Cell]:
        placement, fs = record
        books = books_of(fs, snapshot)
        return [
            Cell(placement),
            Cell(fs_label(fs.address, snapshot)),
            Cell(books.label, "bad" if books.differ else ""),
            Cell(path_label(fs.root, snapshot)),
            Cell(pwd_label(fs, snapshot)),
            Cell(escape_text(fs.umask or "?")),
            Cell(_holders(fs, snapshot)),
        ]

    return RecordTable(
        columns,
        records,
        cells,
        lambda record: group_reference(record[1], snapshot),
        {"users": ColumnValue(FieldType.NUMBER, lambda record: record[1].users)},
    )


def _holders(fs: FsStruct, snapshot: Snapshot) -> str:
    tasks = snapshot.sharers_by_fs.get(fs.address, [])
    if not tasks:
        return "nobody found"
    if len(tasks) <= _FEW:
        return ", ".join(map(name_label, tasks))
    return count_kinds(task.kind for task in tasks)
