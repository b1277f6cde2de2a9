"""Rules about tasks whose lookups use another ``fs_struct`` than the one they own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from explorer.analysis.rule import ISOLATING, AuditContext, Case, Rule
from explorer.model import (
    STUCK_S,
    Finding,
    Generation,
    Severity,
    Snapshot,
    Task,
    TaskFlag,
    TaskKind,
    task_at,
    task_name,
    task_reference,
)
from explorer.naming import name_tasks, seconds

__all__ = ("RULES", "borrowing_function", "merge_borrowers")

_GENERAL = "NX-BORROWER"
_SPECIFIC = "-BORROWER"


def _is_stuck(task: Task) -> bool:
    return task.state == "D" and (task.waiting_s is None or task.waiting_s >= STUCK_S)


def _function(task: Task) -> str | None:
    """What a kernel thread runs: its work function, or its own where it is no worker."""
    if task.kthread is None or task.kthread.current_func is not None:
        return None if task.kthread is None else task.kthread.current_func
    return None if _serves_works(task) else task.kthread.threadfn


def borrowing_function(task: Task, snapshot: Snapshot) -> str | None:
    """Under which function a borrower borrows, as kallsyms names it, its module behind it: the work function or thread
    function, of an idle worker the last work it ran; ``None`` where that is not known, and of user tasks.
    """
    if task.kthread is not None and _is_leaked(task, snapshot):
        return task.kthread.last_func
    return _function(task)


def _serves_works(task: Task) -> bool:
    """Whether it runs what others hand it, and is idle in between."""
    is_worker = task.kind in (TaskKind.KWORKER, TaskKind.RESCUER)
    return is_worker or (task.kthread is not None and task.kthread.waiting_works is not None)


def _is_leaked(task: Task, snapshot: Snapshot) -> bool:
    """It sleeps between two works, and no scope spans those: the last one has not given back what it borrowed.

    Not if what it runs could not be read, nor if it took up a work meanwhile: then it was not asleep as the idle are.
    """
    kthread = task.kthread
    if kthread is None or kthread.current_func is not None or not _serves_works(task):
        return False
    where = task_at(task.pid, task.address)
    return task.state in ("I", "S") and not any(error.where == where for error in snapshot.errors)


def _leaked(task: Task) -> Case:
    kthread = task.kthread
    last = None if kthread is None else kthread.last_func
    blame = f"; the last work it ran is {last}" if last else ""
    return Case(
        f"{task_name(task)} is idle, and borrows userspace_init_fs{blame}",
        [task_reference(task)],
        Severity.MEDIUM,
        "It is between two works, where no scope can be open: a work function ended without giving back what it had "
        "borrowed. Whatever runs there next looks its paths up in init's filesystem, though it never asked to, and "
        "pivot_root() does not move this thread.",
        f"Look in {last or 'the works of this thread'}, and in what it calls, for a way out that leaves "
        "scoped_with_init_fs() by hand, or for code that assigns task->fs.",
    )


def _doing(task: Task) -> str:
    """What it looks up, and for whom: as much as is known."""
    words = ""
    if task.walk is not None and task.walk.path is not None:
        words += f" to look up {task.walk.path}"
    runs = _function(task)
    if runs is not None:
        words += f" in {runs}"
    scope = next((frame for frame in task.stack or () if frame.opens_scope), None)
    if scope is not None:
        words += f", opened by {scope.function}" + (f" ({scope.source})" if scope.source else "")
    return words


def _waiting(task: Task) -> str:
    if task.state != "D":
        return ""
    return ", in D state" + ("" if task.waiting_s is None else f" for {seconds(task.waiting_s)}")


def _find_borrowers(context: AuditContext) -> Iterator[Case]:
    for task in context.snapshot.tasks:
        if not task.borrowing:
            continue
        if _is_leaked(task, context.snapshot):
            yield _leaked(task)
            continue
        title = f"{task_name(task)} borrows userspace_init_fs{_doing(task)}{_waiting(task)}"
        evidence = [task_reference(task)]
        if not _is_stuck(task):
            yield Case(title, evidence)
            continue
        yield Case(
            title,
            evidence,
            Severity.HIGH,
            "It entered init's filesystem for one lookup and hangs in it: what answers for that path does not answer. "
            "Whoever waits for this task waits as long, and pivot_root() will not move it.",
            "Look at the filesystem below that path: a dead network or FUSE server, a failed disk. Ending the server "
            "or umount -f releases the lookup.",
        )


def merge_borrowers(findings: Sequence[Finding], snapshot: Snapshot) -> list[Finding]:
    """A borrower is named once: where a plugin knows what it borrows for, its finding takes the place of ours.

    What ours knows goes with it: how bad it is, how long the task has waited, and what that means.
    """
    ours = {found.evidence[0].address: found for found in findings if found.rule == _GENERAL}
    merged, known = [], set()
    for found in findings:
        address = found.evidence[0].address if found.evidence else None
        general = ours.get(address) if found.rule.endswith(_SPECIFIC) and found.rule != _GENERAL else None
        task = None if general is None or address is None else snapshot.task_by_address.get(address)
        if general is None or task is None:
            merged.append(found)
            continue
        known.add(address)
        values: dict[str, object] = {"title": found.title + _waiting(task)}
        if general.severity.rank < found.severity.rank:
            means = f"{found.explanation} {general.explanation}"
            values |= {"severity": general.severity, "explanation": means, "advice": general.advice}
        merged.append(found.model_copy(update=values))
    return [found for found in merged if found.rule != _GENERAL or found.evidence[0].address not in known]


def _find_foreign(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    init_fs = snapshot.kernel.userspace_init_fs
    if init_fs is None:
        return  # who borrows and who does not cannot be told apart
    by_fs: dict[int, list[Task]] = {}
    for task in snapshot.tasks:
        if task.fs is None or task.real_fs is None or task.has_flag(TaskFlag.EXITING):
            continue
        if task.fs not in (task.real_fs, init_fs):
            by_fs.setdefault(task.fs, []).append(task)
    for address, tasks in by_fs.items():
        owners = snapshot.sharers_by_fs.get(address, [])
        whose = f", which {name_tasks(owners)} own{'s' if len(owners) == 1 else ''}" if owners else ""
        verb = "looks" if len(tasks) == 1 else "look"
        yield Case(
            f"{name_tasks(tasks)} {verb} paths up in a foreign fs_struct 0x{address:x}{whose}",
            [*map(task_reference, tasks), *map(task_reference, owners)],
        )


RULES = (
    Rule(
        id=_GENERAL,
        severity=Severity.INFO,
        title="A task borrows userspace_init_fs; medium when it is an idle worker, high when it is stuck in D state "
        "for 10 s or more",
        explanation="It is inside scoped_with_init_fs(): for one lookup it sees what PID 1 sees. That is how kernel "
        "code opens files on this kernel. /proc and ps do not show it.",
        advice="Nothing, unless it stays: then look at the filesystem below the path.",
        find=_find_borrowers,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-FOREIGN-FS",
        severity=Severity.HIGH,
        title="task->fs is neither the task's own fs_struct nor userspace_init_fs",
        explanation="No code of the kernel's own does this. No reference is held for it: when the owner exits, the "
        "fs_struct is freed while this task still uses it. Some out-of-tree modules assign task->fs to open files as "
        "somebody else.",
        advice="Find the module that assigns task->fs (nullfs-explorer ko FILE.ko helps); it must use "
        "scoped_with_init_fs() instead.",
        find=_find_foreign,
        generations=frozenset({Generation.ISOLATED}),
    ),
)
