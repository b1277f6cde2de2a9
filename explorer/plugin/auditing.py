"""What built-in plugins do with kernel stacks: who is in a function, and who borrows in it, user tasks too.

A stack is in the snapshot only for tasks that borrow or walk a path, and only if the kernel's debug info was given.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.model import Finding, Generation, Severity, Snapshot, Task, task_name, task_reference

from .declare import Plugin

__all__ = ("borrowers_in", "frame_in", "isolates", "spoken_for")


def isolates(snapshot: Snapshot) -> bool:
    """Whether kernel threads have another root than init."""
    return snapshot.kernel.generation in (Generation.RFC_V1, Generation.ISOLATED)


def frame_in(task: Task, functions: tuple[str, ...]) -> str | None:
    """The innermost of ``functions`` on the task's kernel stack, with its source line if that is known."""
    for frame in task.stack or ():
        name = frame.function.partition(" [")[0]
        if name in functions:
            return name + (f" ({frame.source})" if frame.source else "")
    return None


def spoken_for(plugin: Plugin, snapshot: Snapshot) -> Iterator[Task]:
    """The tasks that the plugin speaks for."""
    for task in snapshot.tasks:
        if any(speaks.matches(task) for speaks in plugin.speaks_for):
            yield task


def borrowers_in(
    plugin: Plugin, snapshot: Snapshot, functions: tuple[str, ...], subject: str
) -> Iterator[Finding]:
    """One finding (info) for each task that borrows init's filesystem with one of ``functions`` on its stack.

    Those the plugin speaks for are left to ``_common.borrowers()``, which needs no stack.
    """
    ours = {task.address for task in spoken_for(plugin, snapshot)}
    for task in snapshot.tasks:
        function = frame_in(task, functions) if task.borrowing and task.address not in ours else None
        if function is None:
            continue
        path = f" for {task.walk.path}" if task.walk is not None and task.walk.path else ""
        yield plugin.finding(
            "BORROWER",
            Severity.INFO,
            f"{task_name(task)} borrows init's filesystem{path} in {function}",
            [task_reference(task)],
            means=f"{subject} This is how an isolated kernel does it, and it ends with the look-up.",
            do="Nothing, unless it stays: then find out what does not answer below that path.",
        )
