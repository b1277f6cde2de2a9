"""What audits call: who borrows init's filesystem, who walks, what stands on a mount that nobody can see.

They work from a snapshot alone. A stack is in it only for tasks that borrow or walk a path, and only if the kernel's
debug info was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.model import (
    Finding,
    Generation,
    KernelSetting,
    PathRef,
    Placement,
    Reference,
    Severity,
    Snapshot,
    Task,
    task_name,
    task_reference,
)

from .declare import GuardedFacts, Plugin

__all__ = (
    "UNSEEN",
    "DeadPlace",
    "absent",
    "borrower",
    "borrowers",
    "borrowers_in",
    "frame_in",
    "incomplete",
    "isolates",
    "spoken_for",
    "walkers",
)

#: Where nobody sees a file any more that the kernel still serves: not on a mount that any path leads to.
UNSEEN = (Placement.DETACHED, Placement.NULLFS, Placement.NULLFS_NS_ROOT, Placement.FAILFS)


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


def incomplete(plugin: Plugin, facts: GuardedFacts) -> Iterator[Finding]:
    """One finding (info) if facts are missing: that nothing else is found then means less."""
    if facts.missing:
        more = f", and {len(facts.missing) - 1} more" if len(facts.missing) > 1 else ""
        yield plugin.finding(
            "INCOMPLETE",
            Severity.INFO,
            f"{plugin.name} was not read completely: {facts.missing[0]}{more}",
            [Reference(kind="plugin", address=None, label=plugin.name)],
            means="What could not be read was not checked either.",
            do="For a module's types without BTF, give its debug info too; else the memory is not in the dump.",
        )


def _scope_of(task: Task, functions: tuple[str, ...]) -> str:
    """The function that opened the borrow: from the stack if there is one, else the only ones that can."""
    for frame in task.stack or ():
        if frame.opens_scope or frame.function in functions:
            return frame.function + (f" ({frame.source})" if frame.source else "")
    return " or ".join(functions)


def borrower(plugin: Plugin, task: Task, function: str, subject: str) -> Finding:
    """What is said (info) of a task that looks a path up in init's filesystem now, in ``function``.

    ``subject``: what that is for, one sentence.
    """
    path = f" for {task.walk.path}" if task.walk is not None and task.walk.path else ""
    return plugin.finding(
        "BORROWER",
        Severity.INFO,
        f"{task_name(task)} borrows init's filesystem{path} in {function}",
        [task_reference(task)],
        means=f"{subject} This is how an isolated kernel does it, and it ends with the look-up.",
        do="Nothing, unless it stays: then find out what does not answer below that path.",
    )


def absent(setting: KernelSetting, do: str) -> tuple[str, str]:
    """Of a path that the kernel does not find: in words that it does not exist, and for whom; and what to do.

    ``do``: what to do where it exists for nobody. Where PID 1 sees it, nothing is to be created: the kernel looks in
    the wrong place.
    """
    if not setting.is_only_elsewhere:
        return "does not exist for init", do
    where = "is there for PID 1" if setting.init_found == "yes" else "may be there for PID 1"
    return (
        f"does not exist where the kernel looks it up, and {where}",
        "Create nothing: the path is right, the kernel looks elsewhere. PID 1 no longer has the root that the kernel's "
        "lookups begin at (see NX-PID1-ABANDONED).",
    )


def borrowers(
    plugin: Plugin, snapshot: Snapshot, functions: tuple[str, ...], subject: str
) -> Iterator[Finding]:
    """One finding (info) for each task the plugin speaks for that looks paths up in init's filesystem now.

    ``functions``: the kernel functions of this subsystem that borrow. That a borrower is stuck is for the
    core's own rules to say.
    """
    for task in spoken_for(plugin, snapshot):
        if task.borrowing:
            yield borrower(plugin, task, _scope_of(task, functions), subject)


def borrowers_in(
    plugin: Plugin, snapshot: Snapshot, functions: tuple[str, ...], subject: str
) -> Iterator[Finding]:
    """One finding (info) for each task that borrows init's filesystem with one of ``functions`` on its stack.

    Those the plugin speaks for are left to :func:`borrowers`, which needs no stack.
    """
    ours = {task.address for task in spoken_for(plugin, snapshot)}
    for task in snapshot.tasks:
        function = frame_in(task, functions) if task.borrowing and task.address not in ours else None
        if function is not None:
            yield borrower(plugin, task, function, subject)


def walkers(plugin: Plugin, snapshot: Snapshot, subject: str) -> Iterator[Finding]:
    """One finding (medium) for each task the plugin speaks for that walks a path: for subsystems that never do.

    On an isolated kernel such a walk starts in nullfs, where the core's own rules find it too.
    """
    for task in spoken_for(plugin, snapshot):
        walk = task.walk
        if walk is None:
            continue
        yield plugin.finding(
            "WALK",
            Severity.MEDIUM,
            f"{task_name(task)} walks the path {walk.path}",
            [task_reference(task)],
            means=f"{subject} A path walk there is nothing that the kernel's own code does.",
            do="Look at what the work item or the thread calls: a module has hooked into it, or the kernel changed.",
        )


@dataclass(frozen=True, slots=True)
class DeadPlace:
    """What a plugin says of a file that its subsystem holds, when the mount it is on is out of everybody's sight."""

    case: str
    severity: Severity
    means: str
    do: str
    among: tuple[Placement, ...] = (Placement.DETACHED,)
    """Where it is out of sight; :data:`UNSEEN` where it must not be in nullfs either."""

    def findings(
        self, plugin: Plugin, path: PathRef | None, subject: str, holder: Reference
    ) -> Iterator[Finding]:
        """One finding if ``path`` is there. ``subject``: the sentence up to "a mount that is"."""
        if path is None or path.placement not in self.among:
            return
        mount = Reference(kind="mount", address=path.mount, label=f"{path.fstype}:{path.path}")
        yield plugin.finding(
            self.case,
            self.severity,
            f"{subject} a mount that is {path.placement.value}",
            [holder, mount],
            means=self.means,
            do=self.do,
        )
