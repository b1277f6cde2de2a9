"""The smaller tables: fs_structs, findings. Rows are made into text only when they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from explorer.analysis import Worlds, books_of
from explorer.model import Finding, FsStruct, Reference, Snapshot, escape_text, known
from explorer.naming import count_kinds, fs_label, name_label, path_label, pwd_label
from explorer.tui.views.table import Cell, ViewColumn

from .facts import group_reference

__all__ = ("SEVERITY_TONES", "RecordTable", "findings_table", "fs_table")

T = TypeVar("T")
_FEW = 4

SEVERITY_TONES = {"critical": "bad", "high": "bad", "medium": "warn", "low": "warn", "info": "muted"}


class RecordTable(Generic[T]):
    """A :class:`~explorer.tui.views.table.TableSource` over a list."""

    def __init__(
        self,
        columns: Sequence[ViewColumn],
        records: Sequence[T],
        cells: Callable[[T], Sequence[Cell]],
        reference: Callable[[T], Reference | None],
    ) -> None:
        self.columns = columns
        self.records = records
        self._cells = cells
        self._reference = reference
        self.marks: Mapping[tuple[str, int | None], str] | None = None
        """(kind, address) -> what changed since the reading before, in one character; ``None``: nothing ever does."""

    def __len__(self) -> int:
        return len(self.records)

    def cells(self, index: int) -> Sequence[Cell]:
        return self._cells(self.records[index])

    def mark(self, index: int) -> str:
        own = self._reference(self.records[index])
        return "" if own is None or not self.marks else self.marks.get((own.kind, own.address), "")

    def reference_at(self, index: int) -> Reference | None:
        return self._reference(self.records[index])

    def find(self, reference: Reference) -> int | None:
        """The row of an object, by kind and address."""
        for index, record in enumerate(self.records):
            own = self._reference(record)
            if own is None or (own.kind, own.address) != (reference.kind, reference.address):
                continue
            if own.address is not None or own.label == reference.label:
                return index
        return None


def fs_table(snapshot: Snapshot, worlds: Worlds) -> RecordTable[tuple[str, FsStruct]]:
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
    for world in worlds.worlds.values():
        ordered = sorted(world.fs_structs, key=lambda fs: (fs.address not in names, -fs.sharers, fs.address))
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

    return RecordTable(columns, records, cells, lambda record: group_reference(record[1], snapshot))


def _holders(fs: FsStruct, snapshot: Snapshot) -> str:
    tasks = snapshot.sharers_by_fs.get(fs.address, [])
    if not tasks:
        return "nobody found"
    if len(tasks) <= _FEW:
        return ", ".join(map(name_label, tasks))
    return count_kinds(task.kind for task in tasks)


def findings_table(findings: Sequence[Finding]) -> RecordTable[Finding]:
    """Findings, worst first. A row leads to its first piece of evidence."""
    columns = (
        ViewColumn("severity", "SEVERITY", 8),
        ViewColumn("title", "FINDING", 50, 1),
        ViewColumn("rule", "RULE", 24, rank=1),
    )

    def cells(finding: Finding) -> list[Cell]:
        tone = SEVERITY_TONES[finding.severity.value]
        return [
            Cell(finding.severity.value, tone),
            Cell(escape_text(finding.title)),
            Cell(escape_text(finding.rule), "muted"),
        ]

    def first(finding: Finding) -> Reference | None:
        return finding.evidence[0] if finding.evidence else None

    return RecordTable(columns, findings, cells, first)
