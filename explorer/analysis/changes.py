"""What happened between two readings of a kernel that runs: events for a log, and marks for the rows of tables.

Built on :mod:`explorer.analysis.diff`; ``fs_structs`` and findings, which that does not compare, are compared here.
Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from explorer.analysis.diff import diff_snapshots
from explorer.analysis.verdict import verdict
from explorer.analysis.words import known
from explorer.model import Finding, FsStruct, KernelText, Mount, Reference, Snapshot, hex_address
from explorer.model.diff import Change, ObjectChange, SnapshotDiff, TaskChange, TaskLabel

__all__ = ("Changes", "EventKind", "HappenedEvent", "find_changes", "fs_changes", "pair_findings")

#: Decimal and hexadecimal ones. What stands before keeps the search from beginning again within a word of such letters.
_NUMBER = re.compile(r"(?<![0-9a-f])(?:0x)?[0-9a-f]*[0-9][0-9a-f]*")
Marks = dict[tuple[str, int | None], str]


class EventKind(StrEnum):
    """What happened, in a word or two."""

    APPEARED = "task added"
    GONE = "task gone"
    MOVED_FS = "moved fs"
    ROOT = "root changed"
    PWD = "pwd changed"
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
    diff = diff_snapshots(a, b)
    found = Changes()
    if not diff.same_boot:
        text = f"this is another boot, or another kernel: Linux {b.kernel.release}; nothing is compared"
        found.events.append(HappenedEvent(EventKind.REBOOT, text, _kernel()))
        return found
    found.events += _verdict(a, b)
    found.events += [
        HappenedEvent(EventKind.KERNEL, _arrow(change), _kernel())
        for change in diff.kernel
        if change.what != "PID 1 owns"  # the task's own event says it
    ]
    _tasks(diff, found)
    _fs_structs(a, b, found)
    _mounts(diff, b, found)
    found.events += _findings(before, after)
    return found


def _kernel() -> Reference:
    return Reference(kind="kernel", address=None, label="kernel")


def _text(value: str | None) -> str:
    return "none" if value is None else value


def _arrow(change: Change) -> str:
    return f"{change.what}: {_text(change.before)} → {_text(change.after)}"


def _verdict(a: Snapshot, b: Snapshot) -> Iterator[HappenedEvent]:
    old, new = verdict(a), verdict(b)
    if old.kind is not new.kind or old.headline != new.headline:
        text = f"{old.headline} → {new.headline}: {new.sentence}"
        yield HappenedEvent(EventKind.VERDICT, text, _kernel())


# Tasks


def _reference(label: TaskLabel) -> Reference:
    return Reference(kind="task", address=label.address, label=f"{label.comm} ({label.pid})")


_OF_TASK = {"root": EventKind.ROOT, "pwd": EventKind.PWD, "fs_struct": EventKind.MOVED_FS}


def _tasks(diff: SnapshotDiff, found: Changes) -> None:
    for label in diff.came:
        reference = _reference(label)
        text = f"{reference.label}, {label.kind_word}, root {_text(label.root)}"
        found.events.append(HappenedEvent(EventKind.APPEARED, text, reference))
        found.marks["task", label.address] = "+"
    for label in diff.went:
        reference = _reference(label)
        text = f"{reference.label}, {label.kind_word}, root was {_text(label.root)}"
        found.events.append(HappenedEvent(EventKind.GONE, text, reference))
    for changed in diff.changed:
        found.marks["task", changed.after.address] = "~"
        found.events += _task(changed)


def _task(changed: TaskChange) -> Iterator[HappenedEvent]:
    reference = _reference(changed.after)
    if changed.before.owner != "none" and changed.after.owner == "none":
        # do_exit() lets go of the fs_struct and the namespaces: that is one thing that happened.
        yield HappenedEvent(
            EventKind.EXITS, f"{reference.label}, root was {_text(changed.before.root)}", reference
        )
        return
    for change in changed.changes:
        if change.what == "borrowing":
            begins = change.after == "yes"
            kind = EventKind.BORROW_BEGINS if begins else EventKind.BORROW_ENDS
            text = f"{reference.label} {'looks' if begins else 'looked'} paths up through userspace_init_fs"
        else:
            kind = _OF_TASK.get(change.what, EventKind.TASK)
            text = f"{reference.label}: {_arrow(change)}"
        yield HappenedEvent(kind, text, reference)


# fs_structs


def fs_changes(a: Snapshot, b: Snapshot) -> list[ObjectChange]:
    """``fs_structs`` of two readings of one boot, by address: new, gone, or with other users or another root."""
    names = {
        address: name
        for name in ("init_fs", "userspace_init_fs")
        for address in (getattr(a.kernel, name), getattr(b.kernel, name))
        if address is not None
    }

    def made(state: str, address: int, changes: list[Change]) -> ObjectChange:
        return ObjectChange.model_validate(
            {
                "state": state,
                "name": names.get(address, hex_address(address)),
                "before": None if state == "added" else address,
                "after": None if state == "gone" else address,
                "changes": changes,
            }
        )

    found = [made("gone", address, []) for address in a.fs_by_address if address not in b.fs_by_address]
    for address, new in b.fs_by_address.items():
        old = a.fs_by_address.get(address)
        if old is None:
            found.append(made("added", address, []))
            continue
        changes = [
            Change(what=what, before=before, after=after)
            for what, before, after in _fs_facts(old, new)
            if before != after
        ]
        if changes:
            found.append(made("changed", address, changes))
    return found


def _fs_facts(old: FsStruct, new: FsStruct) -> Iterator[tuple[str, str | None, str | None]]:
    yield "users", _number(old.users), _number(new.users)
    yield "holders", str(old.sharers), str(new.sharers)
    yield "umask", old.umask, new.umask
    for name in ("root", "pwd"):
        before, after = getattr(old, name), getattr(new, name)
        if before is None or after is None or (before.mount, before.dentry) != (after.mount, after.dentry):
            was, now = (None if path is None else path.path for path in (before, after))
            if was == now and before is not None and after is not None:
                now = f"{now} (another one of that name)"
            yield name, was, now


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


_OF_FS = {"added": EventKind.FS_NEW, "gone": EventKind.FS_GONE, "changed": EventKind.USERS}


def _fs_structs(a: Snapshot, b: Snapshot, found: Changes) -> None:
    for changed in fs_changes(a, b):
        if changed.after is not None:
            found.marks["fs_struct", changed.after] = "+" if changed.state == "added" else "~"
        address = changed.after if changed.after is not None else changed.before
        if changed.state != "changed":
            # Tasks that come and go bring theirs along: only one that is shared is worth a line.
            snapshot = b if changed.state == "added" else a
            sharers = snapshot.sharers_by_fs.get(address or 0, [])
            if len(sharers) < 2:
                continue
            text = f"{changed.name}, shared by {len(sharers)} tasks"
        else:
            users = [change for change in changed.changes if change.what in ("users", "holders")]
            if not users:
                continue  # root and pwd are events of its tasks
            text = f"{changed.name}: {', '.join(map(_arrow, users))}"
        reference = Reference(kind="fs_struct", address=address, label=changed.name)
        found.events.append(HappenedEvent(_OF_FS[changed.state], text, reference))


# Mounts, namespaces, findings

_OF_MOUNT = {"added": EventKind.MOUNTED, "gone": EventKind.UNMOUNTED, "changed": EventKind.MOUNT}
_WORDS = {"added": " added", "gone": " gone", "changed": ""}


def _mounts(diff: SnapshotDiff, b: Snapshot, found: Changes) -> None:
    mounts: Mapping[int, Mount] = b.mount_by_address
    for changed in diff.mounts:
        address = changed.after if changed.after is not None else changed.before
        mount = mounts.get(address or 0)
        label = changed.name if mount is None else f"{mount.fstype or '?'}#{known(mount.id)}"
        reference = Reference(kind="mount", address=address, label=label)
        text = ", ".join([changed.name, *map(_arrow, changed.changes)])
        found.events.append(HappenedEvent(_OF_MOUNT[changed.state], text, reference))
        if changed.after is not None:
            found.marks["mount", changed.after] = "+" if changed.state == "added" else "~"
    for changed in diff.mount_namespaces:
        address = changed.after if changed.after is not None else changed.before
        reference = Reference(kind="mount_namespace", address=address, label=changed.name)
        text = ", ".join([f"{changed.name}{_WORDS[changed.state]}", *map(_arrow, changed.changes)])
        found.events.append(HappenedEvent(EventKind.NAMESPACE, text, reference))
        if changed.after is not None:
            found.marks["mount_namespace", changed.after] = "+" if changed.state == "added" else "~"


def _key(finding: Finding, same_boot: bool) -> tuple[object, ...]:
    """Which finding is which: on one boot, its rule and what it is about, as the title may count seconds. Across boots
    no address and no number means the same, and the words of the title are left."""
    if not same_boot:
        return finding.rule, _NUMBER.sub("N", finding.title)
    about = tuple(
        (item.kind, item.address, item.label if item.address is None else "") for item in finding.evidence
    )
    return finding.rule, about


def pair_findings(
    before: Sequence[Finding], after: Sequence[Finding], same_boot: bool
) -> tuple[list[Finding], list[Finding], list[tuple[Finding, Finding]]]:
    """Findings that are gone, that are new, and those that are in both."""
    old, new = ({_key(found, same_boot): found for found in findings} for findings in (before, after))
    gone = [finding for key, finding in old.items() if key not in new]
    added = [finding for key, finding in new.items() if key not in old]
    return gone, added, [(finding, new[key]) for key, finding in old.items() if key in new]


def _findings(before: Sequence[Finding], after: Sequence[Finding]) -> Iterator[HappenedEvent]:
    gone, added, _ = pair_findings(before, after, same_boot=True)
    for kind, findings in ((EventKind.FINDING_NEW, added), (EventKind.FINDING_GONE, gone)):
        for finding in findings:
            reference = finding.evidence[0] if finding.evidence else None
            yield HappenedEvent(kind, f"{finding.severity.value}: {finding.title}", reference)
