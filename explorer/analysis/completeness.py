"""Is a snapshot all of a kernel's tasks? What is missing, why, and how the next dump has all of it. Pure functions.

A dump that lacks memory hides tasks, and a count tells of it: ``init_fs.users`` counts holders that were not found.
"""

from __future__ import annotations

from explorer.analysis.accounting import expected_users
from explorer.model import Snapshot, Task, fields_of
from explorer.naming import count, join_names

__all__ = ("incompleteness", "lost_tasks", "task_count")

#: Of a task that was read whole all of these are there.
_ALWAYS = ("tgid", "ppid", "comm", "kind", "state", "flags", "borrowing", "owner", "start_time")


def lost_tasks(snapshot: Snapshot) -> str | None:
    """Why there may be more tasks than were found; ``None`` if there cannot be.

    A capture says so itself; of one that is older, the books of ``init_fs`` say it, if a list could not be followed or
    the dump lacks memory. Where something else could not be read, too many users may as well be leaked.
    """
    lost = snapshot.capture.lost_tasks or _without_memory(snapshot)
    why = lost or _broken_list(snapshot)
    if why is None and (snapshot.capture.missing_memory is None or not _is_damaged(snapshot)):
        return None
    uncounted = _uncounted(snapshot)
    if uncounted is None:
        return lost
    return uncounted if why is None else f"{uncounted}; {why}"


def _without_memory(snapshot: Snapshot) -> str | None:
    """A task that the table of pids names, and nothing of it is there."""
    found = (
        error
        for error in snapshot.errors
        if error.what == "task_struct" and error.where.startswith(("task ", "idle task "))
    )
    return next((f"{error.where} could not be read: {error.why}" for error in found), None)


def _broken_list(snapshot: Snapshot) -> str | None:
    """Where a list of tasks, or of the threads of one, could not be followed."""
    found = (error for error in snapshot.errors if error.where == "tasks" or error.what == "threads")
    return next((f"{error.where}: {error.what}: {error.why}" for error in found), None)


def _uncounted(snapshot: Snapshot) -> str | None:
    """Holders of ``init_fs`` that were not found: more than the one reference that is taken for a moment."""
    fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    unread = fields_of(snapshot.tasks, "owner")[0].count(None)
    if not snapshot.capture.consistent or fs is None or fs.users is None:
        return None
    if fs.users - expected_users(fs, snapshot) <= 1 + unread:
        return None
    return f"init_fs counts {count(fs.users, 'user')}, and {fs.sharers} of them were found"


def _is_damaged(snapshot: Snapshot) -> bool:
    return not all(error.is_of_plugin for error in snapshot.errors)


def task_count(snapshot: Snapshot) -> str:
    """``111 tasks``, or ``at least 10 tasks``."""
    least = "" if lost_tasks(snapshot) is None else "at least "
    return least + count(len(snapshot.tasks), "task")


def _is_partial(task: Task) -> bool:
    return any(getattr(task, name) is None for name in _ALWAYS)


def incompleteness(snapshot: Snapshot) -> str | None:
    """What is missing of tasks, mounts and namespaces, and why, in a sentence or a few; ``None`` if nothing is."""
    lost, memory = lost_tasks(snapshot), snapshot.capture.missing_memory
    if lost is None and not _is_damaged(snapshot):
        return None  # whatever is missing has an error entry
    missing = [] if lost is None else [f"At least {count(len(snapshot.tasks), 'task')}: {lost}."]
    holes = [
        (sum(map(_is_partial, snapshot.tasks)), "task"),
        (sum(None in (mount.id, mount.fstype, mount.attachment) for mount in snapshot.mounts), "mount"),
        (
            sum(None in (space.inum, space.nr_mounts) for space in snapshot.mount_namespaces),
            "mount namespace",
        ),
    ]
    named = [count(number, what) for number, what in holes if number]
    if named:
        missing.append(f"Of {join_names(named)} only a part is there.")
    if memory is not None:
        missing.insert(0, f"{memory[:1].upper()}{memory[1:]}.")
    return " ".join(missing) or None
