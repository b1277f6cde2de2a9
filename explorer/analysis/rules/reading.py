"""Rules about the snapshot itself: what could not be read cannot be judged."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.completeness import lost_tasks, task_count
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import OnlyIn, Severity, task_name, task_reference
from explorer.naming import count

__all__ = ("RULES",)


def _find_unreadable(context: AuditContext) -> Iterator[Case]:
    errors = context.snapshot.errors
    if errors:
        first = errors[0]
        yield Case(
            f"{count(len(errors), 'value')} could not be read; the first: {first.where}: {first.what}: {first.why}",
            [],
        )


def _find_missing_tasks(context: AuditContext) -> Iterator[Case]:
    why = lost_tasks(context.snapshot)
    if why is not None:
        yield Case(f"tasks are missing, there are {task_count(context.snapshot)}: {why}", [])


def _find_unlisted(context: AuditContext) -> Iterator[Case]:
    for task in context.snapshot.tasks:
        if task.only_in is OnlyIn.PID_TABLE:
            yield Case(
                f"{task_name(task)} is in the table of pids, but not in the list of tasks",
                [task_reference(task)],
            )
        elif task.only_in is OnlyIn.TASK_LIST:
            yield Case(
                f"{task_name(task)} is in the list of tasks, but not in the table of pids",
                [task_reference(task)],
                explanation="/proc does not show it and no signal reaches it by its pid, while it runs as any "
                "other. The kernel never leaves a living task so: code hides it, or memory was overwritten.",
            )


def _cannot_tell_unlisted(context: AuditContext) -> str | None:
    checked = context.snapshot.capture.pids_checked
    if checked is None:
        return (
            "the snapshot was made by a version that did not compare the list of tasks with the table of pids"
        )
    return None if checked else "the list of tasks or the table of pids is not all there"


RULES = (
    Rule(
        id="NX-TASK-UNLISTED",
        severity=Severity.HIGH,
        title="A task is in the list of tasks or in the table of pids, but not in both",
        explanation="Whatever goes through all tasks (the OOM killer, live patching, crash's ps) passes it by, while "
        "/proc shows it and it runs as any other. The kernel never leaves a living task so: code hides it, or memory "
        "was overwritten.",
        advice="Take a dump before anything else. Look for modules that nobody knows (the taints under modules), and "
        "for what the log says of corruption.",
        find=_find_unlisted,
        cannot_tell=_cannot_tell_unlisted,
    ),
    Rule(
        id="NX-TASKS-MISSING",
        severity=Severity.INFO,
        title="There are more tasks than were found",
        explanation="A list of tasks could not be followed to its end, or an fs_struct counts users that nobody found. "
        "Of the tasks that are missing nothing was judged, and no reference is called leaked: they may hold it.",
        advice="Take a dump with more of its memory (makedumpfile -d 23), with a makedumpfile that knows this kernel.",
        find=_find_missing_tasks,
    ),
    Rule(
        id="NX-UNREADABLE",
        severity=Severity.INFO,
        title="Values could not be read",
        explanation="The rules do not guess: what depends on a missing value was not judged, so that an audit without "
        "findings is not a clean bill here. On a running kernel a few such values are normal.",
        advice="nullfs-explorer snapshot lists them all under errors. Read the running kernel again, or take a "
        "dump with more of its memory (makedumpfile -d 23).",
        find=_find_unreadable,
    ),
)
