"""Mounts as a tree per mount namespace, with what is stacked on what visible, and those in no namespace after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from explorer.analysis.query import FieldType
from explorer.model import (
    Attachment,
    Mount,
    MountNamespace,
    Reference,
    Snapshot,
    escape_text,
    known,
    mount_name,
    mount_reference,
)
from explorer.tui.views.details import ColumnValue, RecordTable, namespace_reference

from .table import Cell, ViewColumn

__all__ = ("MountRow", "mount_rows", "mounts_table")

_TITLES = {
    Attachment.DETACHED: "detached: lazily unmounted, kept alive by whoever points at them",
    Attachment.ANONYMOUS: "anonymous: made, and attached nowhere",
    Attachment.INTERNAL: "internal: the kernel's own, in no namespace",
    Attachment.NAMESPACE: "in a namespace that could not be read",
}


@dataclass(frozen=True, slots=True)
class MountRow:
    """A line of the tree: a namespace's or a class's head, or a mount."""

    head: str = ""
    """Escaped."""
    namespace: MountNamespace | None = None
    mount: Mount | None = None
    depth: int = 0
    over: bool = False
    """It is stacked on its parent's root: it hides all of it."""


def mount_rows(snapshot: Snapshot) -> list[MountRow]:
    """All mounts, each once."""
    children: dict[int, list[Mount]] = {}
    for mount in snapshot.mounts:
        if mount.parent is not None:
            children.setdefault(mount.parent, []).append(mount)
    rows: list[MountRow] = []
    seen: set[int] = set()
    init_ns = snapshot.kernel.init_mnt_ns
    for namespace in sorted(snapshot.mount_namespaces, key=lambda ns: (ns.address != init_ns, ns.inum or 0)):
        if namespace.anonymous:
            continue  # its mounts are listed as what they are
        about = (
            "  (init's)"
            if namespace.address == init_ns
            else "  (no task in it)"
            if _is_lone(namespace)
            else ""
        )
        rows.append(MountRow(f"mount namespace {known(namespace.inum)}{about}", namespace))
        root = snapshot.mount_by_address.get(namespace.root or 0)
        if root is not None:
            _add_tree(rows, root, children, seen)
    for attachment, title in _TITLES.items():
        left = [
            mount for mount in snapshot.mounts if mount.address not in seen and mount.attachment is attachment
        ]
        if not left:
            continue
        rows.append(MountRow(title))
        inside = {mount.address for mount in left}
        for mount in [*(m for m in left if m.parent not in inside), *left]:
            _add_tree(rows, mount, children, seen)
    return rows


def _is_lone(namespace: MountNamespace) -> bool:
    return namespace.nr_tasks == 0


def _add_tree(rows: list[MountRow], root: Mount, children: dict[int, list[Mount]], seen: set[int]) -> None:
    """Depth first, the overmount of a mount before its other children."""
    waiting = [(root, 1, False)]
    while waiting:
        mount, depth, over = waiting.pop()
        if mount.address in seen:
            continue
        seen.add(mount.address)
        rows.append(MountRow("", None, mount, depth, over))
        below = sorted(
            children.get(mount.address, []),
            key=lambda child: (child.address != mount.overmount, child.mountpoint or "", child.id),
        )
        for child in reversed(below):
            waiting.append((child, depth + 1, child.address == mount.overmount))


def mounts_table(snapshot: Snapshot) -> RecordTable[MountRow]:
    """The tree as a table, with how many tasks are rooted on each mount."""
    columns = (
        ViewColumn("mount", "MOUNT", 30, 1),
        ViewColumn("point", "MOUNTPOINT", 18, 2),
        ViewColumn("stack", "STACKED", 8, rank=2),
        ViewColumn("tasks", "ROOT OF", 9, rank=1),
        ViewColumn("source", "SOURCE", 10, 1, rank=3),
    )
    rooted: Counter[int] = Counter()
    for fs in snapshot.fs_structs:
        if fs.root is not None:
            rooted[fs.root.mount] += fs.sharers

    def cells(row: MountRow) -> list[Cell]:
        mount = row.mount
        if mount is None:
            return [Cell(row.head, "group"), *[Cell("", "group")] * 4]
        covered = mount.overmount is not None
        name = escape_text(mount_name(mount))
        stacked = " ".join(word for word, true in (("over", row.over), ("hidden", covered)) if true)
        count = rooted[mount.address]
        return [
            Cell("  " * row.depth + ("▲ " if row.over else "") + name, "muted" if covered else ""),
            Cell("?" if mount.mountpoint is None else escape_text(mount.mountpoint)),
            Cell(stacked, "warn" if row.over else "muted"),
            Cell(f"{count} task{'' if count == 1 else 's'}" if count else "", ""),
            Cell(escape_text(mount.source or ""), "muted"),
        ]

    def reference(row: MountRow) -> Reference | None:
        if row.mount is not None:
            return mount_reference(row.mount)
        return None if row.namespace is None else namespace_reference(row.namespace)

    def tasks_rooted(row: MountRow) -> int | None:
        return None if row.mount is None else rooted[row.mount.address]

    rows = mount_rows(snapshot)
    values = {"tasks": ColumnValue(FieldType.NUMBER, tasks_rooted)}
    return RecordTable(columns, rows, cells, reference, values, [row.depth for row in rows])
