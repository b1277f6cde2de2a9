"""Rules about where kernel threads live: in ``init_fs``, on the kernel's private nullfs."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import (
    find_intruders,
    init_fs_off_nullfs,
    is_kernel_thread,
    rooted_elsewhere_by_design,
)
from explorer.analysis.rule import ISOLATING, AuditContext, Case, Rule
from explorer.model import Owner, PathRef, Placement, Severity, Task, fs_reference, task_reference
from explorer.naming import name_tasks, place

__all__ = ("RULES",)

#: As fs/fs_struct.c defines ``init_fs``.
_UMASK = "0022"
_CONVERT = "wrap the lookups in scoped_with_init_fs() and leave the thread's own fs_struct alone."


def _find_init_fs(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    path = init_fs_off_nullfs(snapshot)
    fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    if path is None or fs is None:
        return
    what = "root" if path is fs.root else "working directory"
    yield Case(
        f"init_fs has its {what} on {place(path, snapshot)}, not on the private nullfs",
        [fs_reference(fs, snapshot)],
    )


def _unclaimed(context: AuditContext) -> Iterator[tuple[Task, PathRef]]:
    """Kernel threads with an ``fs_struct`` of their own that no plugin expects there, and their root."""
    snapshot = context.snapshot
    generation = snapshot.kernel.generation
    intruders = find_intruders(snapshot)  # those have a rule of their own
    for task in snapshot.tasks:
        if not is_kernel_thread(task) or task.owner in (
            None,
            Owner.INIT_FS,
            Owner.USERSPACE_INIT_FS,
            Owner.NONE,
        ):
            continue
        if rooted_elsewhere_by_design(task, generation) or task.owned_fs in intruders:
            continue
        fs = snapshot.fs_of(task)
        if fs is None or fs.root is None or fs.root.placement is None:
            continue
        if not any(plugin.claims(task, generation) for plugin in context.plugins):
            yield task, fs.root


def _groups(context: AuditContext, on_nullfs: bool) -> Iterator[tuple[list[Task], PathRef]]:
    """By what runs in the thread and where it is rooted: that is one cause, however many threads there are."""
    groups: dict[tuple[object, ...], tuple[list[Task], PathRef]] = {}
    for task, root in _unclaimed(context):
        if (root.placement is Placement.NULLFS) is not on_nullfs:
            continue
        code = None if task.kthread is None else task.kthread.module or task.kthread.threadfn
        groups.setdefault((code, root.mount, root.dentry), ([], root))[0].append(task)
    yield from groups.values()


def _code(task: Task) -> str:
    """What the thread runs, for a title."""
    if task.kthread is None or task.kthread.threadfn is None:
        return ""
    return f", in {task.kthread.threadfn}"


def _find_off_nullfs(context: AuditContext) -> Iterator[Case]:
    for tasks, root in _groups(context, on_nullfs=False):
        verb = "is" if len(tasks) == 1 else "are"
        where = place(root, context.snapshot)
        yield Case(
            f"{name_tasks(tasks)}{_code(tasks[0])}, {verb} rooted on {where}, and no plugin says why",
            [task_reference(task) for task in tasks],
        )


def _find_own_fs(context: AuditContext) -> Iterator[Case]:
    for tasks, _ in _groups(context, on_nullfs=True):
        what = "has an fs_struct of its own" if len(tasks) == 1 else "have fs_structs of their own"
        yield Case(
            f"{name_tasks(tasks)}{_code(tasks[0])}, {what} in nullfs, and no plugin says why",
            [task_reference(task) for task in tasks],
        )


def _find_umask(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    if fs is not None and fs.umask not in (None, _UMASK):
        yield Case(
            f"init_fs has umask {fs.umask}, not {_UMASK}: it was changed for all kernel threads",
            [fs_reference(fs, snapshot)],
        )


RULES = (
    Rule(
        id="NX-INIT-FS-OFF-NULLFS",
        severity=Severity.CRITICAL,
        title="init_fs, which all kernel threads share, is not on the private nullfs",
        explanation="Every kernel thread looks paths up there, whether it opted in or not: the isolation of kernel "
        "threads is off for the whole system, and what pins that mount is the kernel.",
        advice="Some kernel thread called a function that sets the root or working directory of its own fs_struct "
        "(set_fs_root(), set_fs_pwd()) without unshare_fs_struct(). Look at out-of-tree modules first.",
        find=_find_init_fs,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-INIT-FS-UMASK",
        severity=Severity.MEDIUM,
        title="init_fs, which all kernel threads share, has another umask than it was made with",
        explanation="What any kernel thread creates gets other modes than before. The kernel's own code sets a umask "
        "only after unshare_fs_struct(), on a copy, as nfsd does; no user task can reach this one. Before 7.3 init_fs "
        "is PID 1's too, and its umask init's choice.",
        advice="Look for a module that sets the umask without unshare_fs_struct(); only a reboot sets it back.",
        find=_find_umask,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-KTHREAD-OFF-NULLFS",
        severity=Severity.MEDIUM,
        title="A kernel thread is rooted outside nullfs, and no plugin claims it",
        explanation="On this kernel threads live in nullfs. One that gave itself another root pins that mount, follows "
        "no pivot_root(), and finds other files than init does.",
        advice=f"If it is rightly there, write a plugin that claims it. If not: {_CONVERT}",
        find=_find_off_nullfs,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-KTHREAD-OWN-FS",
        severity=Severity.LOW,
        title="A kernel thread has an fs_struct of its own, and no plugin claims it",
        explanation="It called unshare_fs_struct(). Its root is nullfs, so nothing is exposed; but of the kernel's own "
        "threads only those that need a umask of their own do this.",
        advice=f"If the thread wants to open files: {_CONVERT}",
        find=_find_own_fs,
        generations=ISOLATING,
    ),
)
