"""Rules about the snapshot itself: what could not be read cannot be judged."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.completeness import lost_tasks, task_count
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import Severity
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


RULES = (
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
