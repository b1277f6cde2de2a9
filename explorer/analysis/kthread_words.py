"""Kernel threads in a sentence: a few by name, many by what they have in common. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from explorer.model import KernelText, Task, TaskKind, comm_and_pid
from explorer.naming import MOST_NAMES, count, join_names, kind_plural

__all__ = ("name_kthread", "name_kthreads")

_MOST_GROUPS = 6
#: ``ksoftirqd/0``, ``kswapd0``, ``napi/eth0-8193``: what stands behind the last letter counts CPUs, nodes, instances.
_COUNTING = "0123456789/:_.-"


def name_kthread(task: Task) -> KernelText:
    """``kswapd0 (40)``, ``rescuer kworker/R-kblockd (33)``: the kernel's full name, where it keeps one."""
    rescuer = "rescuer " if task.kind is TaskKind.RESCUER else ""
    return f"{rescuer}{_name_and_pid(task)}"


def name_kthreads(tasks: Sequence[Task], added: str = "") -> KernelText:
    """``2 kernel threads added: kswapd0 (40) and kdamond.0 (41)``; of many, ``8 rescuers, 6 kworkers and 20 others``.

    :param added: the verb, before the colon; empty: there is none
    """
    verb = f" {added}" if added else ""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[_group(task)].append(task)
    if len(groups) == 1 and len(tasks) > 1:
        names = [_name_and_pid(task) for task in tasks[:MOST_NAMES]]
        if len(tasks) > MOST_NAMES:
            names.append(f"{len(tasks) - MOST_NAMES} more")
        (noun,) = groups
        return f"{len(tasks)} {noun}{verb}: {join_names(names)}"
    if len(tasks) <= MOST_NAMES:
        return f"{count(len(tasks), 'kernel thread')}{verb}: {join_names([*map(name_kthread, tasks)])}"
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))[:_MOST_GROUPS]
    shown = [
        name_kthread(members[0]) if len(members) == 1 else f"{len(members)} {noun}"
        for noun, members in largest
    ]
    others = len(tasks) - sum(len(members) for _, members in largest)
    if others:
        shown.append(count(others, "other"))
    return f"{count(len(tasks), 'kernel thread')}{verb}: {join_names(shown)}"


def _name_and_pid(task: Task) -> KernelText:
    return comm_and_pid(task.name, task.pid)


def _group(task: Task) -> str:
    """In the plural, what a thread is one of."""
    if task.kind is TaskKind.IDLE:
        return "idle threads"
    if task.kind in (TaskKind.KWORKER, TaskKind.RESCUER):
        return kind_plural(task.kind)
    name = task.name
    kind = f"{name.rstrip(_COUNTING) or name} threads"
    module = None if task.kthread is None else task.kthread.module
    return kind if module is None else f"{kind} of module {module}"
