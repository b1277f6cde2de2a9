"""Two targets compared, difference by difference: for a table whose rows lead to the object on either side.

What differs is :mod:`explorer.analysis.diff.contrast`'s to say. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

from explorer.model import (
    KERNEL,
    Change,
    Fact,
    Finding,
    KernelText,
    Reference,
    Regrouping,
    Snapshot,
    TaskChange,
    TaskLabel,
    WorkerGroup,
    known,
    mount_reference,
    task_name,
)

from .contrast import Contrast, evidence_of, finding_text, label_reference

__all__ = ("KINDS", "Comparison", "Difference", "DifferenceKind", "Sign", "compare_snapshots")


class Sign(StrEnum):
    """On which side a thing is."""

    ONLY_B = "+"
    ONLY_A = "-"
    UNLIKE = "~"
    """On both, and not alike."""


class DifferenceKind(StrEnum):
    """What a difference is about, in the order in which they are listed."""

    KERNEL = "kernel"
    TASK = "task"
    WORKERS = "workers"
    FS_STRUCT = "fs_struct"
    MOUNT = "mount"
    NAMESPACE = "namespace"
    FINDING = "finding"


KINDS = tuple(DifferenceKind)
_Kind = Literal["task", "fs_struct", "mount", "mount_namespace"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. Kernel text in it is not escaped."""

    sign: Sign
    kind: DifferenceKind
    name: KernelText
    what: str = ""
    """Which fact; empty for what is only on one side."""
    before: KernelText | None = None
    after: KernelText | None = None
    a: Reference | None = None
    """The object on the first side."""
    b: Reference | None = None
    """The object on the second."""


@dataclass(frozen=True)
class Comparison(Contrast):
    """Two snapshots and what differs, as a list."""

    @cached_property
    def differences(self) -> list[Difference]:
        return [
            *_kernel(self),
            *_tasks(self),
            *_workers(self.diff.workers),
            *_fs_structs(self),
            *_mounts(self),
            *_namespaces(self),
            *_findings(self),
        ]

    def count(self, kind: str) -> int:
        """How many differences are about a kind of thing."""
        return sum(difference.kind == kind for difference in self.differences)


def compare_snapshots(
    a: Snapshot, b: Snapshot, before: Sequence[Finding] = (), after: Sequence[Finding] = ()
) -> Comparison:
    """Compare ``b`` with ``a``, here and now: whoever shows the result need not wait for it.

    :param before: the findings on ``a``; :param after: those on ``b``
    """
    comparison = Comparison(a, b, before, after)
    _ = comparison.differences, comparison.verdicts
    return comparison


def _sign(a: object, b: object) -> Sign:
    return Sign.ONLY_B if a is None else Sign.ONLY_A if b is None else Sign.UNLIKE


def _reference(kind: _Kind, address: int | None, label: str) -> Reference | None:
    return None if address is None else Reference(kind=kind, address=address, label=label)


def _kernel(both: Contrast) -> Iterator[Difference]:
    old, new = both.verdicts
    changes = [Change(what=Fact.VERDICT, before=old.headline, after=new.headline)]
    for change in [*(changes if old.headline != new.headline else ()), *both.diff.kernel]:
        name = change.what.value
        yield Difference(
            Sign.UNLIKE, DifferenceKind.KERNEL, name, "", change.before, change.after, KERNEL, KERNEL
        )


# Tasks


def _home(label: TaskLabel) -> str:
    return f"{known(label.kind)}, owner {known(label.owner)}, root {label.root or 'none'}"


def _tasks(both: Contrast) -> Iterator[Difference]:
    for label in both.diff.came:
        own = label_reference(label)
        yield Difference(Sign.ONLY_B, DifferenceKind.TASK, own.label, "", None, _home(label), None, own)
    for label in both.diff.went:
        own = label_reference(label)
        yield Difference(Sign.ONLY_A, DifferenceKind.TASK, own.label, "", _home(label), None, own, None)
    for changed in both.diff.changed:
        yield from _changed_task(changed)


def _changed_task(changed: TaskChange) -> Iterator[Difference]:
    old, new = label_reference(changed.before), label_reference(changed.after)
    yield from _facts(DifferenceKind.TASK, new.label, changed.changes, old, new)


def _facts(
    kind: DifferenceKind,
    name: KernelText,
    changes: Sequence[Change],
    a: Reference | None,
    b: Reference | None,
) -> Iterator[Difference]:
    """What is not alike of a thing that is on both sides."""
    for change in changes:
        yield Difference(Sign.UNLIKE, kind, name, change.what.value, change.before, change.after, a, b)


def _workers(groups: Sequence[WorkerGroup]) -> Iterator[Difference]:
    for group in groups:
        if group.differs:
            before, after = (
                "; ".join(f"{count} in {home}" for home, count in homes.items())
                for homes in (group.before, group.after)
            )
            yield Difference(Sign.UNLIKE, DifferenceKind.WORKERS, group.name, "home", before, after)


# fs_structs


def _fs_structs(both: Contrast) -> Iterator[Difference]:
    for group in both.diff.regrouped:
        yield _regrouping(group)
    for changed in both.fs_structs:
        old = _reference("fs_struct", changed.before, changed.name)
        new = _reference("fs_struct", changed.after, changed.name)
        sign = _sign(old, new)
        if sign is not Sign.UNLIKE:
            held = _held(both.a if new is None else both.b, changed.address)
            yield Difference(
                sign, DifferenceKind.FS_STRUCT, changed.name, "",
                held if new is None else None, held if old is None else None, old, new,
            )  # fmt: skip
        yield from _facts(DifferenceKind.FS_STRUCT, changed.name, changed.changes, old, new)


def _held(snapshot: Snapshot, address: int | None) -> str:
    tasks = snapshot.sharers_by_fs.get(address or 0, [])
    first = f"held by {task_name(tasks[0])}" if tasks else "held by nobody found"
    return first if len(tasks) < 2 else f"{first} and {len(tasks) - 1} more"


def _regrouping(group: Regrouping) -> Difference:
    parts = []
    if group.joined:
        parts.append(f"joined: {', '.join(group.joined)}")
    if group.left:
        parts.append(f"left: {', '.join(group.left)}")
    after = "; ".join(parts) or f"shared by {', '.join(group.sharers)}"
    new = _reference("fs_struct", group.address, group.fs)
    before = ", ".join(group.came_from)
    return Difference(Sign.UNLIKE, DifferenceKind.FS_STRUCT, group.fs, "sharers", before, after, None, new)


# Mounts, namespaces, findings


def _mounts(both: Contrast) -> Iterator[Difference]:
    for changed in both.diff.mounts:
        old, new = _mount(both.a, changed.before), _mount(both.b, changed.after)
        sign = _sign(old, new)
        if sign is not Sign.UNLIKE:
            label = (new or old or Reference(kind="mount", address=None, label="?")).label
            yield Difference(
                sign, DifferenceKind.MOUNT, label, "", changed.name if new is None else None,
                changed.name if old is None else None, old, new,
            )  # fmt: skip
        yield from _facts(DifferenceKind.MOUNT, changed.name, changed.changes, old, new)


def _mount(snapshot: Snapshot, address: int | None) -> Reference | None:
    mount = snapshot.mount_by_address.get(address or 0)
    return None if mount is None else mount_reference(mount)


def _namespaces(both: Contrast) -> Iterator[Difference]:
    for changed in both.diff.mount_namespaces:
        old = _reference("mount_namespace", changed.before, changed.name)
        new = _reference("mount_namespace", changed.after, changed.name)
        sign = _sign(old, new)
        if sign is not Sign.UNLIKE:
            yield Difference(sign, DifferenceKind.NAMESPACE, changed.name, a=old, b=new)
        yield from _facts(DifferenceKind.NAMESPACE, changed.name, changed.changes, old, new)


def _findings(both: Contrast) -> Iterator[Difference]:
    gone, added, paired = both.findings
    kind = DifferenceKind.FINDING
    for finding in added:
        text, shown_by = finding_text(finding), evidence_of(finding)
        yield Difference(Sign.ONLY_B, kind, finding.rule, "", None, text, None, shown_by)
    for finding in gone:
        text, shown_by = finding_text(finding), evidence_of(finding)
        yield Difference(Sign.ONLY_A, kind, finding.rule, "", text, None, shown_by, None)
    for old, new in paired:
        if old.severity is not new.severity:
            levels = (old.severity.value, new.severity.value)
            places = (evidence_of(old), evidence_of(new))
            yield Difference(Sign.UNLIKE, kind, new.rule, "severity", *levels, *places)
