"""Two targets compared, difference by difference: for a table whose rows lead to the object on either side.

What differs is :mod:`explorer.analysis.diff`'s to say; ``fs_structs`` of one boot, findings and the verdict are added.
Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from explorer.analysis.changes import fs_changes, pair_findings
from explorer.analysis.diff import diff_snapshots
from explorer.analysis.verdict import Verdict, verdict
from explorer.analysis.words import known
from explorer.model import Finding, KernelText, Reference, Snapshot
from explorer.model.diff import Change, Regrouping, SnapshotDiff, TaskChange, TaskLabel, WorkerGroup

__all__ = ("KINDS", "Comparison", "Difference", "compare_snapshots")

#: What differences are about, in the order in which they are listed.
KINDS = ("kernel", "task", "workers", "fs_struct", "mount", "namespace", "finding")
_Kind = Literal["task", "fs_struct", "mount", "mount_namespace"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. Kernel text in it is not escaped."""

    sign: str
    """``+`` only in the second, ``-`` only in the first, ``~`` not alike."""
    kind: str
    """One of :data:`KINDS`."""
    name: KernelText
    what: str = ""
    """Which fact; empty for what is only on one side."""
    before: KernelText | None = None
    after: KernelText | None = None
    a: Reference | None = None
    """The object on the first side."""
    b: Reference | None = None
    """The object on the second."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two snapshots and what differs."""

    a: Snapshot
    b: Snapshot
    diff: SnapshotDiff
    verdicts: tuple[Verdict, Verdict]
    differences: list[Difference]

    def count(self, kind: str) -> int:
        """How many differences are about a kind of thing."""
        return sum(difference.kind == kind for difference in self.differences)


def compare_snapshots(
    a: Snapshot, b: Snapshot, before: Sequence[Finding] = (), after: Sequence[Finding] = ()
) -> Comparison:
    """Compare ``b`` with ``a``.

    :param before: the findings on ``a``; :param after: those on ``b``
    """
    diff = diff_snapshots(a, b)
    verdicts = verdict(a), verdict(b)
    found = [
        *_kernel(diff, verdicts),
        *_tasks(diff),
        *_workers(diff.workers),
        *_fs_structs(a, b, diff),
        *_mounts(a, b, diff),
        *_namespaces(diff),
        *_findings(before, after, diff.same_boot),
    ]
    return Comparison(a, b, diff, verdicts, found)


def _reference(kind: _Kind, address: int | None, label: str) -> Reference | None:
    return None if address is None else Reference(kind=kind, address=address, label=label)


def _kernel(diff: SnapshotDiff, verdicts: tuple[Verdict, Verdict]) -> Iterator[Difference]:
    reference = Reference(kind="kernel", address=None, label="kernel")
    old, new = verdicts
    changes = [Change(what="verdict", before=old.headline, after=new.headline)]
    for change in [*(changes if old.headline != new.headline else ()), *diff.kernel]:
        yield Difference("~", "kernel", change.what, "", change.before, change.after, reference, reference)


# Tasks


def _task(label: TaskLabel) -> Reference:
    return Reference(kind="task", address=label.address, label=f"{label.comm} ({label.pid})")


def _home(label: TaskLabel) -> str:
    return f"{label.kind_word}, owner {label.owner}, root {label.root or 'none'}"


def _tasks(diff: SnapshotDiff) -> Iterator[Difference]:
    for label in diff.came:
        own = _task(label)
        yield Difference("+", "task", own.label, "", None, _home(label), None, own)
    for label in diff.went:
        own = _task(label)
        yield Difference("-", "task", own.label, "", _home(label), None, own, None)
    for changed in diff.changed:
        yield from _changed_task(changed)


def _changed_task(changed: TaskChange) -> Iterator[Difference]:
    old, new = _task(changed.before), _task(changed.after)
    for change in changed.changes:
        yield Difference("~", "task", new.label, change.what, change.before, change.after, old, new)


def _workers(groups: Sequence[WorkerGroup]) -> Iterator[Difference]:
    for group in groups:
        if group.differs:
            before, after = (
                "; ".join(f"{count} in {home}" for home, count in homes.items())
                for homes in (group.before, group.after)
            )
            yield Difference("~", "workers", group.name, "home", before, after)


# fs_structs


def _fs_structs(a: Snapshot, b: Snapshot, diff: SnapshotDiff) -> Iterator[Difference]:
    for group in diff.regrouped:
        yield _regrouping(group, b)
    if not diff.same_boot:
        return  # addresses mean nothing across boots; the well-known ones are under the kernel
    for changed in fs_changes(a, b):
        old = _reference("fs_struct", changed.before, changed.name)
        new = _reference("fs_struct", changed.after, changed.name)
        if old is None or new is None:
            held = _held(a if new is None else b, changed.before if new is None else changed.after)
            yield Difference(
                "-" if new is None else "+", "fs_struct", changed.name, "",
                held if new is None else None, held if old is None else None, old, new,
            )  # fmt: skip
        for change in changed.changes:
            yield Difference(
                "~", "fs_struct", changed.name, change.what, change.before, change.after, old, new
            )


def _held(snapshot: Snapshot, address: int | None) -> str:
    tasks = snapshot.sharers_by_fs.get(address or 0, [])
    first = f"held by {tasks[0].comm} ({tasks[0].pid})" if tasks else "held by nobody found"
    return first if len(tasks) < 2 else f"{first} and {len(tasks) - 1} more"


def _regrouping(group: Regrouping, b: Snapshot) -> Difference:
    parts = []
    if group.joined:
        parts.append(f"joined: {', '.join(group.joined)}")
    if group.left:
        parts.append(f"left: {', '.join(group.left)}")
    after = "; ".join(parts) or f"shared by {', '.join(group.sharers)}"
    named = {"init_fs": b.kernel.init_fs, "userspace_init_fs": b.kernel.userspace_init_fs}
    address = named.get(group.fs)
    if address is None and group.fs.startswith("0x"):
        address = int(group.fs, 16)
    new = _reference("fs_struct", address, group.fs)
    return Difference("~", "fs_struct", group.fs, "sharers", ", ".join(group.came_from), after, None, new)


# Mounts, namespaces, findings


def _mounts(a: Snapshot, b: Snapshot, diff: SnapshotDiff) -> Iterator[Difference]:
    for changed in diff.mounts:
        old = _mount(a, changed.before)
        new = _mount(b, changed.after)
        sign = "+" if old is None else "-" if new is None else "~"
        if sign != "~":
            label = (new or old or Reference(kind="mount", address=None, label="?")).label
            yield Difference(
                sign, "mount", label, "", changed.name if new is None else None,
                changed.name if old is None else None, old, new,
            )  # fmt: skip
        for change in changed.changes:
            yield Difference("~", "mount", changed.name, change.what, change.before, change.after, old, new)


def _mount(snapshot: Snapshot, address: int | None) -> Reference | None:
    mount = snapshot.mount_by_address.get(address or 0)
    return None if mount is None else _reference("mount", address, f"{mount.fstype or '?'}#{known(mount.id)}")


def _namespaces(diff: SnapshotDiff) -> Iterator[Difference]:
    for changed in diff.mount_namespaces:
        old = _reference("mount_namespace", changed.before, changed.name)
        new = _reference("mount_namespace", changed.after, changed.name)
        sign = "+" if old is None else "-" if new is None else "~"
        if sign != "~":
            yield Difference(sign, "namespace", changed.name, a=old, b=new)
        for change in changed.changes:
            yield Difference(
                "~", "namespace", changed.name, change.what, change.before, change.after, old, new
            )


def _findings(before: Sequence[Finding], after: Sequence[Finding], same_boot: bool) -> Iterator[Difference]:
    gone, added, both = pair_findings(before, after, same_boot)

    def first(finding: Finding) -> Reference | None:
        return finding.evidence[0] if finding.evidence else None

    for finding in added:
        text = f"{finding.severity.value}: {finding.title}"
        yield Difference("+", "finding", finding.rule, "", None, text, None, first(finding))
    for finding in gone:
        text = f"{finding.severity.value}: {finding.title}"
        yield Difference("-", "finding", finding.rule, "", text, None, first(finding), None)
    for old, new in both:
        if old.severity is not new.severity:
            yield Difference(
                "~",
                "finding",
                new.rule,
                "severity",
                old.severity.value,
                new.severity.value,
                first(old),
                first(new),
            )
