"""Every mount namespace: who is in it or keeps it, how many mounts it has, and what lies on its ``/``."""

from __future__ import annotations

from explorer.analysis.mounts import NamespaceFacts, incomplete_words, list_namespaces
from explorer.model import (
    Address,
    KernelInt,
    KernelText,
    Mount,
    MountNamespace,
    Snapshot,
    escape_text,
    hex_address,
    known,
    mount_name,
)
from explorer.naming import count
from explorer.output.rows import RowSet
from explorer.output.table import Table, TableColumn
from explorer.output.tasks import render_summary

from .listing import Listing

__all__ = ("NamespaceRecord", "namespaces_listing")

_COLUMNS = (
    TableColumn("MNT_NS"),
    TableColumn("TASKS", numeric=True),
    TableColumn("MOUNTS", numeric=True, rank=2),
    TableColumn("DEPTH", numeric=True, rank=1),
    TableColumn("ROOT", least=10),
    TableColumn("KEPT BY", least=16),
)
_CSV = (
    "inum", "address", "initial", "anonymous", "tasks", "mounts", "depth", "root_fstype", "root_mount_id",
    "root_source", "kept_by",
)  # fmt: skip


class NamespaceRecord(MountNamespace):
    """A namespace as a snapshot has it, and what follows from the rest of the snapshot."""

    initial: bool
    """It is ``init_mnt_ns``."""
    depth: KernelInt | None
    """How many mounts lie on its ``/``, one over the other."""
    stack: list[Address]
    """Those, from the bottom, as far as they could be read."""
    pids: list[KernelInt]
    """Of the tasks found in it."""
    pins: list[Address]
    """Mounts of nsfs that keep it."""
    kept_by: list[KernelText]
    """What keeps it where no task is in it, in words."""


def namespaces_listing(snapshot: Snapshot, name: str) -> Listing:
    """All namespaces of a snapshot. :param name: of the target"""
    found = list_namespaces(snapshot)
    lone = sum(facts.namespace.nr_tasks == 0 and not facts.namespace.anonymous for facts in found)
    anonymous = sum(bool(facts.namespace.anonymous) for facts in found)
    parts = [count(len(found), "mount namespace")]
    parts += [f"{lone} without a task"] if lone else []
    parts += [f"{anonymous} anonymous"] if anonymous else []
    summary = [*render_summary(snapshot, name), f"{', '.join(parts)}."]
    missing = incomplete_words(snapshot)
    if missing is not None:
        summary.append(escape_text(f"There may be more that no task is in: {missing}."))
    return Listing(
        "Mount namespaces",
        summary,
        Table(_COLUMNS, [_cells(facts) for facts in found]),
        RowSet(
            "mount_namespaces",
            snapshot,
            "",
            [_record(facts) for facts in found],
            _CSV,
            [_csv(facts) for facts in found],
        ),
    )


def _cells(facts: NamespaceFacts) -> list[str]:
    namespace, root = facts.namespace, facts.visible_root
    return [
        known(namespace.inum),
        facts.nr_tasks,
        known(namespace.nr_mounts),
        known(facts.depth),
        "?" if root is None else escape_text(_root(root)),
        escape_text(facts.kept_by),
    ]


def _root(mount: Mount) -> KernelText:
    """The filesystem that is ``/``, and its source where that says more."""
    is_said = mount.source in (None, "", mount.fstype)
    return mount_name(mount) if is_said else f"{mount_name(mount)} ({mount.source})"


def _csv(facts: NamespaceFacts) -> list[str]:
    namespace, root = facts.namespace, facts.visible_root
    values = (
        namespace.inum,
        hex_address(namespace.address),
        "yes" if facts.is_initial else "no",
        None if namespace.anonymous is None else "yes" if namespace.anonymous else "no",
        namespace.nr_tasks,
        namespace.nr_mounts,
        facts.depth,
        *((None, None, None) if root is None else (root.fstype, root.id, root.source)),
        facts.kept_by,
    )
    return ["" if value is None else escape_text(str(value)) for value in values]


def _record(facts: NamespaceFacts) -> NamespaceRecord:
    return NamespaceRecord.build(
        {
            **vars(facts.namespace),
            "initial": facts.is_initial,
            "depth": facts.depth,
            "stack": [mount.address for mount in facts.stack],
            "pids": sorted(task.pid for task in facts.tasks),
            "pins": [mount.address for mount in facts.pins],
            "kept_by": facts.keepers,
        }
    )
