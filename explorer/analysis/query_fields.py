"""The fields of the query language: each declared once, for parsing, matching, completion, help and facet counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from explorer.analysis.accounting import expected_users
from explorer.model import FsStruct, Owner, PathRef, Placement, Snapshot, Task, TaskKind, escape_text

__all__ = (
    "FIELDS",
    "FREE_TEXT",
    "FREE_TEXT_FIELDS",
    "PF_NAMES",
    "Field",
    "FieldType",
    "Scope",
    "Value",
    "fs_of",
    "shown",
)

#: What a getter gives: ``None`` where there is no value or it could not be read; several texts where any will do.
Value = str | int | float | bool | tuple[str, ...] | None

#: include/linux/sched.h; without the bits whose meaning has moved between the kernels read here.
PF_NAMES = {
    "idle": 0x2,
    "exiting": 0x4,
    "postcoredump": 0x8,
    "io_worker": 0x10,
    "wq_worker": 0x20,
    "forknoexec": 0x40,
    "superpriv": 0x100,
    "dumpcore": 0x200,
    "signaled": 0x400,
    "memalloc": 0x800,
    "user_worker": 0x4000,
    "nofreeze": 0x8000,
    "kswapd": 0x20000,
    "kthread": 0x200000,
    "randomize": 0x400000,
    "no_setaffinity": 0x4000000,
}


class FieldType(Enum):
    """How a value is written and compared."""

    TEXT = auto()
    CHOICE = auto()
    """One of a fixed set of words."""
    NUMBER = auto()
    """Decimal, or hexadecimal behind 0x."""
    SECONDS = auto()
    """A number that may have a fraction."""
    OCTAL = auto()
    FLAG = auto()
    """True or false; its name alone asks for true."""


class Scope(Enum):
    """What the value belongs to: one that belongs to an ``fs_struct`` is decided once for all its sharers."""

    TASK = auto()
    FS = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One fact that a query can ask for."""

    name: str
    type: FieldType
    get: Callable[[Task, Snapshot], Value]
    help: str
    choices: tuple[str, ...] = ()
    scope: Scope = Scope.TASK


def fs_of(task: Task, snapshot: Snapshot) -> FsStruct | None:
    """The ``fs_struct`` that a task owns."""
    owned = task.owned_fs
    return None if owned is None else snapshot.fs_by_address.get(owned)


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
        fs = fs_of(task, snapshot)
        value: Value = None if fs is None else getattr(fs, name)
        return value

    return get


def _path(which: str, part: str) -> Callable[[Task, Snapshot], Value]:
    def get(task: Task, snapshot: Snapshot) -> Value:
        fs = fs_of(task, snapshot)
        path: PathRef | None = None if fs is None else getattr(fs, which)
        if path is None:
            return None
        if part == "mount":
            mount = snapshot.mount_by_address.get(path.mount)
            return None if mount is None else mount.id
        value: Value = getattr(path, part)
        return value

    return get


def _names(task: Task, snapshot: Snapshot) -> tuple[str, ...]:
    full = None if task.kthread is None else task.kthread.full_name
    return tuple(dict.fromkeys(name for name in (task.comm, full) if name is not None))


def _umask(task: Task, snapshot: Snapshot) -> Value:
    fs = fs_of(task, snapshot)
    try:
        return None if fs is None or fs.umask is None else int(fs.umask, 8)
    except ValueError:  # a snapshot that somebody edited: its umask is no number, so none is known
        return None


def _namespace(task: Task, snapshot: Snapshot) -> Value:
    namespace = snapshot.namespace_by_address.get(task.mnt_ns or 0)
    return None if namespace is None else namespace.inum


def _mismatch(task: Task, snapshot: Snapshot) -> Value:
    fs = fs_of(task, snapshot)
    return fs is not None and fs.users is not None and fs.users != expected_users(fs, snapshot)


def _flag_names(task: Task, snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(name for name, bit in PF_NAMES.items() if task.has_flag(bit))


def _walk_path(task: Task, snapshot: Snapshot) -> Value:
    return None if task.walk is None else task.walk.path


def _words(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in enum)


def _path_fields(which: str, what: str) -> tuple[Field, ...]:
    return (
        Field(which, FieldType.CHOICE, _path(which, "placement"), f"where the {what} is", _words(Placement), Scope.FS),
        Field(f"{which}.path", FieldType.TEXT, _path(which, "path"), f"path of the {what}", (), Scope.FS),
        Field(f"{which}.fstype", FieldType.TEXT, _path(which, "fstype"), f"filesystem of the {what}", (), Scope.FS),
        Field(f"{which}.mount", FieldType.NUMBER, _path(which, "mount"), f"mount id of the {what}", (), Scope.FS),
    )  # fmt: skip


_DECLARED = (
    Field("pid", FieldType.NUMBER, _task("pid"), "the thread's id"),
    Field("tgid", FieldType.NUMBER, _task("tgid"), "the process's id"),
    Field("ppid", FieldType.NUMBER, _task("ppid"), "the parent process's id"),
    Field("comm", FieldType.TEXT, _task("comm"), "the name, as the kernel cut it to 15 bytes"),
    Field("name", FieldType.TEXT, _names, "comm, or a kernel thread's full name"),
    Field("kind", FieldType.CHOICE, _task("kind"), "the sort of task", _words(TaskKind)),
    Field("state", FieldType.TEXT, _task("state"), "one letter, as ps shows it: R S D T t X Z P I"),
    Field("owner", FieldType.CHOICE, _task("owner"), "whose fs_struct it holds", _words(Owner)),
    *_path_fields("root", "root"),
    *_path_fields("pwd", "working directory"),
    Field("umask", FieldType.OCTAL, _umask, "the umask, in octal", (), Scope.FS),
    Field("users", FieldType.NUMBER, _fs("users"), "fs_struct.users, the kernel's count", (), Scope.FS),
    Field("sharers", FieldType.NUMBER, _fs("sharers"), "tasks found that own the same fs_struct", (), Scope.FS),
    Field("fs", FieldType.NUMBER, _task("fs"), "address of the fs_struct that lookups use now"),
    Field("real_fs", FieldType.NUMBER, _task("real_fs"), "address of the fs_struct it owns (7.3 on)"),
    Field("mnt_ns", FieldType.NUMBER, _namespace, "inode number of its mount namespace"),
    Field("address", FieldType.NUMBER, _task("address"), "address of the task_struct"),
    Field("threadfn", FieldType.TEXT, _kthread("threadfn"), "a kernel thread's function"),
    Field("workqueue", FieldType.TEXT, _kthread("workqueue"), "the workqueue a worker serves now"),
    Field("func", FieldType.TEXT, _kthread("current_func"), "the work function being run"),
    Field("last_func", FieldType.TEXT, _kthread("last_func"), "the work function run last"),
    Field("module", FieldType.TEXT, _kthread("module"), "the module of what a kernel thread runs"),
    Field("running", FieldType.SECONDS, _kthread("running_s"), "seconds that its work item has been running"),
    Field("waiting", FieldType.SECONDS, _task("waiting_s"), "seconds since it last ran"),
    Field("walk.path", FieldType.TEXT, _walk_path, "the path it is looking up"),
    Field("flags", FieldType.TEXT, _flag_names, "a PF_ flag that is set, in lower case without PF_: kthread"),
    Field("borrowing", FieldType.FLAG, _task("borrowing"), "it looks paths up through userspace_init_fs now"),
    Field("exited", FieldType.FLAG, lambda task, _: task.owner is Owner.NONE, "it has exited: no fs_struct"),
    Field("mismatch", FieldType.FLAG, _mismatch, "users of its fs_struct differ from the holders found", (), Scope.FS),
    Field("walking", FieldType.FLAG, lambda task, _: task.walk is not None, "it is inside a path walk"),
)  # fmt: skip

#: Every field by name, in the order in which help shows them.
FIELDS = {field.name: field for field in _DECLARED}


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


def shown(value: Value) -> tuple[str, ...]:
    """A value as text, escaped as it is on the screen: what text comparisons see."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        return tuple(map(escape_text, value))
    return (escape_text(str(value)),)
