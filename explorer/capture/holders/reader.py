"""Who holds a mount, and who holds a mount namespace that no task is in.

Roots and working directories, path walks and what is mounted below are known already. If those are not all of the
mount's references, the descriptors of all tasks are read, then the programs that run, then what is mapped: as far as
there is anything left to explain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from explorer.capture.memory import AnyTask, Memory, RawMount, ReadError, is_kernel_pointer
from explorer.capture.paths import MNT_UMOUNT, MountTable, NamespaceFiles, PathResolver
from explorer.capture.tasks import PF_KTHREAD, FoundTasks
from explorer.model import (
    Attachment,
    Holder,
    HolderKind,
    HolderUse,
    Mount,
    MountHolders,
    PathRef,
    Snapshot,
    Task,
    UseHow,
    fields_of,
    kernel_text,
    task_at,
)

from .counts import MountCounts
from .files import FileReader, Hold
from .layout import HolderLayout, probe_holders
from .scan import FileScan
from .tables import TaskFiles

__all__ = ("HolderReader", "count_tasks")

_NSFS = "nsfs"
_OVERLAY = "overlay"
_MAX_USES = 100
_MAX_HOLDERS = 100_000  # that are listed, of one mount
_MAX_FILES = 20_000_000  # descriptors and mappings, of all tasks together
_ROOT_GRABBED = 2  # fs/namei.c, ND_ROOT_GRABBED
#: States in which a walk waits: it has taken references by then (one that runs may go by RCU, and have none).
_WAITING = ("D", "S")


@dataclass(slots=True)
class _Held:
    """The holders of one mount so far, by kind and address."""

    count: int | None
    found: dict[tuple[HolderKind, int], Holder] = field(default_factory=dict)

    @property
    def explained(self) -> int:
        """How many references are accounted for."""
        return len(self.found)

    @property
    def open(self) -> bool:
        """Something is left to explain."""
        return self.count is None or self.count > self.explained


class _HeldNamespace(_Held):
    """The holders of a namespace: all mounts and files of nsfs have its one inode, which has one reference."""

    @property
    def explained(self) -> int:
        tables = sum(kind is HolderKind.MOUNT_TABLE for kind, _ in self.found)
        return tables + (len(self.found) > tables)


def count_tasks(snapshot: Snapshot, tasks: FoundTasks, namespace_of: Mapping[int, int | None]) -> None:
    """How many tasks are in each namespace, if there are no tasks of which that is not known."""
    unread = any(task.nsproxy is None for task in tasks.partial.values())
    if tasks.lost is not None or unread or None in namespace_of.values():
        return
    inside = Counter[int | None]()
    everyone = tasks.columns.nsproxies + Counter(task.nsproxy or 0 for task in tasks.partial.values())
    for nsproxy, count in everyone.items():
        inside[namespace_of.get(nsproxy)] += count
    for namespace in snapshot.mount_namespaces:
        if not (tasks.idle_lost and namespace.address == snapshot.kernel.init_mnt_ns):
            namespace.nr_tasks = inside[namespace.address]


class HolderReader:
    """Reads the holders of one kernel's mounts, into their records."""

    def __init__(
        self,
        memory: Memory,
        table: MountTable,
        paths: PathResolver,
        per_cpu: Collection[int],
        known: Snapshot,
        tasks: FoundTasks,
    ) -> None:
        self._memory = memory
        self._errors = memory.errors
        self._table = table
        self._paths = paths
        self._per_cpu = per_cpu
        self._known = known
        self._tasks = tasks
        self._mounts: dict[int, _Held] = {}
        self._spaces: dict[int, _HeldNamespace] = {}
        self._faults: list[str] = []
        self._nr_faults = 0
        self._budget = iter(range(_MAX_FILES))

    def read(self, choose: Callable[[Snapshot], Collection[int]]) -> None:
        """Of the mounts that are detached, and of those chosen, by address; and of namespaces without tasks."""
        known, asked = self._known, choose(self._known)
        lone = [space for space in known.mount_namespaces if space.nr_tasks == 0 and not space.anonymous]
        detached = (Attachment.DETACHED, Attachment.ANONYMOUS)
        wanted = [mount for mount in known.mounts if mount.attachment in detached or mount.address in asked]
        if not wanted and not lone:
            return
        layout = self._memory.probe("holders", probe_holders)
        if layout is None:
            return
        counts = MountCounts(self._memory, layout, self._per_cpu)
        self._mounts = {mount.address: _Held(counts.count(self._raw(mount))) for mount in wanted}
        for space in lone:
            with self._errors.guard(f"mount namespace 0x{space.address:x}", "count"):
                space.count = self._memory.reader.read_u32(space.address + layout.namespace_count)
        self._spaces = {space.address: _HeldNamespace(space.count) for space in lone}
        if self._tasks.lost:
            self._miss(f"there may be more tasks: {self._tasks.lost}")
        for task in self._tasks.partial.values():
            self._miss(f"{task.name} is there only in part")
        inodes = self._namespace_inodes(layout)
        self._read_known(layout, inodes)
        self._read_files(layout, inodes)
        for mount in wanted:
            held = self._mounts[mount.address]
            mount.holders = MountHolders(
                count=held.count, holders=_sorted(held), missing=self._missing() if held.open else None
            )
        for space in lone:
            space.holders = _sorted(self._spaces[space.address])

    def _raw(self, mount: Mount) -> RawMount:
        return self._table.mounts[mount.address]

    # --- what is known already ---

    def _read_known(self, layout: HolderLayout, inodes: dict[int, int]) -> None:
        for fs in self._known.fs_structs:
            held: tuple[tuple[HolderKind, UseHow, PathRef | None], ...] = (
                (HolderKind.ROOT, "root", fs.root),
                (HolderKind.PWD, "pwd", fs.pwd),
            )
            for kind, how, path in held:
                if path is not None and path.mount in self._mounts:
                    holder = self._add(self._mounts[path.mount], kind, fs.address, path.path)
                    for task in self._known.sharers_by_fs.get(fs.address, ()):
                        _use(holder, task.address, how)
        self._read_walks(layout)
        self._read_tree(layout)
        self._read_namespace_mounts(inodes)

    def _read_walks(self, layout: HolderLayout) -> None:
        tasks = self._known.tasks
        for task, walk in zip(tasks, *fields_of(tasks, "walk"), strict=True):
            if walk is None or task.state not in _WAITING:
                continue
            places = [walk.start]
            if walk.root is not None and walk.root.mount in self._mounts and self._grabbed(layout, task):
                places.append(walk.root)
            for number, place in enumerate(places):
                if place is not None and place.mount in self._mounts:
                    # Two references of one nameidata: the second is that of its root.
                    holder = self._add(
                        self._mounts[place.mount], HolderKind.WALK, task.address + number, place.path
                    )
                    holder.address = task.address
                    _use(holder, task.address, "walk")

    def _grabbed(self, layout: HolderLayout, task: Task) -> bool:
        """Whether the walk has a reference to its root: it need not."""
        raw = self._tasks.get(task.address)
        if raw is None or not raw.nameidata or layout.walk_state is None:
            return False
        with self._errors.guard(task_at(task.pid, task.address), "nameidata.state"):
            return bool(self._memory.reader.read_u32(raw.nameidata + layout.walk_state) & _ROOT_GRABBED)
        return False

    def _read_tree(self, layout: HolderLayout) -> None:
        """The namespace, what is mounted below, and the parent that it was unmounted with."""
        for mount in self._known.mounts:
            raw, held = self._raw(mount), self._mounts.get(mount.address)
            gone = bool((raw.flags or 0) & MNT_UMOUNT)
            parent = None if mount.parent is None else self._mounts.get(mount.parent)
            if parent is not None and not gone and layout.parent_is_held:
                self._add(parent, HolderKind.MOUNT, mount.address, mount.mountpoint)
            if held is None:
                continue
            if mount.mnt_ns is not None:
                self._add(held, HolderKind.NAMESPACE, mount.mnt_ns, None)
            elif gone and mount.parent is not None:
                self._add(held, HolderKind.PARENT, mount.parent, None)
            elif gone and is_kernel_pointer(raw.umounting or 0):
                self._add(held, HolderKind.UMOUNT, mount.address, None)
            elif mount.attachment is Attachment.INTERNAL:
                self._add(held, HolderKind.KERNEL, mount.address, None)

    def _namespace_inodes(self, layout: HolderLayout) -> dict[int, int]:
        """Inode in nsfs -> namespace, of those without tasks."""
        reader, inodes = self._memory.reader, {}
        for space in self._spaces:
            with self._errors.guard(f"mount namespace 0x{space:x}", "stashed"):
                dentry = reader.read_u64(space + layout.namespace_stashed)
                if is_kernel_pointer(dentry):
                    inodes[reader.read_u64(dentry + layout.dentry_inode)] = space
        return inodes

    def _read_namespace_mounts(self, inodes: dict[int, int]) -> None:
        """The nsfs mounts that pin a namespace."""
        files = NamespaceFiles(self._memory)
        for mount in self._known.mounts:
            root = self._raw(mount).root
            if mount.fstype != _NSFS or root is None or not inodes:
                continue
            with self._errors.guard(self._raw(mount).name, "namespace"):
                space = files.of_dentry(root).mnt_namespace
                if space in self._spaces:
                    self._add(self._spaces[space or 0], HolderKind.MOUNT, mount.address, mount.mountpoint)

    # --- what has to be read for it ---

    def _read_files(self, layout: HolderLayout, inodes: dict[int, int]) -> None:
        if not self._is_open():
            return
        to_vfsmount = self._table.to_vfsmount
        stacked = {
            to_vfsmount(mount.address)
            for mount in self._known.mounts
            if mount.fstype == _OVERLAY and mount.address in self._mounts
        }
        mounts = {to_vfsmount(mount) for mount in self._mounts}
        files = FileReader(self._memory, layout, mounts, inodes, self._spaces.keys(), stacked)
        scan = FileScan(self, files, TaskFiles(self._memory, layout))
        for part in (scan.descriptors, scan.programs, scan.mappings):
            part()
            if not self._is_open():
                return

    def _is_open(self) -> bool:
        return any(held.open for held in (*self._mounts.values(), *self._spaces.values()))

    def note(self, hold: Hold, task: int, how: UseHow, fd: int | None) -> None:
        """A file was found that holds something that was asked for."""
        held: _Held | None = self._spaces.get(hold.held)
        mount = None if held is not None else self._table.from_vfsmount(hold.held)
        if held is None:
            held = self._mounts[mount or 0]
        holder = held.found.get((hold.kind, hold.address))
        if holder is None:
            path = None if mount is None else self._path(mount, hold)
            holder = self._add(held, hold.kind, hold.address, path)
        _use(holder, task, how, fd)

    def _path(self, mount: int, hold: Hold) -> str | None:
        with self._errors.guard(f"{hold.kind} 0x{hold.address:x}", "path"):
            return kernel_text(self._paths.path_text(mount, hold.dentry))
        return None

    def _add(self, held: _Held, kind: HolderKind, address: int, path: str | None) -> Holder:
        holder = held.found.get((kind, address))
        if holder is None:
            holder = Holder(kind=kind, address=address, path=path, uses=[], nr_uses=0)
            if len(held.found) < _MAX_HOLDERS:
                held.found[kind, address] = holder
            else:
                self._miss(f"there are more than {_MAX_HOLDERS}")
        return holder

    def fault(self, task: AnyTask, what: str, error: ReadError) -> None:
        """Some files of a task could not be read."""
        self._miss(f"{what} of {task.name}: {error}")

    def _miss(self, why: str) -> None:
        self._nr_faults += 1
        if not self._faults:
            self._faults.append(why)

    def _missing(self) -> str | None:
        """In a sentence, however much it is."""
        if not self._nr_faults:
            return None
        more = f"; and {self._nr_faults - 1} more" if self._nr_faults > 1 else ""
        return f"{self._faults[0]}{more}"

    def spend(self) -> None:
        """:raises ReadError: if all tasks together have more files than any real system"""
        if next(self._budget, None) is None:
            raise ReadError(f"all tasks together have more than {_MAX_FILES} descriptors and mappings")

    def user_tasks(self) -> Iterator[AnyTask]:
        """Tasks by pid: those of the kernel have neither a program nor descriptors of their own."""
        tasks = sorted(self._tasks.whole.values(), key=lambda task: (task.pid, task.address))
        return (task for task in tasks if not task.flags & PF_KTHREAD or not task.pid)

    @property
    def live(self) -> bool:
        """The kernel runs."""
        return self._memory.live


def _use(holder: Holder, task: int, how: UseHow, fd: int | None = None) -> None:
    holder.nr_uses += 1
    if len(holder.uses) < _MAX_USES:
        holder.uses.append(HolderUse(task=task, how=how, fd=fd))


def _sorted(held: _Held) -> list[Holder]:
    order = list(HolderKind)
    return sorted(held.found.values(), key=lambda holder: (order.index(holder.kind), holder.address))
