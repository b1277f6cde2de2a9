"""Mounts in the order of their tree, all or some of them: a row each, with what mountinfo says and what keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.analysis.mounts import (
    Keepers,
    Kept,
    MountRow,
    flag_names,
    incomplete_words,
    is_of_source,
    mount_rows,
    mounts_of_source,
    near_sources,
    option_words,
    propagation_words,
    where_words,
)
from explorer.model import (
    Attachment,
    KernelInt,
    KernelText,
    Mount,
    MountNamespace,
    Snapshot,
    escape_text,
    hex_address,
    known,
    mount_name,
    namespace_name,
)
from explorer.naming import count, join_first
from explorer.output.rows import RowSet
from explorer.output.table import Table, TableColumn
from explorer.output.tasks import render_summary
from explorer.wire import PROGRAM

from .listing import Listing

__all__ = ("MountRecord", "mounts_listing")

_COLUMNS = (
    TableColumn("MNT_NS"),
    TableColumn("MOUNT", least=12),
    TableColumn("MOUNTPOINT", least=10),
    TableColumn("STACKED", rank=1),
    TableColumn("SOURCE", least=6, rank=3),
    TableColumn("BIND ROOT", least=4, rank=5),
    TableColumn("OPTIONS", least=8, rank=4),
    TableColumn("PROPAGATION", rank=6),
    TableColumn("ROOT OF", numeric=True, rank=2),
)
#: Who still holds a source is another question than what there is.
_SOURCE_COLUMNS = (
    TableColumn("MNT_NS"),
    TableColumn("MOUNT", least=8),
    TableColumn("MOUNTPOINT", least=10),
    TableColumn("BIND ROOT", least=4, rank=2),
    TableColumn("OPTIONS", least=4, rank=1),
    TableColumn("KEPT BY", least=24),
)
_CSV = (
    "mnt_ns", "id", "unique_id", "parent", "fstype", "mountpoint", "source", "dev", "root", "options", "flags",
    "propagation", "attachment", "over", "hidden", "root_of", "kept_by", "holders_read", "address",
)  # fmt: skip


#: A device that no mount is of can be busy all the same.
_NOT_LOOKED_FOR = (
    "What uses a device without a mount is not looked for: an open device, swap, a device on top of it."
)


class MountRecord(Mount):
    """A mount as a snapshot has it, and what follows from the rest of the snapshot."""

    mnt_ns_inum: KernelInt | None
    flag_names: list[str] | None
    """The bits of ``flags``."""
    over: bool
    """It covers the mount that it is on."""
    root_of: KernelInt
    """Tasks with their root on it."""
    kept_by: list[KernelText]
    """What keeps it, in words; without files, programs, mappings and sockets where ``holders_read`` is false."""
    holders_read: bool


@dataclass(frozen=True, slots=True)
class _Found:
    row: MountRow
    mount: Mount
    kept: Kept
    root_of: int


def mounts_listing(
    snapshot: Snapshot, name: str, namespace: MountNamespace | None = None, source: str | None = None
) -> Listing:
    """The mounts of a snapshot, of one of its namespaces, of a source, or of both.

    :param name: of the target
    """
    keepers = Keepers(snapshot)
    rows = mount_rows(snapshot, namespace)
    if source is not None:
        wanted = {mount.address for mount in mounts_of_source(source, snapshot)}
        rows = [row for row in rows if row.mount is not None and row.mount.address in wanted]
    found = [
        _Found(row, row.mount, keepers.of(row.mount), keepers.rooted(row.mount))
        for row in rows
        if row.mount is not None
    ]
    inside = "" if namespace is None else f" in {namespace_name(namespace)}"
    asked = ([] if namespace is None else [f"namespace:{known(namespace.inum)}"]) + (
        [] if source is None else [f"source:{source}"]
    )
    summary = render_summary(snapshot, name)
    if source is None:
        summary.append(f"{count(len(found), 'mount')}{inside}.")
        table = Table(_COLUMNS, [_cells(each, snapshot) for each in found])
    else:
        summary += [escape_text(line) for line in _source_words(found, source, inside, snapshot)]
        table = Table(_SOURCE_COLUMNS, [_source_cells(each, snapshot) for each in found])
    missing = incomplete_words(snapshot)
    if missing is not None:
        summary.append(escape_text(f"There may be more: {missing}."))
    records = [_record(each, snapshot) for each in found]
    csv = [_csv(each, snapshot) for each in found]
    rowset = RowSet("mounts", snapshot, " ".join(asked), records, _CSV, csv)
    return Listing("Mounts", summary, table, rowset, [] if source is None else _source_notes(found))


def _cells(found: _Found, snapshot: Snapshot) -> list[str]:
    mount, row = found.mount, found.row
    return [
        where_words(mount, snapshot),
        "  " * (row.depth - 1) + escape_text(mount_name(mount)),
        escape_text(known(mount.mountpoint)),
        row.stacked,
        escape_text(known(mount.source)),
        escape_text(known(mount.root)),
        known(option_words(mount)),
        known(propagation_words(mount)),
        str(found.root_of or ""),
    ]


def _source_cells(found: _Found, snapshot: Snapshot) -> list[str]:
    mount = found.mount
    return [
        where_words(mount, snapshot),
        escape_text(mount_name(mount)),
        escape_text(known(mount.mountpoint)),
        escape_text(known(mount.root)),
        known(option_words(mount)),
        escape_text(join_first(found.kept.words) if found.kept.words else "nobody that was found"),
    ]


def _source_words(found: list[_Found], source: str, inside: str, snapshot: Snapshot) -> list[KernelText]:
    """How many mounts a source is behind, and in how many namespaces."""
    if not found:
        near = near_sources(source, snapshot)
        meant = f" Sources that are there: {', '.join(near)}." if near else ""
        return [f"No mount{inside} has the source {source}.{meant}", _NOT_LOOKED_FOR]
    mounts = [each.mount for each in found]
    namespaces = {mount.mnt_ns for mount in mounts if mount.attachment is Attachment.NAMESPACE}
    outside = sum(mount.attachment is not Attachment.NAMESPACE for mount in mounts)
    devices = sorted({mount.dev for mount in mounts if mount.dev is not None})
    device = f" ({devices[0]})" if len(devices) == 1 and devices[0] != source else ""
    where = f"in {count(len(namespaces), 'namespace')}" if namespaces else "in no namespace"
    if namespaces and outside:
        where = f"{len(found) - outside} {where}, {outside} in none"
    lines = [f"{count(len(found), 'mount')} of {source}{device}{inside or f', {where}'}."]
    others = sum(not is_of_source(mount, source) for mount in mounts)
    if others:
        lines.append(f"{others} of them under another name: they are of the same filesystem.")
    return lines


def _source_notes(found: list[_Found]) -> list[str]:
    """What is not known of who keeps these mounts, and what tells it."""
    unread = [each.mount for each in found if not each.kept.was_read]
    if not unread:
        return []
    first = known(unread[0].id)
    return [
        f"Open files, programs, mappings and sockets on {count(len(unread), 'mount')} of these were not read: "
        f"{PROGRAM} holders TARGET {first} does, on the kernel itself or its dump."
    ]


def _csv(found: _Found, snapshot: Snapshot) -> list[str]:
    mount, row = found.mount, found.row
    namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
    parent = snapshot.mount_by_address.get(mount.parent or 0)
    values = (
        None if namespace is None else namespace.inum,
        mount.id,
        mount.unique_id,
        None if parent is None else parent.id,
        mount.fstype,
        mount.mountpoint,
        mount.source,
        mount.dev,
        mount.root,
        option_words(mount),
        None if mount.flags is None else " ".join(flag_names(mount.flags)),
        propagation_words(mount),
        mount.attachment,
        "yes" if row.over else "no",
        "yes" if mount.overmount is not None else "no",
        found.root_of,
        "; ".join(found.kept.words),
        "yes" if found.kept.was_read else "no",
        hex_address(mount.address),
    )
    return ["" if value is None else escape_text(str(value)) for value in values]


def _record(found: _Found, snapshot: Snapshot) -> MountRecord:
    mount = found.mount
    namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
    return MountRecord.build(
        {
            **vars(mount),
            "mnt_ns_inum": None if namespace is None else namespace.inum,
            "flag_names": None if mount.flags is None else flag_names(mount.flags),
            "over": found.row.over,
            "root_of": found.root_of,
            "kept_by": found.kept.words,
            "holders_read": found.kept.was_read,
        }
    )
