"""Two snapshots and all that differs, as data: what a comparison lists and what a log tells both rest on this.

Tasks, mounts, namespaces and the kernel are :mod:`explorer.analysis.diff.snapshots`'s; ``fs_structs`` of one boot,
findings and the verdict, which that does not compare, are compared here. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from explorer.analysis.verdicts import Verdict, verdict
from explorer.model import (
    Change,
    Fact,
    Finding,
    FsStruct,
    ObjectChange,
    ObjectState,
    Reference,
    Snapshot,
    SnapshotDiff,
    TaskLabel,
    comm_and_pid,
    global_fs,
    hex_address,
)

from .snapshots import diff_snapshots

__all__ = ("Contrast", "evidence_of", "finding_text", "label_reference", "pair_findings")

#: Decimal and hexadecimal ones. What stands before keeps the search from beginning again within a word of such letters.
_NUMBER = re.compile(r"(?<![0-9a-f])(?:0x)?[0-9a-f]*[0-9][0-9a-f]*")
_Pairs = tuple[list[Finding], list[Finding], list[tuple[Finding, Finding]]]


@dataclass(frozen=True)
class Contrast:
    """``b`` seen from ``a``. What differs is worked out when it is asked for."""

    a: Snapshot
    b: Snapshot
    before: Sequence[Finding] = ()
    """The findings on ``a``."""
    after: Sequence[Finding] = ()
    """The findings on ``b``."""

    @cached_property
    def diff(self) -> SnapshotDiff:
        return diff_snapshots(self.a, self.b)

    @cached_property
    def verdicts(self) -> tuple[Verdict, Verdict]:
        return verdict(self.a), verdict(self.b)

    @cached_property
    def fs_structs(self) -> list[ObjectChange]:
        """``fs_structs`` of one boot; across boots their addresses mean nothing, and there are none."""
        return _fs_changes(self.a, self.b) if self.diff.same_boot else []

    @cached_property
    def findings(self) -> _Pairs:
        """Findings that are gone, that are new, and those that are in both."""
        return pair_findings(self.before, self.after, self.diff.same_boot)


def label_reference(label: TaskLabel) -> Reference:
    """A task of a diff as a place to go to."""
    return Reference(kind="task", address=label.address, label=comm_and_pid(label.comm, label.pid))


def finding_text(finding: Finding) -> str:
    """``high: what was found``."""
    return f"{finding.severity.value}: {finding.title}"


def evidence_of(finding: Finding) -> Reference | None:
    """The first thing that shows a finding."""
    return finding.evidence[0] if finding.evidence else None


def _fs_changes(a: Snapshot, b: Snapshot) -> list[ObjectChange]:
    """``fs_structs`` of two readings of one boot, by address: new, gone, or with other users or another root."""
    names = global_fs(a.kernel) | global_fs(b.kernel)

    def made(state: ObjectState, address: int, changes: list[Change]) -> ObjectChange:
        return ObjectChange(
            state=state,
            name=names.get(address, hex_address(address)),
            before=None if state is ObjectState.ADDED else address,
            after=None if state is ObjectState.GONE else address,
            changes=changes,
        )

    found = [
        made(ObjectState.GONE, address, []) for address in a.fs_by_address if address not in b.fs_by_address
    ]
    for address, new in b.fs_by_address.items():
        old = a.fs_by_address.get(address)
        if old is None:
            found.append(made(ObjectState.ADDED, address, []))
            continue
        changes = [
            Change(what=what, before=before, after=after)
            for what, before, after in _fs_facts(old, new)
            if before != after
        ]
        if changes:
            found.append(made(ObjectState.CHANGED, address, changes))
    return found


def _fs_facts(old: FsStruct, new: FsStruct) -> Iterator[tuple[Fact, str | None, str | None]]:
    yield Fact.USERS, _number(old.users), _number(new.users)
    yield Fact.HOLDERS, str(old.sharers), str(new.sharers)
    yield Fact.UMASK, old.umask, new.umask
    for fact, before, after in ((Fact.ROOT, old.root, new.root), (Fact.PWD, old.pwd, new.pwd)):
        if before is None or after is None or (before.mount, before.dentry) != (after.mount, after.dentry):
            was, now = (None if path is None else path.path for path in (before, after))
            if was == now and before is not None and after is not None:
                now = f"{now} (another one of that name)"
            yield fact, was, now


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


# Findings


def _key(finding: Finding, same_boot: bool) -> tuple[object, ...]:
    """Which finding is which: on one boot, its rule and what it is about, as the title may count seconds. Across boots
    no address and no number means the same, and the words of the title are left."""
    if not same_boot:
        return finding.rule, _NUMBER.sub("N", finding.title)
    about = tuple(
        (item.kind, item.address, item.label if item.address is None else "") for item in finding.evidence
    )
    return finding.rule, about


def pair_findings(before: Sequence[Finding], after: Sequence[Finding], same_boot: bool) -> _Pairs:
    """Findings that are gone, that are new, and those that are in both."""
    old, new = ({_key(found, same_boot): found for found in findings} for findings in (before, after))
    gone = [finding for key, finding in old.items() if key not in new]
    added = [finding for key, finding in new.items() if key not in old]
    return gone, added, [(finding, new[key]) for key, finding in old.items() if key in new]
