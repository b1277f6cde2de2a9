"""Rules about PID 1 and ``userspace_init_fs``: what every lookup of the kernel's own depends on."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import find_abandonment, find_pid1, is_user_task
from explorer.analysis.mounts import Covers
from explorer.analysis.rule import ISOLATING, AuditContext, Case, Rule
from explorer.model import (
    Attachment,
    Generation,
    PathRef,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskKind,
    fs_reference,
    is_isolating,
    mount_name,
    mount_reference,
    namespace_reference,
    task_name,
    task_reference,
)
from explorer.naming import count, name_tasks, place

__all__ = ("RULES",)

_RFC_V1_MEANS = (
    "Lookups that opt in with LOOKUP_IN_INIT (firmware, core dumps, the helpers the kernel starts) begin at "
    "userspace_init_fs, a static fs_struct on this kernel, and no longer at PID 1's root."
)


def _find_abandoned(context: AuditContext) -> Iterator[Case]:
    found = find_abandonment(context.snapshot)
    if found is None:
        return
    pid1 = "PID 1" if found.pid1 is None else task_name(found.pid1)
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
        evidence.append(fs_reference(found.fs, context.snapshot))
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
            [*map(task_reference, others), fs_reference(fs, snapshot)],
        )


def _find_chrooted(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    pid1 = find_pid1(snapshot)
    fs = None if pid1 is None else snapshot.fs_of(pid1)
    if pid1 is None or fs is None or fs.root is None:
        return
    mount = snapshot.mount_by_address.get(fs.root.mount)
    if mount is None or mount.attachment is not Attachment.NAMESPACE:
        return  # other rules are about those
    namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
    top = None if namespace is None else snapshot.mount_by_address.get(namespace.visible_root or 0)
    if namespace is None or top is None or fs.root.path is None or mount.mountpoint is None:
        return
    if mount is top and fs.root.path == mount.mountpoint:
        return
    if mount.address == namespace.root or Covers(snapshot).find(fs.root) is not None:
        return  # NX-NS-BOTTOM, NX-ROOT-OVERMOUNTED
    yield Case(
        f"{task_name(pid1)} has its root in {place(fs.root, snapshot)}, and not on {mount_name(top)}, "
        "which is the root of its mount namespace",
        [task_reference(pid1), mount_reference(mount), mount_reference(top), namespace_reference(namespace)],
    )


def _kernel_root(snapshot: Snapshot) -> PathRef | None:
    """Where lookups of the kernel's own begin."""
    kernel = snapshot.kernel
    address = kernel.userspace_init_fs if is_isolating(kernel.generation) else kernel.init_fs
    fs = snapshot.fs_by_address.get(address or 0)
    return None if fs is None else fs.root


def _processes(snapshot: Snapshot) -> Iterator[tuple[Task, PathRef]]:
    """Processes of userspace, without PID 1 and the kernel's helpers, and their roots."""
    for task in snapshot.tasks:
        if task.tgid != task.pid or task.pid == 1 or not is_user_task(task):
            continue
        fs = snapshot.fs_of(task)
        if task.kind is not TaskKind.USERMODEHELPER and fs is not None and fs.root is not None:
            yield task, fs.root


def _find_apart(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    root = _kernel_root(snapshot)
    if root is None or find_abandonment(snapshot) is not None:
        return
    by_root: dict[tuple[int, int], list[tuple[Task, PathRef]]] = {}
    for task, path in _processes(snapshot):
        by_root.setdefault((path.mount, path.dentry), []).append((task, path))
    together = len(by_root.pop((root.mount, root.dentry), []))
    most = max(by_root.values(), key=len, default=[])
    if len(most) <= max(together, 1):
        return
    others = sum(map(len, by_root.values()))
    where = place(most[0][1], snapshot)
    yield Case(
        f"the kernel looks paths up from {place(root, snapshot)}; {others} of {others + together} processes see "
        f"another root, {len(most)} of them {where}",
        [_mount_of(root, snapshot), _mount_of(most[0][1], snapshot), *(task_reference(t) for t, _ in most)],
    )


def _mount_of(path: PathRef, snapshot: Snapshot) -> Reference:
    mount = snapshot.mount_by_address.get(path.mount)
    if mount is not None:
        return mount_reference(mount)
    return Reference(kind="mount", address=path.mount, label=place(path, snapshot))


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
        id="NX-PID1-CHROOT",
        severity=Severity.LOW,
        title="PID 1's root is not the root of its mount namespace",
        explanation="It was entered with chroot() alone: switch_root and pivot_root() move the new root over the old "
        "one as well. The kernel's own lookups begin where PID 1 is, and tasks that PID 1 starts do; but who enters "
        "its mount namespace with setns() (nsenter -t 1 -m) gets the namespace's root and another system, and "
        "pivot_root() fails in containers that are made from there.",
        advice='Have the initramfs use switch_root, or mount --move the new root to / before chroot(".").',
        find=_find_chrooted,
    ),
    Rule(
        id="NX-KERNEL-ROOT-APART",
        severity=Severity.INFO,
        title="Most processes see another root than the kernel's own lookups",
        explanation="Firmware, modprobe and other helpers, core pipes and all else that the kernel opens for itself "
        "come from the first root, PID 1's. What is installed in the one that most processes see is not found: a "
        "distribution that runs in a mount namespace of its own looks like this, and so does a host of one large "
        "container.",
        advice="Nothing, if it is meant. Install firmware, modules and core dump programs where PID 1 sees them.",
        find=_find_apart,
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
