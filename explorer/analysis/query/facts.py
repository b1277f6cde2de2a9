"""The facts of a task, each declared once: what queries ask for, what a CSV and a detail list, and how each is shown.

A new one is a line in ``_DECLARED``; what lists it chooses it by name, in :data:`CSV_FACTS` and :data:`DETAIL_FACTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar

from explorer.analysis.accounting import expected_users
from explorer.analysis.isolation import KERNEL_KINDS
from explorer.model import (
    GLOBAL_FS_NAMES,
    PF_NAMES,
    ContainerRuntime,
    Mount,
    MountNamespace,
    Owner,
    PathRef,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    hex_address,
)
from explorer.naming import PWD_PLACEMENTS, pwd_placement

from .field import Field, FieldType, QueryField, Scope, Value, shown

__all__ = (
    "CSV_FACTS",
    "DETAIL_FACTS",
    "FACTS",
    "FIELDS",
    "FREE_TEXT",
    "FREE_TEXT_FIELDS",
    "Field",
    "FieldType",
    "QueryField",
    "Scope",
    "Value",
    "aliases_of",
    "find_field",
    "shown",
)


_Some = TypeVar("_Some", bound=QueryField)


def _task(name: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        value: Value = getattr(task, name)
        return value

    return get


def _kthread(name: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        value: Value = None if task.kthread is None else getattr(task.kthread, name)
        return value

    return get


def _fs(name: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        fs = snapshot.fs_of(task)
        value: Value = None if fs is None else getattr(fs, name)
        return value

    return get


def _path(which: str, part: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        fs = snapshot.fs_of(task)
        path: PathRef | None = None if fs is None else getattr(fs, which)
        if path is None:
            return None
        value: Value = getattr(path, part)
        return value

    return get


def _mount(which: str) -> Callable[[Task, Snapshot], Mount | None]:
    def get(task: Task, snapshot: Snapshot) -> Mount | None:
        fs = snapshot.fs_of(task)
        path: PathRef | None = None if fs is None else getattr(fs, which)
        return None if path is None else snapshot.mount_by_address.get(path.mount)

    return get


def _mount_id(which: str) -> Callable[[Task, Snapshot], Value]:
    mount_of = _mount(which)

    def get(task: Task, snapshot: Snapshot) -> Value:
        mount = mount_of(task, snapshot)
        return None if mount is None else mount.id

    return get


def _names(task: Task, snapshot: Snapshot) -> tuple[str, ...]:
    full = None if task.kthread is None else task.kthread.full_name
    return tuple(dict.fromkeys(name for name in (task.comm, full) if name is not None))


def _umask(task: Task, snapshot: Snapshot) -> Value:
    fs = snapshot.fs_of(task)
    try:
        return None if fs is None or fs.umask is None else int(fs.umask, 8)
    except ValueError:  # a snapshot that somebody edited: its umask is no number, so none is known
        return None


def _namespace(task: Task, snapshot: Snapshot) -> MountNamespace | None:
    return snapshot.namespace_by_address.get(task.mnt_ns or 0)


def _namespace_inum(task: Task, snapshot: Snapshot) -> Value:
    namespace = _namespace(task, snapshot)
    return None if namespace is None else namespace.inum


def _mismatch(task: Task, snapshot: Snapshot) -> Value:
    fs = snapshot.fs_of(task)
    return fs is not None and fs.users is not None and fs.users != expected_users(fs, snapshot)


def _flag_names(task: Task, snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(name for name, bit in PF_NAMES.items() if task.has_flag(bit))


def _pwd_placement(task: Task, snapshot: Snapshot) -> Value:
    fs = snapshot.fs_of(task)
    return None if fs is None or fs.pwd is None else pwd_placement(fs.pwd.placement)


def _started(task: Task, snapshot: Snapshot) -> Value:
    return None if task.start_time is None else task.start_time / 1e9


def _walk_path(task: Task, snapshot: Snapshot) -> Value:
    return None if task.walk is None else task.walk.path


def _container(name: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        value: Value = None if task.container is None else getattr(task.container, name)
        return value

    return get


def _without_cgroup(task: Task, snapshot: Snapshot) -> Task | None:
    """A task of which nothing is told about containers: its control group is not known."""
    return task if task.cgroup is None else None


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _words(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in enum)


def _path_fields(which: str, what: str) -> tuple[Field, ...]:
    return (
        Field(f"{which}.path", FieldType.TEXT, _path(which, "path"), f"path of the {what}", (), Scope.FS),
        Field(f"{which}.fstype", FieldType.TEXT, _path(which, "fstype"), f"filesystem of the {what}", (), Scope.FS),
        Field(
            f"{which}.mount", FieldType.NUMBER, _mount_id(which),
            f"mount id of the {what}", (), Scope.FS, holder=_mount(which),
        ),
    )  # fmt: skip


#: Both kinds of tasks, and the kinds that each is of.
_KIND_GROUPS = {
    "kernel": tuple(kind.value for kind in TaskKind if kind in KERNEL_KINDS),
    "userspace": tuple(kind.value for kind in TaskKind if kind not in KERNEL_KINDS),
}

_DECLARED = (
    Field("pid", FieldType.NUMBER, _task("pid"), "the thread's id"),
    Field("tgid", FieldType.NUMBER, _task("tgid"), "the process's id", unread="?"),
    Field("ppid", FieldType.NUMBER, _task("ppid"), "the parent process's id", unread="?"),
    Field("comm", FieldType.TEXT, _task("comm"), "the name, as the kernel cut it to 15 bytes", unread="?"),
    Field("name", FieldType.TEXT, _names, "comm, or a kernel thread's full name"),
    Field(
        "kind", FieldType.CHOICE, _task("kind"),
        "the sort of task; kernel and userspace stand for all of theirs", _words(TaskKind),
        unread="?", also=_KIND_GROUPS,
    ),
    Field("state", FieldType.TEXT, _task("state"), "one letter, as ps shows it: R S D T t X Z P I", unread="?"),
    Field("owner", FieldType.CHOICE, _task("owner"), "whose fs_struct it holds", _words(Owner), unread="?"),
    Field("placement", FieldType.CHOICE, _path("root", "placement"), "where the root is", _words(Placement), Scope.FS),
    *_path_fields("root", "root"),
    Field(
        "pwd.placement", FieldType.CHOICE, _pwd_placement, "where the working directory is",
        tuple(PWD_PLACEMENTS.values()), Scope.FS,
        also={placement.value: (word,) for placement, word in PWD_PLACEMENTS.items() if word != placement.value},
    ),
    *_path_fields("pwd", "working directory"),
    Field("umask", FieldType.OCTAL, _umask, "the umask, in octal", (), Scope.FS, "{:04o}".format),
    Field("users", FieldType.NUMBER, _fs("users"), "fs_struct.users, the kernel's count", (), Scope.FS),
    Field("sharers", FieldType.NUMBER, _fs("sharers"), "tasks found that own the same fs_struct", (), Scope.FS),
    Field(
        "fs", FieldType.ADDRESS, _task("fs"),
        "the fs_struct that lookups use now: address, or name", GLOBAL_FS_NAMES, show=hex_address,
    ),
    Field(
        "real_fs", FieldType.ADDRESS, _task("real_fs"),
        "the fs_struct it owns (7.3 on): address, or name", GLOBAL_FS_NAMES, show=hex_address,
    ),
    Field(
        "fs_struct", FieldType.ADDRESS, lambda task, _: task.owned_fs,
        "the fs_struct it owns (any kernel): address, or name", GLOBAL_FS_NAMES, show=hex_address,
    ),
    Field(
        "mnt_ns", FieldType.NUMBER, _namespace_inum, "inode number of its mount namespace", holder=_namespace
    ),
    Field("address", FieldType.ADDRESS, _task("address"), "address of the task_struct", show=hex_address),
    Field("full_name", FieldType.TEXT, _kthread("full_name")),
    Field("threadfn", FieldType.TEXT, _kthread("threadfn"), "a kernel thread's function"),
    Field("workqueue", FieldType.TEXT, _kthread("workqueue"), "the workqueue a worker serves now"),
    Field("func", FieldType.TEXT, _kthread("current_func"), "the work function being run"),
    Field("last_func", FieldType.TEXT, _kthread("last_func"), "the work function run last"),
    Field("desc", FieldType.TEXT, _kthread("desc")),
    Field("module", FieldType.TEXT, _kthread("module"), "the module of what a kernel thread runs"),
    Field("waiting_works", FieldType.NUMBER, _kthread("waiting_works"), "works that wait for its kthread_worker"),
    Field("delayed_works", FieldType.NUMBER, _kthread("delayed_works"), "works of it whose timers have not fired"),
    Field("node", FieldType.NUMBER, _kthread("numa_node"), "the NUMA node a kernel thread was made for"),
    Field(
        "running", FieldType.SECONDS, _kthread("running_s"),
        "seconds that its work item has been running", show="{:.3f} s".format,
    ),
    Field("waiting", FieldType.SECONDS, _task("waiting_s"), "seconds since it last ran", show="{:.3f} s ago".format),
    Field(
        "only_in", FieldType.TEXT, lambda task, _: None if task.only_in is None else task.only_in.value,
        "task_list or pid_table: the one of these that has it, if not both",
    ),
    Field("cgroup", FieldType.TEXT, _task("cgroup"), "path of its control group (v2)", unread="?"),
    Field(
        "container", FieldType.TEXT, _container("id"),
        "id or name of its container, as its control group's path has it", holder=_without_cgroup,
    ),
    Field(
        "runtime", FieldType.CHOICE, _container("runtime"),
        "who made its container", _words(ContainerRuntime), holder=_without_cgroup,
    ),
    Field(
        "pid_in_namespace", FieldType.NUMBER, _task("pid_in_namespace"),
        "its pid in its own pid namespace, if that is not the initial one",
    ),
    Field("started", FieldType.SECONDS, _started, show="{:.3f} s after boot".format),
    Field("walk.path", FieldType.TEXT, _walk_path, "the path it is looking up"),
    Field(
        "flags", FieldType.CHOICE, _flag_names, "a PF_ flag that is set, such as PF_KTHREAD", tuple(PF_NAMES),
        also={name.removeprefix("PF_").lower(): (name,) for name in PF_NAMES},
    ),
    Field(
        "borrowing", FieldType.FLAG, _task("borrowing"),
        "it looks paths up through userspace_init_fs now", show=_yes_or_no, unread="?",
    ),
    Field(
        "exited", FieldType.FLAG, lambda task, _: task.owner is Owner.NONE,
        "it has exited: no fs_struct", show=_yes_or_no,
    ),
    Field(
        "mismatch", FieldType.FLAG, _mismatch,
        "users of its fs_struct differ from the holders found", (), Scope.FS, _yes_or_no,
    ),
    Field(
        "walking", FieldType.FLAG, lambda task, _: task.walk is not None,
        "it is inside a path walk", show=_yes_or_no,
    ),
)  # fmt: skip

#: Every fact by name.
FACTS = {field.name: field for field in _DECLARED}

#: Those that queries ask for, in the order in which help shows them.
FIELDS = {name: field for name, field in FACTS.items() if field.help}

#: What fields were called before there was one name for each concept, and how a CSV's header calls them.
_ALIASES = {
    "root": "placement",
    "root.placement": "placement",
    "root_placement": "placement",
    "pwd": "pwd.placement",
    "pwd_placement": "pwd.placement",
    "root_mount_id": "root.mount",
    "pwd_mount_id": "pwd.mount",
    "current_func": "func",
} | {f"{which}_{part}": f"{which}.{part}" for which in ("root", "pwd") for part in ("path", "fstype")}


def aliases_of(fields: Mapping[str, QueryField]) -> Mapping[str, str]:
    """What else some of these are called. Those of tasks alone are."""
    return _ALIASES if fields is FIELDS else {}


def find_field(name: str, fields: Mapping[str, _Some]) -> _Some | None:
    """The field that a query calls so, in any case, by its own name or an older one; ``None``: there is none."""
    name = name.lower()
    return fields.get(aliases_of(fields).get(name, name))


#: The header of each column of a CSV, and its fact. Add at the end: scripts may count columns.
CSV_FACTS = {
    "pid": FACTS["pid"],
    "tgid": FACTS["tgid"],
    "ppid": FACTS["ppid"],
    "comm": FACTS["comm"],
    "kind": FACTS["kind"],
    "state": FACTS["state"],
    "owner": FACTS["owner"],
    "borrowing": FACTS["borrowing"],
    "fs": FACTS["fs"],
    "real_fs": FACTS["real_fs"],
    "users": FACTS["users"],
    "sharers": FACTS["sharers"],
    "umask": FACTS["umask"],
    "placement": FACTS["placement"],
    "root_fstype": FACTS["root.fstype"],
    "root_mount_id": FACTS["root.mount"],
    "root_path": FACTS["root.path"],
    "pwd_placement": FACTS["pwd.placement"],
    "pwd_fstype": FACTS["pwd.fstype"],
    "pwd_mount_id": FACTS["pwd.mount"],
    "pwd_path": FACTS["pwd.path"],
    "mnt_ns": FACTS["mnt_ns"],
    "threadfn": FACTS["threadfn"],
    "workqueue": FACTS["workqueue"],
    "current_func": FACTS["func"],
    "address": FACTS["address"],
    "cgroup": FACTS["cgroup"],
    "container": FACTS["container"],
    "runtime": FACTS["runtime"],
    "pid_in_namespace": FACTS["pid_in_namespace"],
}

#: What a task's detail lists behind its paths: the name of each line, and its fact.
DETAIL_FACTS = {
    "kind": FACTS["kind"],
    "owner": FACTS["owner"],
    "state": FACTS["state"],
    "flags": FACTS["flags"],
    "mnt_ns": FACTS["mnt_ns"],
    "cgroup": FACTS["cgroup"],
    "container": FACTS["container"],
    "runtime": FACTS["runtime"],
    "pid in namespace": FACTS["pid_in_namespace"],
    "started": FACTS["started"],
    "last ran": FACTS["waiting"],
    "full_name": FACTS["full_name"],
    "threadfn": FACTS["threadfn"],
    "workqueue": FACTS["workqueue"],
    "current_func": FACTS["func"],
    "waiting works": FACTS["waiting_works"],
    "delayed works": FACTS["delayed_works"],
    "NUMA node": FACTS["node"],
    "last_func": FACTS["last_func"],
    "desc": FACTS["desc"],
    "module": FACTS["module"],
    "running for": FACTS["running"],
}


#: What free text is searched in, besides the pid.
FREE_TEXT_FIELDS = ("name", "root.path", "pwd.path", "walk.path")


def _free_text(task: Task, snapshot: Snapshot) -> tuple[str, ...]:
    found: list[str] = []
    for name in FREE_TEXT_FIELDS:
        value = FIELDS[name].get(task, snapshot)
        found += value if isinstance(value, tuple) else [] if value is None else [str(value)]
    return tuple(found)


#: The same as one field.
FREE_TEXT = Field("", FieldType.TEXT, _free_text, "name and paths")
