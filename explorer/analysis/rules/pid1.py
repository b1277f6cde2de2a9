"""Rules about PID 1 and ``userspace_init_fs``: what every lookup of the kernel's own depends on."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import find_abandonment, is_user_task
from explorer.analysis.rule import ISOLATING, AuditContext, Case, Rule, fs_reference, task_reference
from explorer.analysis.words import count, name_task, name_tasks
from explorer.model import Generation, Severity

__all__ = ("RULES",)

_RFC_V1_MEANS = (
    "Lookups that opt in with LOOKUP_IN_INIT (firmware, core dumps, the helpers the kernel starts) begin at "
    "userspace_init_fs, a static fs_struct on this kernel, and no longer at PID 1's root."
)


def _find_abandoned(context: AuditContext) -> Iterator[Case]:
    found = find_abandonment(context.snapshot)
    if found is None:
        return
    pid1 = "PID 1" if found.pid1 is None else name_task(found.pid1)
    title = (
        f"{pid1} abandoned userspace_init_fs" if found.left else f"userspace_init_fs of {pid1} has no root"
    )
    if found.in_nullfs:
        title += ", which now points into nullfs"
    if found.collateral:
        was = "was" if len(found.collateral) == 1 else "were"
        title += f"; {name_tasks(found.collateral)} {was} moved with it"
    evidence = [] if found.pid1 is None else [task_reference(found.pid1)]
    if found.fs is not None:
        evidence.append(fs_reference(found.fs, "userspace_init_fs"))
    evidence += map(task_reference, found.collateral)
    rfc = context.snapshot.kernel.generation is Generation.RFC_V1
    yield Case(title, evidence, explanation=_RFC_V1_MEANS if rfc else None)


def _find_sharers(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    if find_abandonment(snapshot) is not None:
        return  # they are its collateral
    address = snapshot.kernel.userspace_init_fs
    fs = snapshot.fs_by_address.get(address or 0)
    if address is None or fs is None:
        return
    others = [
        task
        for task in snapshot.sharers_by_fs.get(address, [])
        if task.tgid not in (1, None) and is_user_task(task)
    ]
    if others:
        verb = "shares" if len(others) == 1 else "share"
        yield Case(
            f"{name_tasks(others)} {verb} userspace_init_fs with PID 1",
            [*map(task_reference, others), fs_reference(fs, "userspace_init_fs")],
        )


def _find_log_line(context: AuditContext) -> Iterator[Case]:
    lines = [line for line in context.snapshot.log if "Pid 1 stopped sharing" in line]
    if not lines:
        return
    title = f"the kernel's log says: {' '.join(lines[0].split())}"
    if len(lines) > 1:
        title += f" ({count(len(lines), 'time')})"
    if find_abandonment(context.snapshot) is None:
        yield Case(title, [])
        return
    yield Case(
        title,
        [],
        Severity.INFO,
        "It says when PID 1 abandoned userspace_init_fs: whatever failed after that moment failed because of it.",
        "Compare the time with the first failures, and with what PID 1 did then.",
    )


RULES = (
    Rule(
        id="NX-PID1-ABANDONED",
        severity=Severity.CRITICAL,
        title="PID 1 no longer owns userspace_init_fs",
        explanation="Every lookup that the kernel makes for itself begins at userspace_init_fs: firmware, modprobe and "
        "other helpers, core pipes, ksmbd, LIO. PID 1 left it, the kernel moved it into the empty nullfs together with "
        "all who still held it, and from then on these lookups end with ENOENT. It cannot be undone while the "
        "system runs.",
        advice="Reboot. Then find the unshare(CLONE_FS) or unshare(CLONE_NEWNS) in PID 1 (also in a library or a "
        "thread of it) and move it into a child; a new mount namespace for the whole system is entered with "
        "pivot_root() instead.",
        find=_find_abandoned,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-USERSPACE-FS-SHARED",
        severity=Severity.MEDIUM,
        title="Tasks other than PID 1 share userspace_init_fs",
        explanation="A chroot(), chdir() or umask() in any of these tasks changes where the kernel itself looks up "
        "firmware, modprobe, core pipes and everything else it opens. And if PID 1 ever unshares, they are moved into "
        "nullfs with what it leaves.",
        advice="PID 1 started them with clone(CLONE_FS): start them without it, or have them call unshare(CLONE_FS) "
        "first.",
        find=_find_sharers,
        generations=ISOLATING,
    ),
    Rule(
        id="NX-LOG-PID1-UNSHARED",
        severity=Severity.HIGH,
        title="The kernel's log says that PID 1 stopped sharing its filesystem state",
        explanation="The kernel says so once, when PID 1 abandons userspace_init_fs. Here the state that was read does "
        "not show it: either it could not be read whole, or the line was written into the log by somebody else.",
        advice="Look at userspace_init_fs and at PID 1's fs_struct by hand, and at who can write to /dev/kmsg.",
        find=_find_log_line,
        generations=ISOLATING,
    ),
)
