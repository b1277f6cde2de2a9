"""Rules about who shares an ``fs_struct`` with whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from explorer.analysis.isolation import find_intruders, is_kernel_thread
from explorer.analysis.rule import ISOLATING, AuditContext, Case, Rule
from explorer.model import (
    Severity,
    Snapshot,
    Task,
    fs_reference,
    namespace_reference,
    task_reference,
)
from explorer.naming import count, name_tasks

__all__ = ("RULES",)


def _find_intruders(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for address, tasks in find_intruders(snapshot).items():
        fs = snapshot.fs_by_address.get(address)
        verb = "shares" if len(tasks) == 1 else "share"
        if is_kernel_thread(tasks[0]):
            what = (
                "userspace_init_fs"
                if address == snapshot.kernel.userspace_init_fs
                else "a user task's fs_struct"
            )
            title = f"{name_tasks(tasks)} {verb} {what}"
        else:
            title = f"{name_tasks(tasks)} {verb} init_fs with the kernel threads"
        evidence = [task_reference(task) for task in tasks]
        if fs is not None:
            evidence.append(fs_reference(fs, snapshot))
        yield Case(title, evidence)


def _across(
    snapshot: Snapshot, space_of: Callable[[Task], int | None], what: str
) -> Iterator[tuple[Case, list[int]]]:
    """Each fs_struct whose sharers are in several namespaces of one sort, and these namespaces."""
    for address, tasks in snapshot.sharers_by_fs.items():
        spaces = list(dict.fromkeys(space for task in tasks if (space := space_of(task)) is not None))
        if len(spaces) < 2:
            continue
        firsts = [next(task for task in tasks if space_of(task) == space) for space in spaces]
        evidence = [task_reference(task) for task in tasks]
        fs = snapshot.fs_by_address.get(address)
        if fs is not None:
            evidence.append(fs_reference(fs, snapshot))
        title = f"{name_tasks(firsts)} share an fs_struct from {count(len(spaces), what)}"
        yield Case(title, evidence), spaces


def _find_across_namespaces(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for case, spaces in _across(snapshot, lambda task: task.mnt_ns, "mount namespace"):
        namespaces = (snapshot.namespace_by_address.get(space) for space in spaces)
        case.evidence.extend(namespace_reference(space) for space in namespaces if space is not None)
        yield case


def _find_across_user_namespaces(context: AuditContext) -> Iterator[Case]:
    for case, _ in _across(context.snapshot, lambda task: task.user_ns, "user namespace"):
        yield case


RULES = (
    Rule(
        id="NX-KTHREAD-IN-USERSPACE",
        severity=Severity.HIGH,
        title="A kernel thread and a user task share an fs_struct",
        explanation="On this kernel the two must never meet: a chroot() or chdir() of the user task moves the kernel "
        "thread, and a lookup that the thread makes without opting in is answered from userspace. Normal only before "
        "7.3.",
        advice="Find who set the thread's fs_struct: out-of-tree code that assigns task->fs, or starts threads with "
        "CLONE_FS from a user task. Use kthread_create(), and scoped_with_init_fs() around the lookups.",
        find=_find_intruders,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-FS-ACROSS-NAMESPACES",
        severity=Severity.MEDIUM,
        title="Tasks in different mount namespaces share an fs_struct",
        explanation="clone(), unshare() and setns() all refuse to make this. The shared root and working directory "
        "belong to one namespace only: chroot() in one of these tasks lets the others reach files outside their own.",
        advice="Look for out-of-tree code that assigns nsproxy or fs of a task; if there is none, this is memory "
        "corruption.",
        find=_find_across_namespaces,
    ),
    Rule(
        id="NX-FS-ACROSS-USER-NAMESPACES",
        severity=Severity.MEDIUM,
        title="Tasks in different user namespaces share an fs_struct",
        explanation="clone(), unshare() and setns() all refuse to make this: a task that is privileged in its own user "
        "namespace could chroot() another one that is not in it.",
        advice="Look for out-of-tree code that assigns cred or fs of a task; if there is none, this is memory "
        "corruption.",
        find=_find_across_user_namespaces,
    ),
)
