"""Who holds a mount or a namespace, as lines of its detail."""

from __future__ import annotations

from explorer.analysis import holder_words, unexplained_words, use_words
from explorer.model import (
    Holder,
    HolderKind,
    MountHolders,
    MountNamespace,
    Reference,
    Snapshot,
    known,
    mount_reference,
    task_name,
    task_reference,
)
from explorer.naming import count

from .facts import MAX_LINKS, Detail

__all__ = ("add_books", "add_holders", "add_namespace_holders")


def add_books(detail: Detail, holders: MountHolders) -> None:
    """The mount's own count against the holders that were found."""
    left = unexplained_words(holders)
    found = count(len(holders.holders), "holder")
    if holders.count is None:
        detail.add("references", f"not readable; {found} found", tone="warn")
    elif holders.count < len(holders.holders):
        detail.add("references", f"{holders.count} < {found}: the books do not balance", tone="bad")
    elif left:
        detail.add("references", f"{holders.count} = {found} + {left}", tone="warn")
    else:
        detail.add("references", f"{holders.count} = {found}")
    if holders.missing is not None:
        detail.add("not read", f"there may be more holders: {holders.missing}", tone="warn")


def add_namespace_holders(detail: Detail, namespace: MountNamespace, snapshot: Snapshot) -> None:
    """Of a namespace that no task is in; but for the mounts that pin it, which have lines of their own."""
    holders = namespace.holders or []
    detail.add("tasks", f"none: it lives on for {count(len(holders), 'holder')}", tone="warn")
    detail.add("references", known(namespace.count))
    rest = [
        holder
        for holder in holders
        if holder.kind is not HolderKind.MOUNT or holder.address not in snapshot.mount_by_address
    ]
    add_holders(detail, rest, snapshot)


def add_holders(detail: Detail, holders: list[Holder], snapshot: Snapshot) -> None:
    """A line for every task by which a reference was found."""
    room = MAX_LINKS
    for holder in holders:
        for text, target in _lines(holder, snapshot):
            room -= 1
            if room >= 0:
                detail.add("held by", text, target)
    if room < 0:
        detail.add("held by", f"and {-room} more", tone="muted")


def _lines(holder: Holder, snapshot: Snapshot) -> list[tuple[str, Reference | None]]:
    """A line for every use; of a holder without tasks one line."""
    path = "" if holder.path is None else f"  {holder.path}"
    if not holder.uses:
        mount = snapshot.mount_by_address.get(holder.address)
        return [
            (f"{holder_words(holder, snapshot)}{path}", None if mount is None else mount_reference(mount))
        ]
    lines = []
    for use in holder.uses:
        task = snapshot.task_by_address.get(use.task)
        who = "a task that is not in this snapshot" if task is None else task_name(task)
        lines.append(
            (f"{who}  {use_words(holder, use)}{path}", None if task is None else task_reference(task))
        )
    return lines
