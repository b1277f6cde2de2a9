"""Rules about tasks and the mounts stacked at the root of a mount namespace."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import host_namespaces, is_kernel_thread, rooted_elsewhere_by_design
from explorer.analysis.mounts import Covers
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import (
    Attachment,
    Mount,
    MountNamespace,
    PathRef,
    Placement,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskKind,
    known,
    mount_name,
    mount_reference,
    namespace_reference,
    task_reference,
)
from explorer.naming import name_tasks, place

__all__ = ("RULES",)


def _rooted(snapshot: Snapshot) -> Iterator[tuple[Task, PathRef, Mount, MountNamespace]]:
    """Tasks with a root in some mount namespace."""
    for task in snapshot.tasks:
        fs = snapshot.fs_of(task)
        if fs is None or fs.root is None or rooted_elsewhere_by_design(task, snapshot.kernel.generation):
            continue
        mount = snapshot.mount_by_address.get(fs.root.mount)
        if mount is None or mount.attachment is not Attachment.NAMESPACE:
            continue
        namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
        if namespace is not None:
            yield task, fs.root, mount, namespace


def _evidence(tasks: list[Task], mount: Mount, namespace: MountNamespace) -> list[Reference]:
    return [*map(task_reference, tasks), mount_reference(mount), namespace_reference(namespace)]


def _at_bottom(snapshot: Snapshot) -> Iterator[tuple[list[Task], Mount, MountNamespace]]:
    """Tasks by the bottom nullfs that they are rooted on."""
    groups: dict[int, tuple[list[Task], Mount, MountNamespace]] = {}
    for task, root, mount, namespace in _rooted(snapshot):
        if root.placement is Placement.NULLFS_NS_ROOT and root.path == "/":
            groups.setdefault(mount.address, ([], mount, namespace))[0].append(task)
    yield from groups.values()


def _find_bottom(context: AuditContext) -> Iterator[Case]:
    for tasks, mount, namespace in _at_bottom(context.snapshot):
        evidence = _evidence(tasks, mount, namespace)
        verb = "has its" if len(tasks) == 1 else "have their"
        if namespace.visible_root == mount.address:
            continue  # a namespace of nothing else: the next rule
        yield Case(
            f"{name_tasks(tasks)} {verb} root on {mount_name(mount)}, below everything mounted in its namespace",
            evidence,
        )


def _find_empty(context: AuditContext) -> Iterator[Case]:
    for tasks, mount, namespace in _at_bottom(context.snapshot):
        if namespace.visible_root == mount.address:
            verb = "lives" if len(tasks) == 1 else "live"
            yield Case(
                f"{name_tasks(tasks)} {verb} in an empty mount namespace ({known(namespace.inum)})",
                _evidence(tasks, mount, namespace),
            )


def _find_overmounted(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    covers = Covers(snapshot)
    groups: dict[tuple[int, int], tuple[list[Task], PathRef, Mount, MountNamespace]] = {}
    for task, root, mount, namespace in _rooted(snapshot):
        if root.placement not in (Placement.NULLFS, Placement.NULLFS_NS_ROOT):  # the latter: NX-NS-BOTTOM
            groups.setdefault((root.mount, root.dentry), ([], root, mount, namespace))[0].append(task)
    for tasks, root, mount, namespace in groups.values():
        above = covers.find(root)
        if above is None:
            continue
        verb = "has its" if len(tasks) == 1 else "have their"
        where = f"on {mount_name(mount)}" if root.path == mount.mountpoint else f"in {place(root, snapshot)}"
        many = any(task.kind is TaskKind.INIT or is_kernel_thread(task) for task in tasks)
        yield Case(
            f"{name_tasks(tasks)} {verb} root {where}, below {mount_name(above)} that is mounted over it",
            [*_evidence(tasks, mount, namespace), mount_reference(above)],
            Severity.MEDIUM if many else None,
        )


def _find_other_namespace(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    hosts = host_namespaces(snapshot)
    groups: dict[tuple[int, int], tuple[list[Task], PathRef, Mount, MountNamespace]] = {}
    for task, root, mount, namespace in _rooted(snapshot):
        if task.mnt_ns is not None and task.mnt_ns != namespace.address:
            key = (task.mnt_ns, namespace.address)
            groups.setdefault(key, ([], root, mount, namespace))[0].append(task)
    for (own, other), (tasks, root, mount, namespace) in groups.items():
        verb = "has its" if len(tasks) == 1 else "have their"
        where = f"{place(root, snapshot)} of another mount namespace ({known(namespace.inum)})"
        evidence = _evidence(tasks, mount, namespace)
        if other not in hosts or own in hosts:
            yield Case(f"{name_tasks(tasks)} {verb} root on {where}", evidence)
            continue
        yield Case(
            f"{name_tasks(tasks)} {verb} root on {where}, which is the host's",
            evidence,
            Severity.HIGH,
            "The task is in a mount namespace of its own, and every absolute path that it opens is the host's: no "
            "mount namespace holds it, only its credentials do.",
            "Find the descriptor of the host's tree that it was started with or was handed, and treat the container "
            "as able to reach the host's files. Close descriptors (O_CLOEXEC) before entering the namespace.",
        )


RULES = (
    Rule(
        id="NX-NS-BOTTOM",
        severity=Severity.MEDIUM,
        title="A task's root is the nullfs at the bottom of a mount namespace",
        explanation="That nullfs only carries the real root, which is mounted over it. A task rooted below sees an "
        "empty, immutable directory: absolute paths end with ENOENT, though its namespace has a root.",
        advice="Whoever mounted the root must enter it: chroot() or pivot_root() through a descriptor of the new "
        "mount, not mount() alone.",
        find=_find_bottom,
    ),
    Rule(
        id="NX-NS-EMPTY",
        severity=Severity.INFO,
        title="A task lives in an empty mount namespace",
        explanation="The namespace consists of one nullfs, as unshare(UNSHARE_EMPTY_MNTNS) makes it: a deliberate "
        "choice, to build a tree from nothing or to do without one.",
        advice="Nothing, if the task means it.",
        find=_find_empty,
    ),
    Rule(
        id="NX-ROOT-OVERMOUNTED",
        severity=Severity.LOW,
        title="A task's root is covered by another mount; medium for PID 1 and kernel threads",
        explanation="Something was mounted over the task's root, or over a directory above it, and the task still "
        "sees what is below: from the top of its namespace nobody else can get there. Tasks that stay behind from an "
        "initramfs look like this; so does a switch_root that was left half done.",
        advice='After moving a new root over the old one, call chroot(".") in it. Tasks from the initramfs that must '
        "survive may stay.",
        find=_find_overmounted,
    ),
    Rule(
        id="NX-ROOT-OTHER-NAMESPACE",
        severity=Severity.LOW,
        title="A task's root belongs to another mount namespace than the task; high where it is the host's",
        explanation="What the task opens comes from one namespace, what it mounts and what /proc/PID/mountinfo "
        "shows from another: mount() fails with EINVAL there. It kept a descriptor across setns() or "
        "unshare() and entered it.",
        advice="If it is a container: a descriptor of the host's tree was left open in it. Close descriptors "
        "(O_CLOEXEC) before entering the namespace.",
        find=_find_other_namespace,
    ),
)
