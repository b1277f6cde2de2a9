"""What happened between two frames of a recording. Pure functions.

A recording sees states, not acts: an event is what must have happened, at the latest, by the frame it is given for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from explorer.analysis.diff import Pairs, match_mounts, match_namespaces, match_tasks, perhaps_moved
from explorer.analysis.isolation import find_abandonment, find_pid1, is_kernel_thread
from explorer.analysis.kthread_words import name_kthreads
from explorer.analysis.mounts import overmount_stack
from explorer.model import (
    Attachment,
    Frame,
    KernelText,
    Mount,
    MountNamespace,
    Owner,
    Placement,
    Snapshot,
    Task,
    TaskFlag,
    UserModeHelper,
    global_fs,
    hex_address,
    is_isolating,
    mount_name,
    namespace_name,
    task_name,
)
from explorer.naming import count, name_tasks, place

from .cgroups import find_moves
from .phases import root_mount, unpacker
from .standing import Seen

__all__ = ("Event", "EventKind", "events_between", "first_events")


class EventKind(StrEnum):
    """What sort of event."""

    READABLE = "kernel readable"
    INITIAL = "already there"
    """State, not an event: how the first readable frame of a boot found things."""
    SEGMENT = "new boot"
    END = "recording ends"
    INIT_FS_PUBLISHED = "userspace_init_fs published"
    PID1_CREATED = "PID 1 created"
    PID1_MOVED = "PID 1 moved"
    PID1_EXEC = "PID 1 exec"
    UNPACK_BEGIN = "initramfs unpacking"
    UNPACK_END = "initramfs unpacked"
    ROOT_MOUNTED = "real root mounted"
    SWITCH_ROOT = "switch_root"
    PIVOT_ROOT = "pivot_root"
    ABANDONED = "abandonment"
    KTHREADS = "kthreads"
    BORROW_BEGIN = "borrow begins"
    BORROW_END = "borrow ends"
    UNSHARE = "unshare"
    CHROOT = "chroot"
    NAMESPACE = "namespace made"
    CGROUP = "cgroup changed"
    HELPER = "usermodehelper"
    LOOKUP = "lookup in nullfs"
    MOUNT = "mount"
    OVERMOUNT = "overmount"
    UMOUNT = "umount"
    HANG_BEGIN = "hang begins"
    HANG_END = "hang ends"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Kernel text in it is not escaped: whoever shows it escapes it."""

    frame: int
    """The first frame that shows it."""
    seconds: float
    segment: int
    kind: EventKind
    text: KernelText
    """A sentence without the time."""
    address: int | None = None
    """The task, mount or namespace it is about."""
    pid: int | None = None
    """Of the task it is about."""

    @property
    def line(self) -> KernelText:
        """The event in a line that stands alone: the text says what sort it is, but for these two."""
        said = self.kind not in (EventKind.INITIAL, EventKind.END)
        return self.text if said else f"{self.kind.value}: {self.text}"


class _Maker:
    """Makes events of one frame."""

    def __init__(self, frame: Frame) -> None:
        self._where = (frame.index, frame.seconds, frame.segment)

    def of(self, kind: EventKind, text: str) -> Event:
        return Event(*self._where, kind, text)

    def task(self, kind: EventKind, text: str, task: Task) -> Event:
        return Event(*self._where, kind, text, task.address, task.pid)

    def at(self, kind: EventKind, text: str, address: int) -> Event:
        return Event(*self._where, kind, text, address)


def _stack_text(snapshot: Snapshot) -> str:
    return " → ".join(map(mount_name, overmount_stack(snapshot))) or "?"


def first_events(seen: Seen) -> Iterator[Event]:
    """That a boot can be read from now on, and what was there already: nobody saw that happen."""
    snapshot, make = seen.snapshot, _Maker(seen.frame)
    generation = snapshot.kernel.generation.value
    yield make.of(EventKind.READABLE, f"Linux {snapshot.kernel.release} ({generation}) can be read")
    pid1 = find_pid1(snapshot)
    if pid1 is not None:
        yield make.task(EventKind.INITIAL, _pid1_state(pid1, snapshot), pid1)
    if is_isolating(snapshot.kernel.generation) and snapshot.kernel.userspace_init_fs is not None:
        yield replace(_published(make, snapshot), kind=EventKind.INITIAL)
    threads = [task for task in snapshot.tasks if is_kernel_thread(task)]
    if threads:
        yield make.task(EventKind.INITIAL, name_kthreads(threads), threads[0])
    for event in (*_unpacking(make, None, seen), *_abandonment(make, None, snapshot)):
        yield replace(event, kind=EventKind.INITIAL)


def _pid1_state(pid1: Task, snapshot: Snapshot) -> KernelText:
    """``PID 1 is nx-init, its root is rootfs#2:/; / is nullfs#1 → rootfs#2``."""
    kernels = ", which runs no program yet" if pid1.has_flag(TaskFlag.FORKNOEXEC) else ""
    fs = snapshot.fs_of(pid1)
    if fs is None or fs.root is None:
        return f"PID 1 is {pid1.name}{kernels}"
    return (
        f"PID 1 is {pid1.name}{kernels}; its root is {place(fs.root, snapshot)}; / is {_stack_text(snapshot)}"
    )


def events_between(before: Seen, after: Seen) -> Iterator[Event]:
    """What happened from one frame to the next of the same boot; borrowing is in :mod:`.timeline`."""
    a, b, make = before.snapshot, after.snapshot, _Maker(after.frame)
    if a.kernel.userspace_init_fs is None and b.kernel.userspace_init_fs is not None:
        yield _published(make, b)
    yield from _pid1(make, a, b)
    yield from _unpacking(make, before, after)
    tasks = match_tasks(a, b, same_boot=True)
    threads = [task for task in tasks.added if is_kernel_thread(task)]
    if threads:
        yield make.task(EventKind.KTHREADS, name_kthreads(threads, "added"), threads[0])
    yield from _mounts(make, match_mounts(a, b, same_boot=True), a, b)
    namespaces = match_namespaces(a, b, same_boot=True)
    yield from _namespaces(make, namespaces.added, b)
    yield from _moves(make, tasks, a, b)
    for move in find_moves(tasks.changed):
        yield make.task(EventKind.CGROUP, move.text, move.tasks[0])
    yield from _abandonment(make, a, b)
    yield from _helpers(make, a, b)


def _published(make: _Maker, snapshot: Snapshot) -> Event:
    address = snapshot.kernel.userspace_init_fs or 0
    fs = snapshot.fs_by_address.get(address)
    where = "" if fs is None or fs.root is None else f", rooted at {place(fs.root, snapshot)}"
    return make.at(EventKind.INIT_FS_PUBLISHED, f"userspace_init_fs is published{where}", address)


def _pid1_place(make: _Maker, pid1: Task, snapshot: Snapshot) -> Iterator[Event]:
    fs = snapshot.fs_of(pid1)
    if fs is not None and fs.root is not None:
        text = f"PID 1 is on {place(fs.root, snapshot)}; / is {_stack_text(snapshot)}"
        yield make.task(EventKind.PID1_MOVED, text, pid1)


def _pid1(make: _Maker, a: Snapshot, b: Snapshot) -> Iterator[Event]:
    old, new = find_pid1(a), find_pid1(b)
    if new is None:
        return
    if old is None:
        yield make.task(EventKind.PID1_CREATED, f"PID 1 is created: {new.name}", new)
        yield from _pid1_place(make, new, b)
        return
    before, after = root_mount(old, a), root_mount(new, b)
    if before is not None and after is not None and not _same_mount(before, after):
        yield _moved_root(make, new, (before, after), (a, b))
    execed = (
        old.has_flag(TaskFlag.FORKNOEXEC) and new.flags is not None and not new.has_flag(TaskFlag.FORKNOEXEC)
    )
    if execed:
        yield make.task(EventKind.PID1_EXEC, f"PID 1 executes its first program, as {new.name}", new)
    elif old.comm != new.comm:
        yield make.task(EventKind.PID1_EXEC, f"PID 1 is {new.name} now; it was {old.name}", new)


def _same_mount(a: Mount, b: Mount) -> bool:
    return (a.address, a.id, a.unique_id) == (b.address, b.id, b.unique_id)


def _moved_root(
    make: _Maker, pid1: Task, mounts: tuple[Mount, Mount], snapshots: tuple[Snapshot, Snapshot]
) -> Event:
    """switch_root moves the new root over the old one; pivot_root puts the old one aside, or takes it away."""
    (before, after), (a, b) = mounts, snapshots
    stack = overmount_stack(b)
    addresses = [mount.address for mount in stack]
    stacks = f"/ was {_stack_text(a)}, is {_stack_text(b)}"
    moved = f"PID 1 went from {mount_name(before)} to {mount_name(after)}"
    if after.address not in addresses:
        return make.task(EventKind.PID1_MOVED, f"{moved}; {stacks}", pid1)
    if before.address in addresses[: addresses.index(after.address)]:
        return make.task(EventKind.SWITCH_ROOT, f"{moved} by switch_root; {stacks}", pid1)
    return make.task(EventKind.PIVOT_ROOT, f"{moved} by pivot_root; {stacks}", pid1)


def _unpacking(make: _Maker, before: Seen | None, after: Seen) -> Iterator[Event]:
    old = None if before is None else unpacker(before.snapshot, before.busy)
    new = unpacker(after.snapshot, after.busy)
    if old is None and new is not None:
        text = f"{task_name(new)} unpacks the initramfs into rootfs (do_populate_rootfs)"
        yield make.task(EventKind.UNPACK_BEGIN, text, new)
    elif old is not None and new is None:
        yield make.task(EventKind.UNPACK_END, f"{task_name(old)} has unpacked the initramfs", old)


def _mounts(make: _Maker, mounts: Pairs[Mount], a: Snapshot, b: Snapshot) -> Iterator[Event]:
    copied = {ns.address for ns in b.mount_namespaces} - {ns.address for ns in a.mount_namespaces}
    for mount in mounts.added:
        if mount.mnt_ns in copied:
            continue  # a namespace begins with copies of its parent's mounts: that is one event, not thirty
        yield from _mounted(make, mount, b)
    for before, after in mounts.changed:
        if before.overmount != after.overmount and after.overmount is not None:
            top = b.mount_by_address.get(after.overmount)
            new = top is None or any(top is added for added in mounts.added)
            if top is not None and not new:
                text = f"{mount_name(top)} is moved over {mount_name(after)} at {after.mountpoint or '?'}"
                yield make.at(EventKind.OVERMOUNT, text, top.address)
    for mount in mounts.gone:
        if mount.attachment is Attachment.NAMESPACE and mount.mnt_ns in b.namespace_by_address:
            where = mount.mountpoint or "?"
            yield make.at(EventKind.UMOUNT, f"{mount_name(mount)} is gone from {where}", mount.address)


def _mounted(make: _Maker, mount: Mount, snapshot: Snapshot) -> Iterator[Event]:
    where = mount.mountpoint or "?"
    source = f" ({mount.source})" if mount.source and mount.source != mount.fstype else ""
    parent = snapshot.mount_by_address.get(mount.parent or 0)
    initial = mount.mnt_ns == snapshot.kernel.init_mnt_ns
    inside = "" if initial or mount.attachment is not Attachment.NAMESPACE else " in another namespace"
    if mount.attachment is not Attachment.NAMESPACE:
        what = "" if mount.attachment is None else f", {mount.attachment.value}"
        yield make.at(EventKind.MOUNT, f"{mount_name(mount)}{source} added{what}", mount.address)
    elif parent is not None and parent.overmount == mount.address:
        text = f"{mount_name(mount)}{source} is mounted over {mount_name(parent)} at {where}{inside}"
        yield make.at(EventKind.OVERMOUNT, text, mount.address)
    elif initial and mount.source is not None and mount.source.startswith("/dev/"):
        text = f"{mount_name(mount)}{source} is mounted at {where}: a real filesystem"
        yield make.at(EventKind.ROOT_MOUNTED, text, mount.address)
    else:
        yield make.at(
            EventKind.MOUNT, f"{mount_name(mount)}{source} is mounted at {where}{inside}", mount.address
        )


def _namespaces(make: _Maker, added: Iterable[MountNamespace], snapshot: Snapshot) -> Iterator[Event]:
    for namespace in added:
        dwellers = [task for task in snapshot.tasks if task.mnt_ns == namespace.address]
        by = name_tasks(dwellers) if dwellers else "nobody found"
        mounts = "?" if namespace.nr_mounts is None else count(namespace.nr_mounts, "mount")
        text = f"mount namespace {namespace_name(namespace)} with {mounts}, for {by}"
        yield make.at(EventKind.NAMESPACE, text, namespace.address)


def _moves(make: _Maker, tasks: Pairs[Task], a: Snapshot, b: Snapshot) -> Iterator[Event]:
    """unshare(CLONE_FS) and chroot(), of user tasks; PID 1's moves have events of their own."""
    together: dict[int, list[str]] = defaultdict(list)
    pid1 = find_pid1(b)
    for old, new in perhaps_moved(tasks, a, b):
        if is_kernel_thread(new) or old.owned_fs is None or new.owned_fs is None:
            continue
        moved_root = pid1 is new
        if old.owned_fs != new.owned_fs and old.owner is not Owner.PRIVATE:
            name = global_fs(a.kernel).get(old.owned_fs)
            shared = name or f"the fs_struct it shared at {hex_address(old.owned_fs)}"
            text = f"{task_name(new)} unshares its fs_struct: it leaves {shared}"
            yield make.task(EventKind.UNSHARE, text, new)
        before, after = a.fs_by_address.get(old.owned_fs), b.fs_by_address.get(new.owned_fs)
        if before is None or after is None or before.root is None or after.root is None or moved_root:
            continue
        root = (after.root.mount, after.root.dentry)
        if (before.root.mount, before.root.dentry) != root and after.root.placement is Placement.CHROOT:
            together[new.owned_fs].append(task_name(new))
            if len(together[new.owned_fs]) == 1:
                yield make.task(EventKind.CHROOT, f"{task_name(new)} chroots to {place(after.root, b)}", new)


def _abandonment(make: _Maker, a: Snapshot | None, b: Snapshot) -> Iterator[Event]:
    if not is_isolating(b.kernel.generation) or b.kernel.userspace_init_fs is None:
        return
    found = find_abandonment(b)
    if found is None or found.pid1 is None or (a is not None and find_abandonment(a) is not None):
        return
    text = f"{task_name(found.pid1)} abandons userspace_init_fs"
    text += "; it points into nullfs now" if found.in_nullfs else ""
    if found.collateral:
        text += f"; moved with it: {name_tasks(found.collateral)}"
    yield make.task(EventKind.ABANDONED, text, found.pid1)


def _helper_key(helper: UserModeHelper) -> tuple[int | None, int | None]:
    return helper.process, None if helper.process is not None else helper.address


def _helper_words(helper: UserModeHelper) -> str:
    """What it runs. Where that is not there: what it was asked for, unless that is what a setting says by now."""
    if helper.arguments:
        return " ".join(helper.arguments)
    first = helper.argv[0] if helper.argv else helper.path or ""
    if helper.setting is not None:
        known = None if helper.exe is None else helper.exe.path
        first = known or f"{first} ({helper.setting} by now)"
    return " ".join([first, *helper.argv[1:]])


def _helpers(make: _Maker, a: Snapshot, b: Snapshot) -> Iterator[Event]:
    seen = {_helper_key(helper) for helper in a.usermodehelpers}
    for helper in b.usermodehelpers:
        if _helper_key(helper) in seen or (
            helper.process is not None and helper.process in a.task_by_address
        ):
            continue
        task = next((task for task in b.tasks if task.address == helper.process), None)
        words = _helper_words(helper) or (task.name if task else "?")
        by = "" if task is None else f" as {task_name(task)}"
        text = f"the kernel runs {words}{by}"
        if task is not None:
            yield make.task(EventKind.HELPER, text, task)
        else:
            yield make.of(EventKind.HELPER, text)
