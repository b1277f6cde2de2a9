"""Rules about path walks in progress: those that cannot succeed, and those that do not end."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import is_kernel_thread
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import (
    Placement,
    Severity,
    Snapshot,
    Task,
    Walk,
    task_name,
    task_reference,
)
from explorer.naming import name_tasks

from .hanging import code_words, find_hanging, hanging_words, is_grave, others_words

__all__ = ("RULES",)

_ERRNO = {Placement.NULLFS: "ENOENT", Placement.FAILFS: "EOPNOTSUPP"}


def _where(task: Task, walk: Walk, snapshot: Snapshot) -> Placement | None:
    """Where the walk begins: at its root if it has one yet (absolute paths), else where it is.

    Before its first step it has neither: an absolute path will begin at the root of the ``fs_struct`` in use.
    """
    start = walk.root or walk.start
    if start is None and walk.path is not None and walk.path.startswith("/"):
        used = snapshot.kernel.userspace_init_fs if walk.in_init else task.fs
        fs = snapshot.fs_by_address.get(used or 0)
        start = None if fs is None else fs.root
    return None if start is None else start.placement


def _find_walks(context: AuditContext) -> Iterator[Case]:
    for task in context.snapshot.tasks:
        if task.walk is None:
            continue
        placement = _where(task, task.walk, context.snapshot)
        errno = None if placement is None else _ERRNO.get(placement)
        if errno is None or placement is None:
            continue
        path = "a path" if task.walk.path is None else task.walk.path
        title = (
            f"{task_name(task)} looks up {path} in {placement.value} and will get {errno}{code_words(task)}"
        )
        evidence = [task_reference(task)]
        if task.borrowing:
            yield Case(
                title,
                evidence,
                explanation="It borrows userspace_init_fs as it should, but PID 1 has abandoned that to nullfs.",
                advice="See NX-PID1-ABANDONED.",
            )
        elif is_kernel_thread(task):
            yield Case(title, evidence)
        else:
            yield Case(
                title,
                evidence,
                Severity.LOW if placement is Placement.FAILFS else Severity.MEDIUM,
                "A user task whose root is there finds nothing by an absolute path. In failfs it asked for that with "
                "fchroot(); in nullfs it was moved by PID 1's unshare(), or walked there.",
                "Open files relative to a descriptor, or give the task a root: chroot() through a descriptor that it "
                "still holds.",
            )


def _cannot_tell_hanging(context: AuditContext) -> str | None:
    silent = [
        task
        for task in context.snapshot.tasks
        if task.walk is not None and task.state == "D" and task.waiting_s is None
    ]
    return f"how long {name_tasks(silent)} waited is not known" if silent else None


def _find_hanging(context: AuditContext) -> Iterator[Case]:
    """One for each filesystem, and one more for what is grave. Where all are borrowers, their own rule says it."""
    for group in find_hanging(context.snapshot):
        if all(hanging.task.borrowing for hanging in group):
            continue
        first, *others = group
        yield Case(
            hanging_words(first, context.snapshot) + others_words([hanging.task for hanging in others]),
            [task_reference(hanging.task) for hanging in group],
            Severity.HIGH if is_grave(first.task) else None,
        )


RULES = (
    Rule(
        id="NX-WALK-NOWHERE",
        severity=Severity.HIGH,
        title="A path walk in nullfs or failfs: it will fail",
        explanation="A kernel thread looks a path up without borrowing userspace_init_fs. Before 7.3 that worked; on "
        "this kernel it ends with ENOENT, each time. The code it runs has not been converted.",
        advice="Wrap the lookup in scoped_with_init_fs(), or hand the thread an opened file. Until the module is "
        "fixed, run the last kernel before 7.3.",
        find=_find_walks,
    ),
    Rule(
        id="NX-WALK-HANGS",
        severity=Severity.MEDIUM,
        title="A path walk has not got on for 10 s or more; high for kernel threads, PID 1, helpers and core dumps",
        explanation="What answers for that place does not answer: an automounter, a FUSE or network server, a disk. "
        "Who wants anything else of that filesystem is likely to wait as long: those that do are told with the one "
        "that has waited longest.",
        advice="Look at the filesystem it has got to: its daemon, its server, its disk. Ending the server, umount -f, "
        "or abort in /sys/fs/fuse/connections releases the lookup; SIGKILL does where the wait can be killed.",
        find=_find_hanging,
        cannot_tell=_cannot_tell_hanging,
    ),
)
