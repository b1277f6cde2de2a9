"""The records of tasks: of those that were read whole, and of those of which a part is not there.

Of the latter every value that would need what is missing is ``None``, and never a guess. The former are rows of a table
(:class:`explorer.model.ColumnTable`): what they have in common is worked out once, and their records are made when
somebody asks for one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from operator import attrgetter, eq, itemgetter
from typing import Any

from explorer.capture.memory import AnyTask, Memory, PartialTask, RawTask, TaskStruct
from explorer.capture.tasks import (
    PF_IDLE,
    PF_IO_OR_USER_WORKER,
    PF_KTHREAD,
    CgroupReader,
    KthreadReader,
    PidNumberReader,
    RawWalk,
    SchedulerClocks,
    TaskActivity,
    in_seconds,
    state_letter,
)
from explorer.model import (
    ColumnTable,
    Generation,
    Kthread,
    Owner,
    StackFrame,
    Task,
    TaskKind,
    Walk,
    defer_records,
    kernel_text,
    made,
)

from .ownership import Ownership, RawKernel
from .records import RecordBuilder

__all__ = ("TaskRecords",)

_PF_SPECIAL = PF_IDLE | PF_IO_OR_USER_WORKER | PF_KTHREAD


def _picker(*names: str) -> Callable[[RawTask], Any]:
    """At once what of a task is needed: attributes of a hundred thousand tuples cost as much as reading them."""
    return itemgetter(*map(TaskStruct._fields.index, names))


_pid_and_address = _picker("pid", "address")
_pid, _parent = (itemgetter(TaskStruct._fields.index(name)) for name in ("pid", "real_parent"))
#: Tasks that have these in common differ in nothing but what is a task's own, if they are plain.
_kind_of = _picker("flags", "comm", "state", "exit_state", "nsproxy", "cgroups")
_pick = _picker("address", "tgid", "fs", "real_fs", "real_parent", "nameidata")
_pick_times = _picker("cpu", "on_cpu", "exec_start")
#: The fields that are members of the task as they are; and those of which 0 stands for none.
_AS_THEY_ARE = ("address", "pid", "tgid", "start_time")
_OR_NONE = ("fs", "real_fs", "stack_base")
_build_task = Task.builder()
_walk = made(Walk)
#: Kind and kthread of a plain process; borrowing, walk and stack of who has one fs_struct and looks nothing up.
_USER, _NEITHER = (TaskKind.USER, None), (False, None, None)


class TaskRecords:
    """Makes them. :param records: who makes those of paths"""

    def __init__(
        self,
        memory: Memory,
        raw: RawKernel,
        records: RecordBuilder,
        kthreads: KthreadReader,
        activity: TaskActivity,
    ) -> None:
        self._reader = memory.reader
        self._layout = memory.layout
        self._errors = memory.errors
        self._found = raw.tasks
        self._known = raw.known
        self._namespace_of = raw.namespace_of
        self._ownership = records.ownership
        self._records = records
        self._kthreads = kthreads
        self._activity = activity
        self._cgroups = CgroupReader(memory)
        self._pids = PidNumberReader(memory)
        # A hundred thousand tasks have a few names and states, and few have something of their own but addresses.
        self._comms: dict[bytes, str] = {}
        self._states: dict[tuple[int, int], str] = {}
        self._templates: dict[tuple[Any, ...], dict[str, Any]] = {}

    def build(self) -> list[Task]:
        """All tasks, by pid, then address."""
        tasks = self._whole(_by_pid(self._found.whole.values()))
        if self._found.partial:
            tasks += map(self._partial, self._found.partial.values())
            tasks.sort(key=attrgetter("pid", "address"))
        return tasks

    def _whole(self, raw_tasks: list[RawTask]) -> list[Task]:
        # Runs once for every task of a large machine, and most of these are like another one in all but eleven values.
        found, templates, hidden = self._found.whole, self._templates, self._found.only_in
        plainly_private = self._ownership.plainly_private
        rows: list[dict[str, Any]] = []
        parents: list[int | None] = []
        user_namespaces: dict[int, int | None] = {}
        parents_met = ((address, found.get(address)) for address in set(map(_parent, raw_tasks)))
        tgid_of = {at: task.tgid for at, task in parents_met if task and not task.flags & PF_KTHREAD}
        for raw, kind in zip(raw_tasks, map(_kind_of, raw_tasks), strict=True):
            address, tgid, fs, real_fs, real_parent, nameidata = _pick(raw)
            owned = fs if real_fs is None else real_fs
            ppid = tgid_of.get(real_parent)
            template = templates.get(kind)
            if template is None or nameidata or fs != owned or tgid <= 1 or ppid is None or address in hidden:
                parent = found.get(real_parent)
                values = self._values(raw, owned, parent)
                user_namespaces[len(rows)] = values["user_ns"]
                parents.append(values["ppid"])
                rows.append(values)
                if self._is_plain(raw, owned, parent):
                    templates[kind] = values
                continue
            if owned not in plainly_private:
                user_namespaces[len(rows)] = self._user_ns(raw, owned)
            parents.append(ppid)
            rows.append(template)
        own: dict[str, Callable[[], list[Any]]] = {
            "ppid": lambda: parents,
            "user_ns": lambda: list(map(user_namespaces.get, range(len(parents)))),
            "owner": partial(_owners, raw_tasks, self._ownership),
            "waiting_s": partial(_waiting, raw_tasks, self._activity.clocks),
        }
        own |= {name: partial(_members, raw_tasks, name) for name in _AS_THEY_ARE}
        own |= {name: partial(_members_or_none, raw_tasks, name) for name in _OR_NONE}
        return defer_records(Task, ColumnTable(Task.model_fields, rows, own), len(rows))

    def _is_plain(self, raw: RawTask, owned: int, parent: RawTask | None) -> bool:
        """Whether all but what is a task's own is the same in those of its name, flags, state, namespaces and group."""
        return (
            not (raw.nameidata or raw.flags & _PF_SPECIAL or self._known.init_unread)
            and raw.fs == owned
            and raw.tgid > 1
            and parent is not None
            and not parent.flags & PF_KTHREAD
            and raw.address not in self._found.only_in
            and raw.nsproxy in self._pids.initial
            and self._cgroups.is_known(raw.cgroups)
        )

    def _values(self, raw: RawTask, owned: int, parent: RawTask | None) -> dict[str, Any]:
        """What it may have in common with others; and its parent and user namespace, which take looking up."""
        special = raw.flags & _PF_SPECIAL or raw.tgid <= 1 or parent is None or parent.flags & PF_KTHREAD
        kind, kthread = self._kind(raw) if special else _USER
        private = owned in self._ownership.plainly_private
        plain = raw.fs == owned and not raw.nameidata and not self._known.init_unread
        borrowing, walk, stack = _NEITHER if plain else self._lookup(raw)
        cgroup = self._cgroups.known.get(raw.cgroups) or self._cgroups.read_cgroup(raw)
        return {
            "ppid": parent.tgid if parent is not None else self._parent_tgid(raw),
            "comm": self._comm(raw.comm),
            "kind": kind,
            "state": self._state(raw.state, raw.exit_state),
            "flags": raw.flags,
            "borrowing": borrowing,
            "mnt_ns": self._namespace_of.get(raw.nsproxy),
            "user_ns": None if private else self._user_ns(raw, owned),
            "kthread": kthread,
            "walk": walk,
            "stack": stack,
            "only_in": self._found.only_in.get(raw.address),
            "cgroup": cgroup.path,
            "container": cgroup.container,
            "pid_in_namespace": None if raw.nsproxy in self._pids.initial else self._pids.read_number(raw),
        }

    def _lookup(self, raw: RawTask) -> tuple[bool | None, Walk | None, list[StackFrame] | None]:
        """Whether a task that has two fs_structs, or walks, borrows; its walk, and its stack if it does either."""
        known, walk, in_init = self._known, None, False
        if raw.nameidata:
            walk = self._activity.walks.read_walk(raw)
            in_init = walk is not None and known.generation is Generation.RFC_V1 and walk.in_init
        borrowing: bool | None
        if known.init_unread and raw.fs != raw.real_fs:
            borrowing = None
        elif raw.real_fs is None:
            borrowing = in_init
        else:
            borrowing = raw.fs != raw.real_fs and raw.fs == known.userspace_init_fs
        stack = self._activity.read_stack(raw) if borrowing or raw.nameidata else None
        return borrowing, None if walk is None else self._walk(raw, walk, in_init), stack

    def _partial(self, raw: PartialTask) -> Task:
        # Its missing members have an error entry already.
        owned = self._ownership.owned_fs(raw)
        kind, kthread = self._partial_kind(raw)
        walk = None if not raw.nameidata else self._activity.walks.read_walk(raw)
        borrowing = self._borrows(raw, None if walk is None else walk.in_init)
        in_init = bool(borrowing) and self._known.generation is Generation.RFC_V1
        stateless = raw.state is None or raw.exit_state is None
        cgroup = self._cgroups.read_cgroup(raw)
        clockless = None in (raw.cpu, raw.on_cpu, raw.exec_start)
        return _build_task(
            {
                "address": raw.address,
                "pid": raw.pid,
                "tgid": raw.tgid,
                "ppid": self._parent_tgid(raw),
                "comm": None if raw.comm is None else self._comm(raw.comm),
                "kind": kind,
                "state": None if stateless else self._state(raw.state or 0, raw.exit_state or 0),
                "flags": raw.flags,
                "fs": raw.fs or None,
                "real_fs": raw.real_fs or None,
                "borrowing": borrowing,
                "owner": None if owned is None else self._ownership.owner(owned),
                "mnt_ns": self._namespace_of.get(raw.nsproxy or 0),
                "user_ns": None if not owned or raw.flags is None else self._user_ns(raw, owned),
                "start_time": raw.start_time,
                "kthread": kthread,
                "walk": None if walk is None else self._walk(raw, walk, in_init),
                "waiting_s": None if clockless else self._activity.clocks.waiting_s(raw),
                "stack": self._activity.read_stack(raw) if borrowing or raw.nameidata else None,
                "stack_base": raw.stack_base or None,
                "only_in": None,
                "cgroup": cgroup.path,
                "container": cgroup.container,
                "pid_in_namespace": self._pids.read_number(raw),
            }
        )

    def _comm(self, comm: bytes) -> str:
        text = self._comms.get(comm)
        if text is None:
            text = self._comms[comm] = kernel_text(comm.split(b"\0", 1)[0])
        return text

    def _state(self, state: int, exit_state: int) -> str:
        letter = self._states.get((state, exit_state))
        if letter is None:
            letter = self._states[state, exit_state] = state_letter(state, exit_state)
        return letter

    def _borrows(self, raw: PartialTask, in_init: bool | None) -> bool | None:
        """Whether it borrows ``userspace_init_fs``: by what it looks up with (7.3), or by its walk's flag (rfc-v1)."""
        known = self._known
        if known.generation is Generation.RFC_V1:
            return False if raw.nameidata == 0 else in_init
        if known.generation is not Generation.ISOLATED:
            return False
        if raw.fs is None or raw.real_fs is None or known.userspace_init_fs is None:
            return False if raw.fs is not None and raw.fs == raw.real_fs else None
        return raw.fs != raw.real_fs and raw.fs == known.userspace_init_fs

    def _user_ns(self, raw: AnyTask, owned: int) -> int | None:
        """Asked only where it tells something: two tasks with one fs_struct must agree in it."""
        if self._ownership.sharers[owned] < 2 or raw.real_cred is None:
            return None
        if (raw.flags or 0) & (PF_KTHREAD | PF_IDLE):
            return None
        with self._errors.guard(raw.name, "real_cred.user_ns"):
            return self._reader.read_u64(raw.real_cred + self._layout.cred_user_ns)
        return None

    def _parent_tgid(self, raw: AnyTask) -> int | None:
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
        return self._user_kind(raw), None

    def _partial_kind(self, raw: PartialTask) -> tuple[TaskKind | None, Kthread | None]:
        flags = raw.flags
        if raw.pid == 0:
            return TaskKind.IDLE, None
        if raw.tgid == 1:
            return TaskKind.INIT, None
        if flags is None or raw.tgid is None:
            return None, None
        if flags & PF_IDLE:
            return TaskKind.IDLE, None
        if flags & PF_KTHREAD:
            info = None if raw.worker_private is None else self._kthreads.read_kthread(raw)
            return (None, None) if info is None else (info.kind, info.kthread)
        if flags & PF_IO_OR_USER_WORKER:
            return TaskKind.IO_WORKER, None
        return self._user_kind(raw), None

    def _user_kind(self, raw: AnyTask) -> TaskKind | None:
        """Of a user's task that is not PID 1's: who its parent is decides; ``None`` if that is not there."""
        parent = self._found.get(raw.real_parent)
        if parent is None:
            return None if raw.real_parent is None or self._found.lost else TaskKind.USER
        if parent.tgid == 1:
            return TaskKind.USER
        if parent.flags is None:
            return None
        return TaskKind.USERMODEHELPER if parent.flags & PF_KTHREAD else TaskKind.USER

    def _walk(self, task: AnyTask, raw: RawWalk, in_init: bool) -> Walk:
        """A path walk; ``nd->root`` is NULL until the walk needs it."""
        where, path_ref = f"{task.name} walk", self._records.path_ref
        root = path_ref(where, raw.root_mnt, raw.root_dentry) if raw.root_mnt else None
        start = path_ref(where, raw.mnt, raw.dentry) if raw.mnt else None
        path = None if raw.path is None else kernel_text(raw.path)
        return _walk(path=path, root=root, start=start, in_init=in_init, flags=raw.flags)


def _by_pid(tasks: Iterable[RawTask]) -> list[RawTask]:
    """By pid, then address: pids are unique but for 0, which idle tasks have, and in memory that is damaged."""
    ordered = sorted(tasks, key=_pid)
    idle = bisect_right(ordered, 0, key=_pid)
    ordered[:idle] = sorted(ordered[:idle], key=attrgetter("address"))
    others = map(_pid, islice(ordered, idle, None))
    if any(map(eq, others, map(_pid, islice(ordered, idle + 1, None)))):
        ordered.sort(key=_pid_and_address)
    return ordered


# Columns of what each task has of its own. They know no more than they need: a snapshot must not keep a kernel open.


def _members(raw_tasks: list[RawTask], name: str) -> list[Any]:
    return list(map(itemgetter(TaskStruct._fields.index(name)), raw_tasks))


def _members_or_none(raw_tasks: list[RawTask], name: str) -> list[Any]:
    return [value or None for value in _members(raw_tasks, name)]


def _owners(raw_tasks: list[RawTask], ownership: Ownership) -> list[Owner | None]:
    owned = [ownership.owned_fs(raw) or 0 for raw in raw_tasks]
    private = ownership.plainly_private
    known = {address: ownership.owner(address) for address in set(owned).difference(private)}
    return [Owner.PRIVATE if address in private else known[address] for address in owned]


def _waiting(raw_tasks: list[RawTask], clocks: SchedulerClocks) -> list[float | None]:
    found: list[float | None] = []
    for raw, (cpu, on_cpu, exec_start) in zip(raw_tasks, map(_pick_times, raw_tasks), strict=True):
        now = clocks.now_of.get(cpu)
        if now is None or on_cpu != 0 or not exec_start:
            found.append(clocks.waiting_s(raw))
        else:
            found.append(in_seconds(now - exec_start))
    return found
