"""What happened between two readings of a kernel that runs: events for a log, and marks for the rows of tables.

What differs is :mod:`explorer.analysis.diff.contrast`'s to say. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from explorer.model import (
    KERNEL,
    Fact,
    Finding,
    KernelText,
    ObjectChange,
    ObjectState,
    Owner,
    Reference,
    Snapshot,
    TaskChange,
    known,
    mount_reference,
)

from .contrast import Contrast, evidence_of, finding_text, label_reference

__all__ = ("Changes", "EventKind", "HappenedEvent", "find_changes")

Marks = dict[tuple[str, int | None], str]


class EventKind(StrEnum):
    """What happened, in a word or two."""

    APPEARED = "task added"
    GONE = "task gone"
    MOVED_FS = "moved fs"
    ROOT = "root changed"
    PWD = "pwd changed"
    CGROUP = "cgroup changed"
    BORROW_BEGINS = "borrow begins"
    BORROW_ENDS = "borrow ends"
    EXITS = "task exits"
    TASK = "task changed"
    USERS = "users changed"
    FS_NEW = "fs_struct added"
    FS_GONE = "fs_struct gone"
    MOUNTED = "mounted"
    UNMOUNTED = "unmounted"
    MOUNT = "mount changed"
    NAMESPACE = "namespace"
    VERDICT = "verdict changed"
    FINDING_NEW = "finding added"
    FINDING_GONE = "finding gone"
    KERNEL = "kernel changed"
    REBOOT = "another boot"


@dataclass(frozen=True, slots=True)
class HappenedEvent:
    """One thing that is not as it was."""

    kind: EventKind
    text: KernelText
    """Not escaped."""
    reference: Reference | None
    """What it is about; of what is gone, as it was in the reading before."""


@dataclass(slots=True)
class Changes:
    """Between one reading and the next."""

    events: list[HappenedEvent] = field(default_factory=list)
    marks: Marks = field(default_factory=dict)
    """(kind, address) of what is in the second reading -> ``+`` where it is new, ``~`` where it changed."""


def find_changes(
    a: Snapshot, b: Snapshot, before: Sequence[Finding] = (), after: Sequence[Finding] = ()
) -> Changes:
    """What happened from reading ``a`` to reading ``b`` of one target.

    :param before: the findings on ``a``; :param after: those on ``b``
    """
    both = Contrast(a, b, before, after)
    found = Changes()
    if not both.diff.same_boot:
        text = f"this is another boot, or another kernel: Linux {b.kernel.release}; nothing is compared"
        found.events.append(HappenedEvent(EventKind.REBOOT, text, KERNEL))
        return found
    found.events += _verdict(both)
    found.events += [
        HappenedEvent(EventKind.KERNEL, change.text, KERNEL)
        for change in both.diff.kernel
        if change.what is not Fact.PID1_OWNS  # the task's own event says it
    ]
    _tasks(both, found)
    _fs_structs(both, found)
    _mounts(both, found)
    found.events += _findings(both)
    return found


def _text(value: str | None) -> str:
    return "none" if value is None else value


def _verdict(both: Contrast) -> Iterator[HappenedEvent]:
    old, new = both.verdicts
    if old.kind is not new.kind or old.headline != new.headline:
        text = f"{old.headline} → {new.headline}: {new.sentence}"
        yield HappenedEvent(EventKind.VERDICT, text, KERNEL)


# Tasks


_OF_TASK = {
    Fact.ROOT: EventKind.ROOT,
    Fact.PWD: EventKind.PWD,
    Fact.FS_STRUCT: EventKind.MOVED_FS,
    Fact.CGROUP: EventKind.CGROUP,
    Fact.CONTAINER: EventKind.CGROUP,
}


def _tasks(both: Contrast, found: Changes) -> None:
    for label in both.diff.came:
        reference = label_reference(label)
        text = f"{reference.label}, {known(label.kind)}, root {_text(label.root)}"
        found.events.append(HappenedEvent(EventKind.APPEARED, text, reference))
        found.marks["task", label.address] = "+"
    for label in both.diff.went:
        reference = label_reference(label)
        text = f"{reference.label}, {known(label.kind)}, root was {_text(label.root)}"
        found.events.append(HappenedEvent(EventKind.GONE, text, reference))
    for changed in both.diff.changed:
        found.marks["task", changed.after.address] = "~"
        found.events += _task(changed)


def _task(changed: TaskChange) -> Iterator[HappenedEvent]:
    reference = label_reference(changed.after)
    if changed.before.owner is not Owner.NONE and changed.after.owner is Owner.NONE:
        # do_exit() lets go of the fs_struct and the namespaces: that is one thing that happened.
        yield HappenedEvent(
            EventKind.EXITS, f"{reference.label}, root was {_text(changed.before.root)}", reference
        )
        return
    for change in changed.changes:
        if change.what is Fact.BORROWING:
            begins = changed.after.borrowing
            kind = EventKind.BORROW_BEGINS if begins else EventKind.BORROW_ENDS
            text = f"{reference.label} {'looks' if begins else 'looked'} paths up through userspace_init_fs"
        else:
            kind = _OF_TASK.get(change.what, EventKind.TASK)
            text = f"{reference.label}: {change.text}"
        yield HappenedEvent(kind, text, reference)


# fs_structs


_OF_FS = {
    ObjectState.ADDED: EventKind.FS_NEW,
    ObjectState.GONE: EventKind.FS_GONE,
    ObjectState.CHANGED: EventKind.USERS,
}


def _fs_structs(both: Contrast, found: Changes) -> None:
    for changed in both.fs_structs:
        _mark("fs_struct", changed, found)
        address = changed.address
        if changed.state is not ObjectState.CHANGED:
            # Tasks that come and go bring theirs along: only one that is shared is worth a line.
            snapshot = both.a if changed.state is ObjectState.GONE else both.b
            sharers = snapshot.sharers_by_fs.get(address or 0, [])
            if len(sharers) < 2:
                continue
            text = f"{changed.name}, shared by {len(sharers)} tasks"
        else:
            users = [change for change in changed.changes if change.what in (Fact.USERS, Fact.HOLDERS)]
            if not users:
                continue  # root and pwd are events of its tasks
            text = f"{changed.name}: {', '.join(change.text for change in users)}"
        reference = Reference(kind="fs_struct", address=address, label=changed.name)
        found.events.append(HappenedEvent(_OF_FS[changed.state], text, reference))


# Mounts, namespaces, findings

_OF_MOUNT = {
    ObjectState.ADDED: EventKind.MOUNTED,
    ObjectState.GONE: EventKind.UNMOUNTED,
    ObjectState.CHANGED: EventKind.MOUNT,
}
_WORDS = {ObjectState.ADDED: " added", ObjectState.GONE: " gone", ObjectState.CHANGED: ""}


def _mark(kind: str, changed: ObjectChange, found: Changes) -> None:
    if changed.after is not None:
        found.marks[kind, changed.after] = "+" if changed.state is ObjectState.ADDED else "~"


def _mounts(both: Contrast, found: Changes) -> None:
    for changed in both.diff.mounts:
        mount = both.b.mount_by_address.get(changed.address or 0)
        # What is gone, or could not be found again, is called by all that the diff says of it.
        reference = Reference(kind="mount", address=changed.address, label=changed.name)
        text = ", ".join([changed.name, *(change.text for change in changed.changes)])
        where = reference if mount is None else mount_reference(mount)
        found.events.append(HappenedEvent(_OF_MOUNT[changed.state], text, where))
        _mark("mount", changed, found)
    for changed in both.diff.mount_namespaces:
        reference = Reference(kind="mount_namespace", address=changed.address, label=changed.name)
        text = ", ".join(
            [f"{changed.name}{_WORDS[changed.state]}", *(change.text for change in changed.changes)]
        )
        found.events.append(HappenedEvent(EventKind.NAMESPACE, text, reference))
        _mark("mount_namespace", changed, found)


def _findings(both: Contrast) -> Iterator[HappenedEvent]:
    gone, added, _ = both.findings
    for kind, findings in ((EventKind.FINDING_NEW, added), (EventKind.FINDING_GONE, gone)):
        for finding in findings:
            yield HappenedEvent(kind, finding_text(finding), evidence_of(finding))
