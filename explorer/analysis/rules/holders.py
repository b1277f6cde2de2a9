"""Rules about who holds what nobody sees: mounts that were unmounted, and namespaces without tasks."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.holders import (
    UNEXPLAINED,
    holder_tasks,
    list_holders,
    namespace_keepers,
    unexplained_words,
)
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import (
    Attachment,
    HolderKind,
    Mount,
    MountHolders,
    Reference,
    Severity,
    Snapshot,
    mount_name,
    mount_reference,
    namespace_name,
    namespace_reference,
    task_reference,
)
from explorer.naming import count, join_first

__all__ = ("RULES",)

_PLACES = (HolderKind.ROOT, HolderKind.PWD)


def _held(snapshot: Snapshot) -> Iterator[tuple[Mount, MountHolders]]:
    for mount in snapshot.mounts:
        if mount.holders is not None:
            yield mount, mount.holders


def _evidence(mount: Mount, holders: MountHolders, snapshot: Snapshot) -> list[Reference]:
    tasks = {task.address: task for holder in holders.holders for task in holder_tasks(holder, snapshot)}
    return [*map(task_reference, tasks.values()), mount_reference(mount)]


def _find_held(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for mount, holders in _held(snapshot):
        if mount.attachment is not Attachment.DETACHED or any(
            holder.kind in _PLACES for holder in holders.holders
        ):
            continue  # the rules about roots and working directories say who else holds it
        lasting = [holder for holder in holders.holders if holder.kind is not HolderKind.UMOUNT]
        phrases = list_holders(lasting, snapshot)
        left = unexplained_words(holders)
        if not phrases and not left:
            continue  # it is on its way out
        source = "" if mount.source is None else f" ({mount.source})"
        words = join_first([left, *phrases] if left else phrases)
        yield Case(
            f"{mount_name(mount)}{source} was unmounted lazily and lives on for {words}",
            _evidence(mount, holders, snapshot),
            Severity.LOW if phrases else Severity.INFO,
            None
            if phrases
            else f"Nobody is known to hold it. {UNEXPLAINED}"
            + (f" And not all could be read: {holders.missing}." if holders.missing else ""),
            None if phrases else "Nothing, if it goes away by itself: the kernel may be about to free it.",
        )


def _find_wrong_counts(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    if not snapshot.capture.consistent:
        return  # it changed while it was read
    for mount, holders in _held(snapshot):
        left = holders.unexplained
        if left is not None and left < 0:
            yield Case(
                f"{mount_name(mount)} counts {count(holders.count or 0, 'reference')}, and has "
                f"{count(len(holders.holders), 'holder')}",
                _evidence(mount, holders, snapshot),
            )


def _find_lone_namespaces(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for namespace in snapshot.mount_namespaces:
        if namespace.holders is None or namespace.nr_tasks:
            continue
        phrases = namespace_keepers(namespace, snapshot)
        words = join_first(phrases) if phrases else "a reference that nobody was found for"
        mounts = "mounts" if namespace.nr_mounts is None else count(namespace.nr_mounts, "mount")
        tasks = [task for holder in namespace.holders for task in holder_tasks(holder, snapshot)]
        yield Case(
            f"no task is in {namespace_name(namespace)} ({mounts}), which lives on for {words}",
            [*map(task_reference, tasks), namespace_reference(namespace)],
        )


RULES = (
    Rule(
        id="NX-MOUNT-COUNT",
        severity=Severity.HIGH,
        title="A mount has more holders than references",
        explanation="Each of them will drop a reference that it does not have: the mount is freed while it is in use. "
        "Somebody has put a mount or a path that was not theirs.",
        advice="Look at what last ran on that filesystem, out-of-tree modules first. Take a dump before it crashes.",
        find=_find_wrong_counts,
    ),
    Rule(
        id="NX-MOUNT-HELD",
        severity=Severity.LOW,
        title="A mount that was unmounted lazily is held by files",
        explanation="umount -l took the mount out of the tree, and open files, programs that run, mappings or sockets "
        "keep it: the filesystem, its disk or its server stay busy though no mount table shows them.",
        advice="Stop who holds it, or have it close the file, if the device or server must be released. "
        "nullfs-explorer holders TARGET MOUNT lists all of them.",
        find=_find_held,
    ),
    Rule(
        id="NX-NS-NO-TASKS",
        severity=Severity.INFO,
        title="No task is in a mount namespace, and something keeps it",
        explanation="A mount of nsfs, a descriptor or an open mountinfo keeps the namespace with all its mounts: their "
        "filesystems stay busy though no process shows them. ip netns, container runtimes and open_tree() do this.",
        advice="Nothing, if it is meant. To release its filesystems: unmount the nsfs mount, or close the descriptor.",
        find=_find_lone_namespaces,
    ),
)
