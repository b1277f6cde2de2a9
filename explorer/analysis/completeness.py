"""Is everything there? How many tasks there are at least, and why values and tasks are missing. Pure functions."""

from __future__ import annotations

from explorer.analysis.accounting import reconcile
from explorer.analysis.words import count
from explorer.model import CaptureError, KernelText, Snapshot

__all__ = ("count_tasks", "describe_loss", "find_unjudged", "why_tasks_are_missing")

#: More references than holders are normal up to here: setns(), unshare() and clone() take one for a moment.
_TRANSIENT = 1


def why_tasks_are_missing(snapshot: Snapshot) -> KernelText | None:
    """Why there are more tasks than the snapshot has; ``None`` if nothing says that there are.

    The reader says so itself, or it could not follow a list and an ``fs_struct`` counts users that nobody found: the
    count was not in the list, and tells how much is missing from it. So old snapshots tell it too.
    """
    if snapshot.capture.lost_tasks is not None:
        return snapshot.capture.lost_tasks
    for error in snapshot.errors:
        if error.what == "task_struct" and error.where.startswith("task "):
            return f"{error.where} could not be read: {error.why}"
    broken = next(filter(_is_of_a_list, snapshot.errors), None)
    if broken is None and (snapshot.capture.missing_memory is None or not snapshot.errors):
        return None
    unfound = _unfound_holders(snapshot)
    if unfound is None:
        return None
    return unfound if broken is None else f"{broken.where}: {broken.what}: {broken.why}; {unfound}"


def _is_of_a_list(error: CaptureError) -> bool:
    return error.where == "tasks" or error.what == "threads"


def _unfound_holders(snapshot: Snapshot) -> KernelText | None:
    """The ``fs_struct`` with most users that no task accounts for, nor those of which it is not known what they own."""
    if not snapshot.capture.consistent:
        return None
    unknown = len(find_unjudged(snapshot))
    most = max(
        (books for books in reconcile(snapshot) if books.fs.users is not None),
        key=lambda books: (books.fs.users or 0) - books.expected,
        default=None,
    )
    if most is None or (most.fs.users or 0) - most.expected - unknown <= _TRANSIENT:
        return None
    names = {snapshot.kernel.init_fs: "init_fs", snapshot.kernel.userspace_init_fs: "userspace_init_fs"}
    name = names.get(most.fs.address) or f"fs_struct 0x{most.fs.address:x}"
    return f"{name} counts {count(most.fs.users or 0, 'user')}, found are {most.expected}"


def find_unjudged(snapshot: Snapshot) -> list[int]:
    """Addresses of the tasks of which it is not known what they own."""
    return [task.address for task in snapshot.tasks if task.owner is None]


def count_tasks(snapshot: Snapshot) -> str:
    """``86 tasks``; ``at least 86 tasks`` if there are more."""
    found = count(len(snapshot.tasks), "task")
    return found if why_tasks_are_missing(snapshot) is None else f"at least {found}"


def describe_loss(snapshot: Snapshot) -> KernelText | None:
    """One line: what is missing, and why, as the dump tells; ``None`` where it costs nothing or is not known."""
    why, errors = snapshot.capture.missing_memory, snapshot.errors
    if why is None or (not errors and why_tasks_are_missing(snapshot) is None):
        return None
    tasks = len({error.where for error in errors if error.where.startswith("task ")})
    of = f", of {tasks} of {count_tasks(snapshot)}" if tasks else ""
    return f"{count(len(errors), 'value')} could not be read{of}: {why}."
