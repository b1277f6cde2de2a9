"""Rules about the books of an ``fs_struct``: its reference count, its sequence count, ``in_exec``."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.accounting import Reference, reconcile
from explorer.analysis.completeness import lost_tasks
from explorer.analysis.rule import AuditContext, Case, Rule, fs_reference, task_reference
from explorer.analysis.words import count, name_tasks
from explorer.model import FsStruct, Severity, Snapshot

__all__ = ("RULES",)

_RUNNING = (
    "The kernel ran while it was read: tasks were forked or exited between the reading of the tasks and that of the "
    "fs_structs. Read it again; only what stays is real."
)
_AGAIN = "Read it again, or take a dump, in which nothing moves."


def _name(fs: FsStruct, snapshot: Snapshot) -> str:
    names = {snapshot.kernel.init_fs: "init_fs", snapshot.kernel.userspace_init_fs: "userspace_init_fs"}
    return names.get(fs.address) or f"fs_struct 0x{fs.address:x}"


def _books(snapshot: Snapshot) -> Iterator[tuple[Reference, int]]:
    """Unbalanced books and by how much ``users`` is too high."""
    for books in reconcile(snapshot):
        if books.fs.users is not None and not books.balanced:
            yield books, books.fs.users - books.expected


def _case(books: Reference, snapshot: Snapshot) -> Case:
    fs = books.fs
    holders = snapshot.sharers_by_fs.get(fs.address, [])
    pointer = books.expected - fs.sharers
    found = count(fs.sharers, "holder") + (" and the global pointer" if pointer else "")
    who = f": {name_tasks(holders)}" if holders else ""
    title = f"{_name(fs, snapshot)} counts {count(fs.users or 0, 'user')}, found are {found}{who}"
    return Case(title, [fs_reference(fs, _name(fs, snapshot)), *map(task_reference, holders)])


def _downgraded(case: Case, severity: Severity, explanation: str, advice: str) -> Case:
    return Case(case.title, case.evidence, severity, explanation, advice)


def _is_whole(snapshot: Snapshot) -> bool:
    """Nothing that could be a holder is missing."""
    return not any(not error.where.startswith("plugin ") for error in snapshot.errors)


def _find_extra(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    if lost_tasks(snapshot) is not None:
        return  # NX-TASKS-MISSING: whoever is missing holds them
    for books, excess in _books(snapshot):
        if excess < 0:
            continue
        case = _case(books, snapshot)
        if not snapshot.capture.consistent:
            yield _downgraded(case, Severity.INFO, _RUNNING, _AGAIN)
        elif not _is_whole(snapshot):
            why = "Not everything could be read: the missing holders may be among what is missing."
            yield _downgraded(case, Severity.INFO, why, "See NX-UNREADABLE.")
        elif excess == 1:
            means = (
                "One reference more than holders. Such a reference exists for a moment during setns() and unshare(), "
                "in clone() before the child is listed, and for a usermodehelper before it executes its program."
            )
            yield _downgraded(
                case, Severity.LOW, means, "Compare with a second dump: if it is there again, it leaked."
            )
        else:
            yield case


def _find_missing(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for books, excess in _books(snapshot):
        if excess > 0:
            continue
        case = _case(books, snapshot)
        yield case if snapshot.capture.consistent else _downgraded(case, Severity.INFO, _RUNNING, _AGAIN)


def _find_odd(context: AuditContext) -> Iterator[Case]:
    """Only where nothing moved: on a running kernel a reader meets writers all the time."""
    snapshot = context.snapshot
    for fs in snapshot.fs_structs:
        if snapshot.capture.consistent and fs.seq is not None and fs.seq & 1:
            holders = snapshot.sharers_by_fs.get(fs.address, [])
            who = f" of {name_tasks(holders)}" if holders else ""
            yield Case(
                f"the sequence count of {_name(fs, snapshot)}{who} is odd ({fs.seq})",
                [fs_reference(fs, _name(fs, snapshot)), *map(task_reference, holders)],
            )


def _find_in_exec(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for fs in snapshot.fs_structs:
        if not fs.in_exec:
            continue
        holders = snapshot.sharers_by_fs.get(fs.address, [])
        stuck = [task for task in holders if task.state == "D"]
        who = f" of {name_tasks(holders)}" if holders else ""
        title = f"{_name(fs, snapshot)}{who} is in the middle of an execve()"
        if stuck:
            title += f", in which {name_tasks(stuck)} {'waits' if len(stuck) == 1 else 'wait'}"
        yield Case(title, [fs_reference(fs, _name(fs, snapshot)), *map(task_reference, holders)])


RULES = (
    Rule(
        id="NX-FS-USERS-EXTRA",
        severity=Severity.MEDIUM,
        title="fs_struct.users is larger than the number of holders",
        explanation="References without holders: the fs_struct, and the mounts under its root and working directory, "
        "stay for ever. Transient references (setns, unshare, a usermodehelper before exec) are one at a time.",
        advice="Find who takes references and does not drop them: out-of-tree code that copies task->fs comes first.",
        find=_find_extra,
    ),
    Rule(
        id="NX-FS-USERS-MISSING",
        severity=Severity.HIGH,
        title="fs_struct.users is smaller than the number of holders",
        explanation="When enough holders exit, the fs_struct is freed while others still point at it: a use after free "
        "that is waiting to happen.",
        advice="Somebody dropped a reference it did not hold, or assigned an fs_struct without taking one. Look at "
        "out-of-tree modules that touch task->fs; take a dump before the holders exit.",
        find=_find_missing,
    ),
    Rule(
        id="NX-FS-SEQ-ODD",
        severity=Severity.LOW,
        title="The sequence count of an fs_struct is odd, though nothing ran",
        explanation="A writer (chroot, chdir, pivot_root) was between its two halves when the memory was saved: "
        "root and working directory of this fs_struct may not belong together. In a panic, that writer's CPU was "
        "stopped there.",
        advice="Look at what the holders were doing. If a second dump of the same system shows it again, a reader on "
        "that system spins for ever.",
        find=_find_odd,
    ),
    Rule(
        id="NX-FS-IN-EXEC",
        severity=Severity.INFO,
        title="fs_struct.in_exec is set: a holder is in execve()",
        explanation="Until that execve() ends, clone(CLONE_FS) of the other holders fails with EAGAIN. Normal for an "
        "instant.",
        advice="If it stays, look at what the program or its interpreter lies on.",
        find=_find_in_exec,
    ),
)
