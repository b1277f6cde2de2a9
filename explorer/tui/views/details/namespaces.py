"""A mount namespace as a detail: who keeps it, what lies on its ``/``, its tasks and its mounts."""

from __future__ import annotations

from explorer.analysis.mounts import holders_through, namespace_facts
from explorer.model import MountNamespace, Snapshot, hex_address, known, mount_name, mount_reference
from explorer.naming import count

from .facts import MAX_LINKS, Detail
from .holders import add_holders, add_namespace_holders

__all__ = ("add_namespace",)


def add_namespace(detail: Detail, namespace: MountNamespace, snapshot: Snapshot) -> None:
    """Everything about it, what keeps it first."""
    facts = namespace_facts(namespace, snapshot)
    mounts = [mount for mount in snapshot.mounts if mount.mnt_ns == namespace.address]
    if facts.is_initial:
        detail.add("initial", "yes: init_mnt_ns")
    if namespace.anonymous:
        detail.add("anonymous", "yes: made by fsmount() or open_tree(), held by the files on its mounts")
        add_holders(detail, holders_through(mounts), snapshot)
    elif namespace.holders is not None:
        add_namespace_holders(detail, namespace, snapshot)
    else:
        detail.add("tasks", facts.nr_tasks if facts.tasks else f"{facts.nr_tasks}: {facts.kept_by}")
    for mount in facts.pins:
        detail.add("pinned by", f"{mount_name(mount)} on {mount.mountpoint or '?'}", mount_reference(mount))
    depth = "not all could be read" if facts.depth is None else f"{count(facts.depth, 'mount')} deep"
    detail.add("/", depth, tone="warn" if facts.depth is None else "")
    for mount in reversed(facts.stack):
        words = "visible root" if mount is facts.visible_root else "below it"
        bottom = ", root" if mount.address == namespace.root else ""
        source = "" if mount.source is None else f"  {mount.source}"
        detail.add(f"{words}{bottom}", f"{mount_name(mount)}{source}", mount_reference(mount))
    detail.add("mounts", known(namespace.nr_mounts))
    detail.add("address", hex_address(namespace.address))
    detail.add_tasks("task", facts.tasks)
    for mount in mounts[:MAX_LINKS]:
        detail.add("mount", f"{mount_name(mount)}  {mount.mountpoint or '?'}", mount_reference(mount))
    if len(mounts) > MAX_LINKS:
        detail.add("mount", f"and {len(mounts) - MAX_LINKS} more", tone="muted")
