"""Mount namespaces, a row each, those without a task among them: who is in one or keeps it, and what its ``/`` is."""

from __future__ import annotations

from explorer.analysis.mounts import NamespaceFacts, list_namespaces
from explorer.analysis.query import FieldType
from explorer.model import Reference, Snapshot, escape_text, known, mount_name, namespace_reference
from explorer.tui.views.details import ColumnValue, RecordTable

from .table import Cell, ViewColumn

__all__ = ("namespaces_table",)

_COLUMNS = (
    ViewColumn("inum", "MNT_NS", 10),
    ViewColumn("tasks", "TASKS", 6, numeric=True),
    ViewColumn("mounts", "MOUNTS", 6, numeric=True, rank=2),
    ViewColumn("depth", "DEPTH", 5, numeric=True, rank=1),
    ViewColumn("root", "ROOT", 14, 1, rank=1),
    ViewColumn("kept", "KEPT BY", 22, 3),
)


def namespaces_table(snapshot: Snapshot) -> RecordTable[NamespaceFacts]:
    """The initial one first, the anonymous ones last."""

    def cells(facts: NamespaceFacts) -> list[Cell]:
        namespace, root = facts.namespace, facts.visible_root
        lone = namespace.nr_tasks == 0
        return [
            Cell(known(namespace.inum)),
            Cell(facts.nr_tasks, "warn" if lone else ""),
            Cell(known(namespace.nr_mounts)),
            Cell(known(facts.depth)),
            Cell("?" if root is None else escape_text(mount_name(root))),
            Cell(escape_text(facts.kept_by), "warn" if lone else ""),
        ]

    def reference(facts: NamespaceFacts) -> Reference:
        return namespace_reference(facts.namespace)

    values = {
        "mounts": ColumnValue(FieldType.NUMBER, lambda facts: facts.namespace.nr_mounts),
        "depth": ColumnValue(FieldType.NUMBER, lambda facts: facts.depth),
    }
    return RecordTable(_COLUMNS, list_namespaces(snapshot), cells, reference, values)
