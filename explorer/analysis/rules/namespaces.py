"""Rules about tasks and the mounts stacked at the root of a mount namespace."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.isolation import is_kernel_thread, owned_fs, rooted_elsewhere_by_design
from explorer.analysis.rule import (
    AuditContext,
    Case,
    Rule,
    mount_namespace_reference,
    mount_reference,
    task_reference,
)
from explorer.analysis.words import known, name_mount, name_tasks, place
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
)

__all__ = ("RULES",)


def _rooted(snapshot: Snapshot) -> Iterator[tuple[Task, PathRef, Mount, MountNamespace]]:
    """Tasks with a root in some mount namespace."""
    for task in snapshot.tasks:
        fs = owned_fs(task, snapshot)
        if fs is None or fs.root is None or rooted_elsewhere_by_design(task, snapshot.kernel.generation):
            continue
        mount = snapshot.mount_by_address.get(fs.root.mount)
        if mount is None or mount.attachment is not Attachment.NAMESPACE:
            continue
        namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
        if namespace is not None:
            yield task, fs.root, mount, namespace


def _evidence(tasks: list[Task], mount: Mount, namespace: MountNamespace) -> list[Reference]:
    return [*map(task_reference, tasks), mount_reference(mount), mount_namespace_reference(namespace)]


def _by_mount(
    snapshot: Snapshot, placement: Placement | None
) -> Iterator[tuple[list[Task], Mount, MountNamespace]]:
    """Tasks by the mount they are rooted on: those at its root, and at a bottom nullfs or at none."""
    groups: dict[int, tuple[list[Task], Mount, MountNamespace]] = {}
    for task, root, mount, namespace in _rooted(snapshot):
        if root.placement is Placement.NULLFS:
            continue  # rfc-v1: the kernel threads' own place is the bottom of the initial namespace
        at_bottom = root.placement is Placement.NULLFS_NS_ROOT
        if at_bottom is (placement is Placement.NULLFS_NS_ROOT) and root.path == "/":
            groups.setdefault(mount.address, ([], mount, namespace))[0].append(task)
    yield from groups.values()


def _find_bottom(context: AuditContext) -> Iterator[Case]:
    for tasks, mount, namespace in _by_mount(context.snapshot, Placement.NULLFS_NS_ROOT):
        evidence = _evidence(tasks, mount, namespace)
        verb = "has its" if len(tasks) == 1 else "have their"
        if namespace.visible_root == mount.address:
            continue  # a namespace of nothing else: the next rule
        yield Case(
            f"{name_tasks(tasks)} {verb} root on {name_mount(mount)}, below everything mounted in its namespace",
            evidence,
        )


def _find_empty(context: AuditContext) -> Iterator[Case]:
    for tasks, mount, namespace in _by_mount(context.snapshot, Placement.NULLFS_NS_ROOT):
        if namespace.visible_root == mount.address:
            verb = "lives" if len(tasks) == 1 else "live"
            yield Case(
                f"{name_tasks(tasks)} {verb} in an empty mount namespace ({known(namespace.inum)})",
                _evidence(tasks, mount, namespace),
            )


def _below_visible(mount: Mount, namespace: MountNamespace, snapshot: Snapshot) -> bool:
    """Whether the mount is in the stack at the namespace's root, and not its top."""
    if namespace.visible_root is None or mount.address == namespace.visible_root:
        return False
    at = namespace.root
    for _ in range(len(snapshot.mounts)):
        if at is None or at == mount.address:
            return at is not None
        here = snapshot.mount_by_address.get(at)
        at = None if here is None else here.overmount
    return False


def _find_overmounted(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    for tasks, mount, namespace in _by_mount(snapshot, None):
        if not _below_visible(mount, namespace, snapshot):
            continue
        top = snapshot.mount_by_address.get(namespace.visible_root or 0)
        above = "" if top is None else f", below {name_mount(top)} that is mounted over it"
        verb = "has its" if len(tasks) == 1 else "have their"
        many = any(task.kind is TaskKind.INIT or is_kernel_thread(task) for task in tasks)
        yield Case(
            f"{name_tasks(tasks)} {verb} root on {name_mount(mount)}{above}",
            _evidence(tasks, mount, namespace),
            Severity.MEDIUM if many else None,
        )


def _find_other_namespace(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    groups: dict[tuple[int, int], tuple[list[Task], PathRef, Mount, MountNamespace]] = {}
    for task, root, mount, namespace in _rooted(snapshot):
        if task.mnt_ns is not None and task.mnt_ns != namespace.address:
            key = (task.mnt_ns, namespace.address)
            groups.setdefault(key, ([], root, mount, namespace))[0].append(task)
    for tasks, root, mount, namespace in groups.values():
        verb = "has its" if len(tasks) == 1 else "have their"
        yield Case(
            f"{name_tasks(tasks)} {verb} root on {place(root, snapshot)} of another mount namespace "
            f"({known(namespace.inum)})",
            _evidence(tasks, mount, namespace),
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
        explanation="Something was mounted over the root of the namespace, and the task still sees what is below. "
        "Tasks that stay behind from an initramfs look like this; so does a switch_root that was left half done.",
        advice='After moving a new root over the old one, call chroot(".") in it. Tasks from the initramfs that must '
        "survive may stay.",
        find=_find_overmounted,
    ),
    Rule(
        id="NX-ROOT-OTHER-NAMESPACE",
        severity=Severity.LOW,
        title="A task's root belongs to another mount namespace than the task",
        explanation="What the task opens comes from one namespace, what it mounts and what /proc/PID/mountinfo "
        "shows from another: mount() fails with EINVAL there. It kept a descriptor across setns() or "
        "unshare() and entered it.",
        advice="If it is a container: a descriptor of the host's tree was left open in it. Close descriptors "
        "(O_CLOEXEC) before entering the namespace.",
        find=_find_other_namespace,
    ),
)
