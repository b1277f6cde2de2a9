"""The verdict on a kernel in words: does the isolation of its kernel threads hold? Pure functions."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from explorer.model import Generation, KernelText, Owner, Snapshot, fields_of, is_isolating, task_name
from explorer.naming import count, name_tasks, place

from .completeness import incompleteness, lost_tasks, task_count
from .isolation import (
    Abandonment,
    find_abandonment,
    find_intruders,
    find_pid1,
    init_fs_off_nullfs,
    is_kernel_thread,
)

__all__ = ("Verdict", "VerdictKind", "verdict", "verdict_and_subject")


class VerdictKind(StrEnum):
    """How a kernel's filesystem state stands."""

    ISOLATED = "isolated"
    """Kernel threads live in nullfs, PID 1 owns what they borrow."""
    SHARED = "shared"
    """PID 1 and the kernel threads share ``init_fs``: normal on kernels before 7.3."""
    ABANDONED = "abandoned"
    """PID 1 has left ``userspace_init_fs``: what the kernel looks up, it does not find."""
    BREACHED = "breached"
    """The kernel isolates its threads, and some of them are not isolated."""
    UNKNOWN = "unknown"
    """What decides it could not be read."""


class Verdict(NamedTuple):
    """The verdict. Kernel text in the sentence is not escaped: whoever shows it escapes it."""

    kind: VerdictKind
    headline: str
    """A word or a few, in capitals where it shouts."""
    sentence: KernelText


def verdict(snapshot: Snapshot) -> Verdict:
    """Judge a kernel, by what its own generation promises, and say what was not there to be judged."""
    found, missing = _verdict(snapshot), incompleteness(snapshot)
    if missing is None:
        return found
    careful = found.kind in (VerdictKind.ISOLATED, VerdictKind.SHARED) and lost_tasks(snapshot) is not None
    headline = f"{found.headline}, as far as was read" if careful else found.headline
    return found._replace(headline=headline, sentence=f"{found.sentence} {missing}")


def _verdict(snapshot: Snapshot) -> Verdict:
    if not is_isolating(snapshot.kernel.generation):
        return _shared(snapshot)
    abandonment = find_abandonment(snapshot)
    if abandonment is not None:
        return Verdict(VerdictKind.ABANDONED, "ABANDONED", _abandoned(abandonment, snapshot))
    stray = init_fs_off_nullfs(snapshot)
    if stray is not None:
        sentence = (
            f"init_fs, which the kernel threads share, lies on {place(stray, snapshot)} instead of nullfs."
        )
        return Verdict(VerdictKind.BREACHED, "NOT ISOLATED", sentence)
    intruders = [task for tasks in find_intruders(snapshot).values() for task in tasks]
    if intruders:
        sentence = f"{name_tasks(intruders)} share an fs_struct across the border of kernel and userspace."
        return Verdict(VerdictKind.BREACHED, "NOT ISOLATED", sentence)
    pid1 = find_pid1(snapshot)
    init_fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    init = snapshot.fs_by_address.get(snapshot.kernel.userspace_init_fs or 0)
    roots = [None if fs is None or fs.root is None else fs.root.placement for fs in (init, init_fs)]
    if pid1 is None or pid1.owned_fs is None or None in roots:
        return Verdict(
            VerdictKind.UNKNOWN, "UNKNOWN", "PID 1, init_fs or userspace_init_fs could not be read."
        )
    sentence = f"Kernel threads live in nullfs. {task_name(pid1)} owns userspace_init_fs."
    return Verdict(VerdictKind.ISOLATED, "ISOLATED", sentence)


def _shared(snapshot: Snapshot) -> Verdict:
    pid1 = find_pid1(snapshot)
    if pid1 is None:
        return Verdict(VerdictKind.UNKNOWN, "UNKNOWN", "PID 1 could not be read.")
    owners = zip(snapshot.tasks, *fields_of(snapshot.tasks, "owner"), strict=True)
    holders = [task for task, owner in owners if owner is Owner.INIT_FS]
    kthreads = count(sum(map(is_kernel_thread, holders)), "kernel thread")
    if pid1.owner is Owner.INIT_FS:
        sentence = f"{task_name(pid1)} and {kthreads} share init_fs."
    else:
        sentence = f"{kthreads} share init_fs; {task_name(pid1)} has an fs_struct of its own."
    return Verdict(VerdictKind.SHARED, "SHARED (normal before 7.3)", sentence)


def _abandoned(abandonment: Abandonment, snapshot: Snapshot) -> str:
    pid1 = "PID 1" if abandonment.pid1 is None else task_name(abandonment.pid1)
    what = "left userspace_init_fs" if abandonment.left else "owns a userspace_init_fs without a root"
    where = "; it now points into nullfs" if abandonment.in_nullfs else ""
    by = "lookups that opt in" if snapshot.kernel.generation is Generation.RFC_V1 else "every kernel lookup"
    sentence = f"{pid1} {what}{where}. Firmware loading, modprobe, core pipes and {by} "
    sentence += "fail with ENOENT." if abandonment.in_nullfs else "no longer start at PID 1's root."
    if abandonment.collateral:
        bystanders = count(len(abandonment.collateral), "bystander")
        was = "was" if len(abandonment.collateral) == 1 else "were"
        sentence += f" {bystanders} {was} moved with it: {name_tasks(abandonment.collateral)}."
    return sentence


def verdict_and_subject(snapshot: Snapshot, name: str) -> tuple[str, str]:
    """The verdict, and what it is about; not escaped. :param name: of the target"""
    judged, tasks = verdict(snapshot), task_count(snapshot)
    capture, kernel = snapshot.capture, snapshot.kernel
    state = "" if capture.consistent else ", running while it was read"
    about = f"Linux {kernel.release}, {kernel.generation}, {tasks}, {name}{state}"
    return f"{judged.headline}. {judged.sentence}", about
