"""Rules about path walks in progress that cannot succeed."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import is_kernel_thread
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import Placement, Severity, Snapshot, Task, Walk, task_name, task_reference

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
        title = f"{task_name(task)} looks up {path} in {placement.value} and will get {errno}{_code(task)}"
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


def _code(task: Task) -> str:
    kthread = task.kthread
    if kthread is None:
        return ""
    function = kthread.current_func or kthread.threadfn
    return "" if function is None else f", in {function}"


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
)
