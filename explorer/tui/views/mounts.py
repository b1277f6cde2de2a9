"""Mounts as a tree per mount namespace, with what is stacked on what visible, and those in no namespace after it."""

from __future__ import annotations

from explorer.analysis.mounts import Keepers, MountRow, mount_rows, option_words, propagation_words
from explorer.analysis.query import FieldType
from explorer.model import (
    MountNamespace,
    Reference,
    Snapshot,
    escape_text,
    known,
    mount_name,
    mount_reference,
    namespace_reference,
)
from explorer.tui.views.details import ColumnValue, RecordTable

from .table import Cell, ViewColumn

__all__ = ("MountRow", "mount_rows", "mounts_table")

_COLUMNS = (
    ViewColumn("mount", "MOUNT", 30, 1),
    ViewColumn("point", "MOUNTPOINT", 18, 2),
    ViewColumn("stack", "STACKED", 8, rank=2),
    ViewColumn("tasks", "ROOT OF", 9, rank=1),
    ViewColumn("source", "SOURCE", 10, 1, rank=3),
    ViewColumn("options", "OPTIONS", 12, 1, rank=4),
    ViewColumn("propagation", "PROPAGATION", 11, rank=5),
    ViewColumn("root", "BIND ROOT", 10, 1, rank=6),
    ViewColumn("attachment", "ATTACHMENT", 10, rank=7),
)


def mounts_table(snapshot: Snapshot, only: MountNamespace | None = None) -> RecordTable[MountRow]:
    """The tree as a table, with how many tasks are rooted on each mount. :param only: this namespace's"""
    keepers = Keepers(snapshot)

    def cells(row: MountRow) -> list[Cell]:
        mount = row.mount
        if mount is None:
            return [Cell(row.head, "group"), *[Cell("", "group")] * (len(_COLUMNS) - 1)]
        covered = mount.overmount is not None
        name = escape_text(mount_name(mount))
        count = keepers.rooted(mount)
        return [
            Cell("  " * row.depth + ("▲ " if row.over else "") + name, "muted" if covered else ""),
            Cell("?" if mount.mountpoint is None else escape_text(mount.mountpoint)),
            Cell(row.stacked, "warn" if row.over else "muted"),
            Cell(f"{count} task{'' if count == 1 else 's'}" if count else "", ""),
            Cell(escape_text(mount.source or ""), "muted"),
            Cell(known(option_words(mount)), "muted"),
            Cell(known(propagation_words(mount)), "muted"),
            Cell(escape_text(known(mount.root)), "muted" if mount.root == "/" else ""),
            Cell(known(mount.attachment), "muted"),
        ]

    def reference(row: MountRow) -> Reference | None:
        if row.mount is not None:
            return mount_reference(row.mount)
        return None if row.namespace is None else namespace_reference(row.namespace)

    def tasks_rooted(row: MountRow) -> int | None:
        return None if row.mount is None else keepers.rooted(row.mount)

    rows = mount_rows(snapshot, only)
    values = {"tasks": ColumnValue(FieldType.NUMBER, tasks_rooted)}
    return RecordTable(_COLUMNS, rows, cells, reference, values, [row.depth for row in rows])
