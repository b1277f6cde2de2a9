"""From raw structures to the records of a snapshot."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter, itemgetter

from explorer.capture.memory import ErrorLog, Layout, MemoryReader, is_kernel_pointer
from explorer.capture.paths import MountRecords, MountTable, PathResolver
from explorer.capture.tasks import (
    PF_IDLE,
    PF_IO_OR_USER_WORKER,
    PF_KTHREAD,
    AnyTask,
    FoundTasks,
    KthreadReader,
    PartialRecords,
    RawFs,
    RawTask,
    RawWalk,
    TaskActivity,
    state_letter,
)
from explorer.model import (
    NULL_FS_MAGIC,
    FsStruct,
    Generation,
    Kthread,
    Mount,
    MountNamespace,
    Owner,
    PathRef,
    Placement,
    PlacementContext,
    Task,
    TaskKind,
    Walk,
    classify_owner,
    classify_path,
    is_isolating,
    kernel_text,
)

from .generation import WellKnown

__all__ = ("RecordBuilder",)

_PF_SPECIAL = PF_IDLE | PF_IO_OR_USER_WORKER | PF_KTHREAD


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
        self._mount_records = MountRecords(mounts, paths, errors)
        self._path_refs: dict[tuple[int | None, int | None], PathRef] = {}
        # A hundred thousand tasks have a few names, states and umasks.
        self._comms: dict[bytes, str] = {}
        self._states: dict[tuple[int, int], str] = {}
        self._umasks: dict[int, str] = {}

    def set_context(
        self,
        tasks: FoundTasks,
        fs_structs: dict[int, RawFs | None],
        namespace_of: dict[int, int | None],
        known: WellKnown,
        init_task: AnyTask | None,
        activity: TaskActivity,
    ) -> None:
        """What the records are decided against: who shares what, where init's root is, what isolates."""
        self._found = tasks
        self._tasks = tasks.whole
        self._fs_structs = fs_structs
        self._namespace_of = namespace_of
        self._known = known
        self._well_known = (known.init_fs, known.userspace_init_fs)
        self.generation = known.generation
        self.userspace_init_fs = known.userspace_init_fs
        self._activity = activity
        owned = itemgetter(RawTask._fields.index("real_fs" if self._layout.has_real_fs else "fs"))
        self._sharers = Counter(map(owned, tasks.whole.values()))
        partly = [self.owned_fs(task) for task in tasks.partial.values()]
        self._sharers.update(address for address in partly if address)
        del self._sharers[0]
        #: There may be sharers that are not known: then only the kernel's own count tells a shared fs_struct.
        self._unknown_sharers = tasks.lost is not None or None in partly
        #: Nor whether what looks shared or private is ``userspace_init_fs``.
        self._owner_open = self._unknown_sharers or known.init_unread
        self.knullfs = None if known.knullfs is None else self._mounts.from_vfsmount(known.knullfs)
        init = self._init_fs()
        fs = self._fs_structs.get(init or 0)
        self.init_root = self._root_of(fs)
        namespaces = self.build_namespaces()
        isolation_mount, isolation_known = self._isolation_mount(init_task)
        self._context = PlacementContext(
            isolation_mount=isolation_mount,
            isolation_mount_known=isolation_known,
            init_root=self.init_root,
            init_root_known=self.init_root is not None
            or not (init or self._found.lost or self._init_is_partial()),
            namespaces={namespace.address: namespace for namespace in namespaces},
        )

    def owned_fs(self, task: AnyTask) -> int | None:
        """What a task owns: ``real_fs`` where the kernel has it, else ``fs``. 0: NULL; ``None``: it is not there."""
        return task.real_fs if self._layout.has_real_fs else task.fs

    def _isolation_mount(self, init_task: AnyTask | None) -> tuple[int | None, bool]:
        """``knullfs``; where there is no such variable, the nullfs that init_task's root is on; and if it is known."""
        if self.knullfs is not None:
            return self.knullfs, True
        if not is_isolating(self._known.generation):
            return None, True
        fs = None if init_task is None else self._fs_structs.get(self.owned_fs(init_task) or 0)
        if fs is None or fs.root_mnt is None:
            return None, False
        with self._errors.guard("kernel", "isolation mount"):
            mount = self._mounts.read_mount(self._mounts.from_vfsmount(fs.root_mnt))
            superblock = self._mounts.superblock(mount)
            if superblock is not None and superblock.magic is not None:
                return (mount.address if superblock.magic == NULL_FS_MAGIC else None), True
        return None, False

    def _init_fs(self) -> int | None:
        """The ``fs_struct`` of init: what ``userspace_init_fs`` points at, PID 1's own before that."""
        address = self._known.userspace_init_fs
        if address is None:
            init = next((task for task in self._found.all() if task.pid == 1), None)
            address = None if init is None else self.owned_fs(init)
        return address or None

    def _init_is_partial(self) -> bool:
        return any(task.pid == 1 for task in self._found.partial.values())

    def _root_of(self, fs: RawFs | None) -> tuple[int, int] | None:
        """Mount and dentry of a root."""
        if fs is None or fs.root_mnt is None or fs.root_dentry is None:
            return None
        return self._mounts.from_vfsmount(fs.root_mnt), fs.root_dentry

    def build_tasks(self) -> list[Task]:
        """All tasks, by pid, then address."""
        build = self._task
        tasks = [build(raw) for raw in sorted(self._tasks.values(), key=_PID_AND_ADDRESS)]
        if self._found.partial:
            partly = PartialRecords(self, self._kthreads, self._activity)
            tasks += map(partly.task, self._found.partial.values())
            tasks.sort(key=attrgetter("pid", "address"))
        return tasks

    def _task(self, raw: RawTask) -> Task:
        # Runs once for every task of a large machine: what most tasks do not need is not asked for.
        known = self._known
        (
            address, flags, pid, tgid, name, fs, real_fs, _, _, _, _, _, real_parent, nsproxy, state_bits, exit_state,
            _, start_time, nameidata, _, _, _, _, _,
        ) = raw  # fmt: skip
        parent = self._tasks.get(real_parent)
        kind: TaskKind | None
        if flags & _PF_SPECIAL or tgid <= 1 or parent is None or parent.flags & PF_KTHREAD:
            kind, kthread = self._kind(raw)
        else:
            kind, kthread = TaskKind.USER, None
        owned = fs if real_fs is None else real_fs
        sharers = self._sharers[owned] if owned else 0
        walk, in_init = (None, False) if not nameidata else self._read_walk(raw)
        borrowing: bool | None
        borrowing = in_init if real_fs is None else fs != real_fs and fs == known.userspace_init_fs
        if known.init_unread and fs != real_fs:
            borrowing = None
        owner: Owner | None
        if sharers == 1 and owned not in self._well_known and not self._owner_open:
            owner = Owner.PRIVATE
        else:
            owner = self.owner(owned)
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
                "ppid": parent.tgid if parent is not None else self.parent_tgid(raw),
                "comm": comm,
                "kind": kind,
                "state": state,
                "flags": flags,
                "fs": fs or None,
                "real_fs": real_fs or None,
                "borrowing": borrowing,
                "owner": owner,
                "mnt_ns": self._namespace_of.get(nsproxy),
                "user_ns": self.user_ns(raw, owned) if sharers > 1 else None,
                "start_time": start_time,
                "kthread": kthread,
                "walk": None if walk is None else self.walk(raw, walk, in_init),
                "waiting_s": self._activity.clocks.waiting_s(raw),
                "stack": self._activity.read_stack(raw) if borrowing or nameidata else None,
            }
        )

    def _read_walk(self, raw: RawTask) -> tuple[RawWalk | None, bool]:
        """The walk of a task, and whether it has ``LOOKUP_IN_INIT``, where a kernel knows that."""
        walk = self._activity.walks.read_walk(raw)
        return walk, walk is not None and self._known.generation is Generation.RFC_V1 and walk.in_init

    def user_ns(self, raw: AnyTask, owned: int) -> int | None:
        """Asked only where it tells something: two tasks with one fs_struct must agree in it."""
        if self._sharers[owned] < 2 or raw.real_cred is None or (raw.flags or 0) & (PF_KTHREAD | PF_IDLE):
            return None
        with self._errors.guard(raw.name, "real_cred.user_ns"):
            return self._reader.read_u64(raw.real_cred + self._layout.cred_user_ns)
        return None

    def mnt_ns(self, raw: AnyTask) -> int | None:
        """Its mount namespace; ``None`` after exit, too."""
        return self._namespace_of.get(raw.nsproxy or 0)

    def owner(self, owned: int) -> Owner | None:
        """Whose ``fs_struct`` it is; ``None`` if others may share it who were not found, and it has no count."""
        sharers = self._sharers[owned] if owned else 0
        known = self._known
        owner = classify_owner(owned or None, sharers, known.init_fs, known.userspace_init_fs)
        if owner in (Owner.PRIVATE, Owner.SHARED) and known.init_unread:
            return None
        if owner is not Owner.PRIVATE or not self._unknown_sharers:
            return owner
        fs = self._fs_structs.get(owned)
        if fs is None or fs.users is None:
            return None
        return Owner.PRIVATE if fs.users == 1 else Owner.SHARED

    def parent_tgid(self, raw: AnyTask) -> int | None:
        """``real_parent->tgid``; the parent may not be among the tasks found (reaped, or not there)."""
        parent = self._found.get(raw.real_parent)
        if parent is not None or raw.real_parent is None:
            return None if parent is None else parent.tgid
        with self._errors.guard(raw.name, "real_parent"):
            [tgid], _, _ = self._reader.read_members(self._layout.task_tgid, raw.real_parent)
            return int(tgid)
        return None

    def _kind(self, raw: RawTask) -> tuple[TaskKind | None, Kthread | None]:
        flags = raw.flags
        if not raw.pid or flags & PF_IDLE:
            return TaskKind.IDLE, None
        if raw.tgid == 1:
            return TaskKind.INIT, None
        if flags & PF_KTHREAD:
            info = self._kthreads.read_kthread(raw)
            return (TaskKind.KTHREAD, None) if info is None else (info.kind, info.kthread)
        if flags & PF_IO_OR_USER_WORKER:
            return TaskKind.IO_WORKER, None
        return self.user_kind(raw), None

    def user_kind(self, raw: AnyTask) -> TaskKind | None:
        """Of a user's task that is not PID 1's: who its parent is decides; ``None`` if that is not there."""
        parent = self._found.get(raw.real_parent)
        if parent is None:
            return None if raw.real_parent is None or self._found.lost else TaskKind.USER
        if parent.tgid == 1:
            return TaskKind.USER
        if parent.flags is None:
            return None
        return TaskKind.USERMODEHELPER if parent.flags & PF_KTHREAD else TaskKind.USER

    def walk(self, task: AnyTask, raw: RawWalk, in_init: bool) -> Walk:
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
        octal = None if umask is None else self._umasks.get(umask)
        if octal is None and umask is not None:
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

    def _fs_path(self, address: int, vfsmount: int | None, dentry: int | None) -> PathRef | None:
        if vfsmount is None or dentry is None:
            return None  # an entry of the fs_struct says so
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
        if address == self._context.isolation_mount:
            values["placement"] = Placement.NULLFS  # by its address alone
        with self._errors.guard(where, "mount"):
            mount = self._mounts.read_mount(address)
            record = self._mount_records.mount(mount)
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
        return self._mount_records.all(self.knullfs)

    def build_namespaces(self) -> list[MountNamespace]:
        """All mount namespaces seen, by address."""
        return self._mount_records.namespaces()
