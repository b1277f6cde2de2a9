"""From raw structures to the records of a snapshot."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

from explorer.analysis.placement import (
    NULL_FS_MAGIC,
    PlacementContext,
    classify_owner,
    classify_path,
    is_isolating,
)
from explorer.model import (
    FsStruct,
    Generation,
    Kthread,
    Mount,
    MountNamespace,
    Owner,
    PathRef,
    Task,
    TaskKind,
    Walk,
    kernel_text,
)

from .fs import RawFs
from .generation import WellKnown
from .kthreads import KthreadReader
from .layout import Layout
from .mounts import MountTable, RawMount
from .paths import PathResolver
from .reader import ErrorLog, MemoryReader, is_kernel_pointer
from .task_activity import TaskActivity
from .tasks import RawTask, state_letter
from .walks import RawWalk

__all__ = ("RecordBuilder",)

# include/linux/sched.h
_PF_IDLE = 0x2
_PF_IO_OR_USER_WORKER = 0x10 | 0x4000
_PF_KTHREAD = 0x200000
_PF_SPECIAL = _PF_IDLE | _PF_IO_OR_USER_WORKER | _PF_KTHREAD


_FS_FIELDS = tuple(FsStruct.model_fields)
_PID_AND_ADDRESS = itemgetter(RawTask._fields.index("pid"), RawTask._fields.index("address"))
_build_task = Task.builder()
_build_fs = FsStruct.builder()


class RecordBuilder:
    """Builds the sorted arrays of a snapshot: ``set_context`` first, tasks, fs_structs, then mounts."""

    def __init__(
        self,
        *,
        layout: Layout,
        mounts: MountTable,
        paths: PathResolver,
        kthreads: KthreadReader,
        reader: MemoryReader,
        errors: ErrorLog,
    ) -> None:
        self._layout = layout
        self._mounts = mounts
        self._paths = paths
        self._kthreads = kthreads
        self._reader = reader
        self._errors = errors
        self._records: dict[int, Mount] = {}
        self._knullfs_read = False
        self._path_refs: dict[tuple[int, int], PathRef] = {}
        # A hundred thousand tasks have a few names, states and umasks.
        self._comms: dict[bytes, str] = {}
        self._states: dict[tuple[int, int], str] = {}
        self._umasks: dict[int, str] = {}

    def set_context(
        self,
        tasks: dict[int, RawTask],
        fs_structs: dict[int, RawFs | None],
        namespace_of: dict[int, int | None],
        known: WellKnown,
        init_task: RawTask | None,
        activity: TaskActivity,
    ) -> None:
        """What the records are decided against: who shares what, where init's root is, what isolates."""
        self._tasks = tasks
        self._fs_structs = fs_structs
        self._namespace_of = namespace_of
        self._known = known
        self._well_known = (known.init_fs, known.userspace_init_fs)
        self._activity = activity
        owned = itemgetter(RawTask._fields.index("real_fs" if self._layout.has_real_fs else "fs"))
        self._sharers = Counter(map(owned, tasks.values()))
        del self._sharers[0]
        self.knullfs = None if known.knullfs is None else self._mounts.from_vfsmount(known.knullfs)
        self.init_root = self._init_root()
        namespaces = self.build_namespaces()
        self._context = PlacementContext(
            isolation_mount=self._isolation_mount(init_task),
            init_root=self.init_root,
            namespaces={namespace.address: namespace for namespace in namespaces},
        )

    def _isolation_mount(self, init_task: RawTask | None) -> int | None:
        """``knullfs``; where there is no such variable, the nullfs that init_task's root is on."""
        if self.knullfs is not None:
            return self.knullfs
        if init_task is None or not is_isolating(self._known.generation):
            return None
        fs = self._fs_structs.get(_owned_fs(init_task) or 0)
        if fs is None:
            return None
        with self._errors.guard("kernel", "isolation mount"):
            mount = self._mounts.read_mount(self._mounts.from_vfsmount(fs.root_mnt))
            superblock = self._mounts.superblock(mount)
            if superblock is not None and superblock.magic == NULL_FS_MAGIC:
                return mount.address
        return None

    def _init_root(self) -> tuple[int, int] | None:
        """Mount and dentry of init's root: where ``userspace_init_fs`` points, PID 1's own before that."""
        address = self._known.userspace_init_fs
        if address is None:
            init = next((task for task in self._tasks.values() if task.pid == 1), None)
            address = None if init is None else _owned_fs(init)
        fs = self._fs_structs.get(address or 0)
        return None if fs is None else (self._mounts.from_vfsmount(fs.root_mnt), fs.root_dentry)

    def build_tasks(self) -> list[Task]:
        """All tasks, by pid, then address."""
        build = self._task
        return [build(raw) for raw in sorted(self._tasks.values(), key=_PID_AND_ADDRESS)]

    def _task(self, raw: RawTask) -> Task:
        # Runs once for every task of a large machine: what most tasks do not need is not asked for.
        known = self._known
        (
            address, flags, pid, tgid, name, fs, real_fs, _, _, _, _, _, real_parent, nsproxy, state_bits, exit_state,
            _, start_time, nameidata, _, _, _, _, _,
        ) = raw  # fmt: skip
        parent = self._tasks.get(real_parent)
        if flags & _PF_SPECIAL or tgid <= 1 or parent is None or parent.flags & _PF_KTHREAD:
            kind, kthread = self._kind(raw)
        else:
            kind, kthread = TaskKind.USER, None
        owned = fs if real_fs is None else real_fs
        sharers = self._sharers[owned] if owned else 0
        walk, in_init = (None, False) if not nameidata else self._read_walk(raw)
        borrowing = in_init if real_fs is None else fs != real_fs and fs == known.userspace_init_fs
        if sharers == 1 and owned not in self._well_known:
            owner = Owner.PRIVATE
        else:
            owner = classify_owner(owned or None, sharers, known.init_fs, known.userspace_init_fs)
        comm = self._comms.get(name)
        if comm is None:
            comm = self._comms[name] = kernel_text(name.split(b"\0", 1)[0])
        states = (state_bits, exit_state)
        state = self._states.get(states)
        if state is None:
            state = self._states[states] = state_letter(*states)
        return _build_task(
            {
                "address": address,
                "pid": pid,
                "tgid": tgid,
                "ppid": parent.tgid if parent is not None else self._parent_tgid(raw),
                "comm": comm,
                "kind": kind,
                "state": state,
                "flags": flags,
                "fs": fs or None,
                "real_fs": real_fs or None,
                "borrowing": borrowing,
                "owner": owner,
                "mnt_ns": self._namespace_of.get(nsproxy),
                "user_ns": self._user_ns(raw) if sharers > 1 else None,
                "start_time": start_time,
                "kthread": kthread,
                "walk": None if walk is None else self._walk(raw, walk, in_init),
                "waiting_s": self._activity.clocks.waiting_s(raw),
                "stack": self._activity.read_stack(raw) if borrowing or nameidata else None,
            }
        )

    def _read_walk(self, raw: RawTask) -> tuple[RawWalk | None, bool]:
        """The walk of a task, and whether it has ``LOOKUP_IN_INIT``, where a kernel knows that."""
        walk = self._activity.walks.read_walk(raw)
        return walk, walk is not None and self._known.generation is Generation.RFC_V1 and walk.in_init

    def _user_ns(self, raw: RawTask) -> int | None:
        """Asked only where it tells something: two tasks with one fs_struct must agree in it."""
        if raw.flags & (_PF_KTHREAD | _PF_IDLE):
            return None
        with self._errors.guard(f"task {raw.pid} (0x{raw.address:x})", "real_cred.user_ns"):
            return self._reader.read_u64(raw.real_cred + self._layout.cred_user_ns)
        return None

    def _parent_tgid(self, raw: RawTask) -> int:
        """The parent is not among the tasks found (it was reaped, or the list is damaged)."""
        with self._errors.guard(f"task {raw.pid} (0x{raw.address:x})", "real_parent"):
            decoder = self._layout.task
            data = self._reader.read(raw.real_parent + decoder.base, decoder.span)
            return RawTask(raw.real_parent, *decoder.decode(data)).tgid
        return 0

    def _kind(self, raw: RawTask) -> tuple[TaskKind, Kthread | None]:
        flags = raw.flags
        if not raw.pid or flags & _PF_IDLE:
            return TaskKind.IDLE, None
        if raw.tgid == 1:
            return TaskKind.INIT, None
        if flags & _PF_KTHREAD:
            info = self._kthreads.read_kthread(raw)
            return (TaskKind.KTHREAD, None) if info is None else (info.kind, info.kthread)
        if flags & _PF_IO_OR_USER_WORKER:
            return TaskKind.IO_WORKER, None
        parent = self._tasks.get(raw.real_parent)
        if parent is not None and parent.flags & _PF_KTHREAD:
            return TaskKind.USERMODEHELPER, None
        return TaskKind.USER, None

    def _walk(self, task: RawTask, raw: RawWalk, in_init: bool) -> Walk:
        """A path walk; ``nd->root`` is NULL until the walk needs it."""
        root = self.path_ref(f"{task.name} walk", raw.root_mnt, raw.root_dentry) if raw.root_mnt else None
        start = self.path_ref(f"{task.name} walk", raw.mnt, raw.dentry) if raw.mnt else None
        path = None if raw.path is None else kernel_text(raw.path)
        return Walk(path=path, root=root, start=start, in_init=in_init)

    def build_fs_structs(self) -> list[FsStruct]:
        """All fs_structs, by address. One that could not be read still says who shares it."""
        return [self._fs(address, self._fs_structs[address]) for address in sorted(self._fs_structs)]

    def _fs(self, address: int, raw: RawFs | None) -> FsStruct:
        sharers = self._sharers[address]
        if raw is None:
            unread = dict.fromkeys(_FS_FIELDS)
            return _build_fs(unread | {"address": address, "sharers": sharers, "unstable": False})
        _, users, seq, umask, in_exec, root_mnt, root_dentry, pwd_mnt, pwd_dentry, unstable = raw
        if unstable:
            self._errors.add(
                f"fs_struct 0x{address:x}", "root and pwd", "it changed at every attempt to read it"
            )
        octal = self._umasks.get(umask)
        if octal is None:
            octal = self._umasks[umask] = f"{umask:04o}"
        refs = self._path_refs
        root = refs.get((root_mnt, root_dentry)) or self._fs_path(address, root_mnt, root_dentry)
        pwd = refs.get((pwd_mnt, pwd_dentry)) or self._fs_path(address, pwd_mnt, pwd_dentry)
        return _build_fs(
            {
                "address": address,
                "users": users,
                "sharers": sharers,
                "umask": octal,
                "in_exec": in_exec,
                "seq": seq,
                "unstable": unstable,
                "root": root,
                "pwd": pwd,
            }
        )

    def _fs_path(self, address: int, vfsmount: int, dentry: int) -> PathRef | None:
        return self.path_ref(f"fs_struct 0x{address:x}", vfsmount, dentry)

    def path_ref(self, where: str, vfsmount: int, dentry: int) -> PathRef | None:
        """A ``struct path``; ``None`` and an error entry if its pointers cannot be pointers.

        A hundred thousand fs_structs hold a few dozen distinct paths: one record serves all of them.
        """
        known = self._path_refs.get((vfsmount, dentry))
        if known is not None:
            return known
        if not is_kernel_pointer(vfsmount) or not is_kernel_pointer(dentry):
            self._errors.add(where, "path", f"mnt 0x{vfsmount:x}, dentry 0x{dentry:x}: no kernel pointers")
            return None
        address = self._mounts.from_vfsmount(vfsmount)
        values = dict.fromkeys(PathRef.model_fields) | {"mount": address, "dentry": dentry}
        with self._errors.guard(where, "mount"):
            mount = self._mounts.read_mount(address)
            record = self._mount(mount)
            values["fstype"] = record.fstype
            values["placement"] = classify_path(record, dentry, mount.root, self._context)
        if values["fstype"] is not None:
            with self._errors.guard(where, "path"):
                values["path"] = kernel_text(self._paths.path_text(address, dentry))
        path = PathRef.build(values)
        if path.path is not None:  # what failed is tried again, and is an error entry for each holder
            self._path_refs[vfsmount, dentry] = path
        return path

    def build_mounts(self) -> list[Mount]:
        """All mounts met, by address: those of every namespace seen, and what roots and pwds point at."""
        if self.knullfs is not None and not self._knullfs_read:
            self._knullfs_read = True  # if it cannot be, that is one error, however often this is called
            with self._errors.guard("kernel", "knullfs"):
                self._mounts.read_mount(self.knullfs)
        done: set[int] = set()
        while len(done) < len(self._mounts.mounts):  # a parent may turn up while a path is walked
            for address in [address for address in self._mounts.mounts if address not in done]:
                self._mount(self._mounts.mounts[address])
                done.add(address)
        return [self._records[address] for address in sorted(self._records)]

    def _mount(self, raw: RawMount) -> Mount:
        known = self._records.get(raw.address)
        if known is not None:
            return known
        where = f"mount {raw.id} (0x{raw.address:x})"
        superblock = self._mounts.superblock(raw)
        values = {
            "address": raw.address,
            "id": raw.id,
            "unique_id": raw.unique_id,
            "parent": raw.parent if raw.parent != raw.address else None,
            "mnt_ns": raw.mnt_ns if is_kernel_pointer(raw.mnt_ns) else None,
            "superblock": raw.superblock,
            "fstype": None if superblock is None else kernel_text(superblock.fstype),
            "magic": None if superblock is None else superblock.magic,
            "source": None,
            "mountpoint": None,
            "flags": raw.flags & 0xFFFFFFFF,
            "overmount": self._mounts.overmount(raw),
            "attachment": self._mounts.attachment(raw),
        }
        if raw.devname:
            with self._errors.guard(where, "source"):
                values["source"] = kernel_text(self._mounts.string(raw.devname))
        with self._errors.guard(where, "mountpoint"):
            values["mountpoint"] = kernel_text(self._paths.mountpoint_text(raw))
        record = self._records[raw.address] = Mount.build(values)
        return record

    def build_namespaces(self) -> list[MountNamespace]:
        """All mount namespaces seen, by address."""
        return [
            MountNamespace(
                address=address,
                inum=raw.inum,
                root=raw.root if is_kernel_pointer(raw.root) else None,
                visible_root=self._mounts.visible_root(raw),
                nr_mounts=len(raw.mounts),
            )
            for address, raw in sorted(self._mounts.namespaces.items())
        ]


def _owned_fs(task: RawTask) -> int | None:
    """``real_fs`` where the kernel has it, else ``fs``; ``None`` for NULL."""
    return (task.fs if task.real_fs is None else task.real_fs) or None
