"""Rules about roots and working directories that lead nowhere, or further than they should."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from explorer.analysis.containment import is_inside
from explorer.analysis.holders import list_holders, unexplained_words
from explorer.analysis.isolation import (
    find_abandonment,
    host_namespaces,
    is_kernel_thread,
    is_user_task,
)
from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import (
    Attachment,
    FsStruct,
    HolderKind,
    Mount,
    PathRef,
    Placement,
    Severity,
    Snapshot,
    Task,
    mount_name,
    mount_reference,
    task_reference,
)
from explorer.naming import join_first, name_tasks, place

__all__ = ("RULES",)

#: Where these lie, another rule has said so, and a working directory elsewhere is part of it.
_SAID_ELSEWHERE = frozenset({Placement.NULLFS, Placement.FAILFS, Placement.DETACHED})


def _placed(snapshot: Snapshot) -> Iterator[tuple[Task, FsStruct]]:
    for task in snapshot.tasks:
        fs = snapshot.fs_of(task)
        if fs is not None:
            yield task, fs


def _is_detached(path: PathRef | None) -> bool:
    return path is not None and path.placement is Placement.DETACHED


def _group_by_mount(
    snapshot: Snapshot, choose: Callable[[FsStruct], PathRef | None]
) -> Iterator[tuple[int, list[Task]]]:
    """Tasks by the detached mount that the chosen path pins."""
    groups: dict[int, list[Task]] = {}
    for task, fs in _placed(snapshot):
        path = choose(fs)
        if path is not None:
            groups.setdefault(path.mount, []).append(task)
    yield from groups.items()


def _detached_root(fs: FsStruct) -> PathRef | None:
    return fs.root if _is_detached(fs.root) else None


def _detached_pwd(fs: FsStruct) -> PathRef | None:
    """Only where the root is not detached too: then that is the finding."""
    return fs.pwd if _is_detached(fs.pwd) and not _is_detached(fs.root) else None


def _detached_case(snapshot: Snapshot, address: int, tasks: list[Task], what: str) -> Case:
    mount = snapshot.mount_by_address.get(address)
    name = "a mount that could not be read" if mount is None else mount_name(mount)
    verb = "has its" if len(tasks) == 1 else "have their"
    where = f"{name_tasks(tasks)} {verb} {what} on {name}"
    evidence = [task_reference(task) for task in tasks]
    if mount is not None:
        evidence.append(mount_reference(mount))
    if mount is not None and mount.attachment is Attachment.ANONYMOUS:
        return Case(
            f"{where}, which is attached nowhere",
            evidence,
            Severity.INFO,
            "The mount was made by fsmount() or open_tree() and hangs in no namespace. Container runtimes do this.",
            "Nothing, if the task means it.",
        )
    source = "" if mount is None or mount.source is None else f" ({mount.source})"
    return Case(f"{where}{source}, which was unmounted lazily{_who_else(mount, tasks, snapshot)}", evidence)


def _who_else(mount: Mount | None, tasks: list[Task], snapshot: Snapshot) -> str:
    """Whether these tasks' roots and working directories are all that holds it; nothing where that is not known."""
    holders = None if mount is None else mount.holders
    if holders is None or holders.count is None:
        return ""
    named = {task.address for task in tasks}
    others = [
        holder
        for holder in holders.holders
        if holder.kind not in (HolderKind.ROOT, HolderKind.PWD)
        or not named.issuperset(use.task for use in holder.uses)
    ]
    left = unexplained_words(holders)
    if not others and not left:
        return " and lives on only for that"
    phrases = list_holders(others, snapshot)
    return f" and lives on for that, and for {join_first([left, *phrases] if left else phrases)}"


def _find_detached_roots(context: AuditContext) -> Iterator[Case]:
    for address, tasks in _group_by_mount(context.snapshot, _detached_root):
        yield _detached_case(context.snapshot, address, tasks, "root")


def _find_detached_pwds(context: AuditContext) -> Iterator[Case]:
    for address, tasks in _group_by_mount(context.snapshot, _detached_pwd):
        yield _detached_case(context.snapshot, address, tasks, "working directory")


def _user_tasks_in(context: AuditContext, placement: Placement) -> tuple[list[Task], list[Task]]:
    """User tasks with their root there, and those with only the working directory there."""
    snapshot = context.snapshot
    abandoned = find_abandonment(snapshot) is not None
    roots, pwds = [], []
    for task, fs in _placed(snapshot):
        if is_kernel_thread(task) or task.owned_fs == snapshot.kernel.init_fs:
            continue  # in init_fs it is an intruder
        if abandoned and task.owned_fs == snapshot.kernel.userspace_init_fs:
            continue  # collateral, named there
        if fs.root is not None and fs.root.placement is placement:
            roots.append(task)
        elif fs.pwd is not None and fs.pwd.placement is placement:
            pwds.append(task)
    return roots, pwds


def _find_in_nullfs(context: AuditContext) -> Iterator[Case]:
    roots, pwds = _user_tasks_in(context, Placement.NULLFS)
    if roots:
        verb = "has its root" if len(roots) == 1 else "have their root"
        yield Case(
            f"{name_tasks(roots)} {verb} in the kernel's private nullfs", list(map(task_reference, roots))
        )
    if pwds:
        verb = "has its working directory" if len(pwds) == 1 else "have their working directory"
        yield Case(
            f"{name_tasks(pwds)} {verb} in the kernel's private nullfs",
            list(map(task_reference, pwds)),
            Severity.LOW,
            "Relative paths of these tasks end with ENOENT. A working directory below a mount that is gone can be "
            "walked there.",
            "chdir() to an absolute path helps.",
        )


def _find_in_failfs(context: AuditContext) -> Iterator[Case]:
    roots, pwds = _user_tasks_in(context, Placement.FAILFS)
    for tasks, what in ((roots, "root"), (pwds, "working directory")):
        if tasks:
            verb = "has its" if len(tasks) == 1 else "have their"
            yield Case(f"{name_tasks(tasks)} {verb} {what} in failfs", list(map(task_reference, tasks)))


def _escapes(fs: FsStruct, snapshot: Snapshot) -> bool:
    root, pwd = fs.root, fs.pwd
    if root is None or pwd is None or fs.unstable:
        return False
    if None in (root.placement, pwd.placement):
        return False  # either may be one of those below
    if root.placement in _SAID_ELSEWHERE or pwd.placement in _SAID_ELSEWHERE:
        return False
    return is_inside(pwd, root, snapshot) is False


def _looks_in(task: Task, fs: FsStruct, hosts: frozenset[int], snapshot: Snapshot) -> bool:
    """Whether it is a task of the host, with the host's whole tree, in the tree of a container: it got in from
    outside."""
    root = None if fs.root is None else snapshot.mount_by_address.get(fs.root.mount)
    pwd = None if fs.pwd is None else snapshot.mount_by_address.get(fs.pwd.mount)
    if fs.root is None or root is None or pwd is None or pwd.mnt_ns is None:
        return False
    space = snapshot.namespace_by_address.get(root.mnt_ns or 0)
    is_top = space is not None and root.address == space.visible_root and root.mountpoint == fs.root.path
    whole = fs.root.placement is Placement.INIT_ROOT or is_top
    return whole and task.mnt_ns in hosts and root.mnt_ns in hosts and pwd.mnt_ns not in hosts


def _find_outside(context: AuditContext) -> Iterator[Case]:
    snapshot = context.snapshot
    hosts = host_namespaces(snapshot)
    groups: dict[tuple[int, int, bool], tuple[list[Task], FsStruct]] = {}
    for task, fs in _placed(snapshot):
        if fs.root is not None and is_user_task(task) and _escapes(fs, snapshot):
            key = (fs.root.mount, fs.root.dentry, _looks_in(task, fs, hosts, snapshot))
            groups.setdefault(key, ([], fs))[0].append(task)
    for (_, _, looks_in), (tasks, fs) in groups.items():
        assert fs.root is not None
        assert fs.pwd is not None
        which = f"{place(fs.pwd, snapshot)}, outside the root {place(fs.root, snapshot)}"
        verb = "is" if len(tasks) == 1 else "are"
        where = which if len(tasks) == 1 else f"such as {which}"
        evidence = [task_reference(task) for task in tasks]
        if not looks_in:
            yield Case(f"{name_tasks(tasks)} {verb} in {where}", evidence)
            continue
        yield Case(
            f"{name_tasks(tasks)} {verb} in {where}: the tree of another mount namespace",
            evidence,
            Severity.INFO,
            "A task of the host works in a container's tree, as `cd /proc/PID/root` or a runtime does it: it has left "
            "nothing that held it. The container's filesystem stays busy for as long.",
            "Nothing, if the task means it. What it opens there is of the container's making: symbolic links are "
            "followed from the host's root.",
        )


RULES = (
    Rule(
        id="NX-ROOT-DETACHED",
        severity=Severity.MEDIUM,
        title="A task's root is on a mount that was unmounted lazily",
        explanation="umount -l took the mount out of the tree, and the task still lives in it: the filesystem, its "
        "disk or its server stay busy though no mount table shows them, and nothing mounted later reaches the task.",
        advice="Restart the task, or stop it to release the filesystem. To find such tasks before the umount: "
        "fuser -m.",
        find=_find_detached_roots,
    ),
    Rule(
        id="NX-PWD-DETACHED",
        severity=Severity.LOW,
        title="A task's working directory is on a mount that was unmounted lazily",
        explanation="The filesystem stays busy though no mount table shows it, and getcwd() says (unreachable).",
        advice="Have the task change directory, or stop it, if the device or server must be released.",
        find=_find_detached_pwds,
    ),
    Rule(
        id="NX-ROOT-NULLFS",
        severity=Severity.HIGH,
        title="A user task lives in the kernel's private nullfs",
        explanation="Nothing can be found or created there: every absolute path ends with ENOENT, and nothing can be "
        "mounted on it. A task gets there when PID 1 abandons the fs_struct it shares, by fork from such a task, or as "
        "a helper that the kernel starts afterwards.",
        advice="Restart the task from one that has a root. If PID 1 has abandoned userspace_init_fs, that comes first.",
        find=_find_in_nullfs,
    ),
    Rule(
        id="NX-ROOT-FAILFS",
        severity=Severity.INFO,
        title="A user task lives in failfs",
        explanation="It asked for that with fchroot() or fchdir(): every lookup from there ends with EOPNOTSUPP, which "
        "is a way to give up absolute paths for good.",
        advice="Nothing, if the task means it.",
        find=_find_in_failfs,
    ),
    Rule(
        id="NX-PWD-OUTSIDE-ROOT",
        severity=Severity.MEDIUM,
        title="A task's working directory is outside its root; info for the host's tasks in a container's tree",
        explanation="A chroot or container with the door open: relative paths and '..' lead to everything above that "
        "directory, past the root.",
        advice='After chroot(dir) call chdir("/"). For a container: find the descriptor of the host that it was '
        "started in or was handed, and treat the container as able to reach the host's files.",
        find=_find_outside,
    ),
)
