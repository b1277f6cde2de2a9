"""The kernel's structures as the capture reads them: of each member its name here, its type, and its spellings there.

One list for both: the decoder that :mod:`.layout` makes of a structure gives the values in the order of its fields. A
field without a spelling is none of the kernel's. Members are probed, never versions.
"""

# Annotations are values here: they are what a decoder is made of.
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, Never, TypeVar, get_args, get_origin

import drgn

from explorer.model import task_at

from .decode import NOT_READ, Decoder, make_decoder

__all__ = (
    "INLINE_NAME",
    "AnyTask",
    "PartialTask",
    "RawFs",
    "RawKthread",
    "RawMount",
    "RawSuperBlock",
    "RawTask",
    "RawWorker",
    "TaskStruct",
    "decoder_of",
    "new_raw_fs",
    "task_maker",
)

#: ``None`` where a part of a structure may not be there, ``Never`` where all of it is.
Gap = TypeVar("Gap", bound=None, covariant=True)


class TaskStruct(NamedTuple, Generic[Gap]):
    """The members of a ``task_struct`` (include/linux/sched.h); pointers as numbers, NULL as 0.

    ``None`` is what this kernel has not, and of a :data:`PartialTask` what is not there. In the order in which the
    members lie in memory, of all kernels that are known: then they need not be put into order one by one.
    """

    address: int
    cpu: Annotated[int | None, "?thread_info.cpu", "?cpu"]  # 5.16; if both, the same
    state: Annotated[int | Gap, "__state", "state"]  # 5.14; a long before
    stack_base: Annotated[int | Gap, "stack"]
    flags: Annotated[int | Gap, "flags"]
    on_cpu: Annotated[int | None, "?on_cpu"]
    exec_start: Annotated[int | None, "?se.exec_start"]
    last_arrival: Annotated[int | None, "?sched_info.last_arrival"]  # with CONFIG_SCHED_INFO only
    tasks_next: Annotated[int | Gap, "tasks.next"]
    tasks_prev: Annotated[int | Gap, "tasks.prev"]
    exit_state: Annotated[int | Gap, "exit_state"]
    pid: Annotated[int | Gap, "pid"]
    tgid: Annotated[int | Gap, "tgid"]
    real_parent: Annotated[int | Gap, "real_parent"]
    thread_pid: Annotated[int | Gap, "thread_pid"]
    thread_next: Annotated[int | Gap, "thread_node.next"]
    thread_prev: Annotated[int | Gap, "thread_node.prev"]
    worker_private: Annotated[int | Gap, "worker_private", "set_child_tid"]  # 5.17; of kthreads alone before
    start_time: Annotated[int | Gap, "start_boottime"]
    real_cred: Annotated[int | Gap, "real_cred"]
    comm: Annotated[bytes | Gap, "comm[]"]
    nameidata: Annotated[int | Gap, "nameidata"]
    real_fs: Annotated[int | None, "?real_fs"]  # 7.3: "fs: add real_fs"; what the task owns
    fs: Annotated[int | Gap, "fs"]
    nsproxy: Annotated[int | Gap, "nsproxy"]
    signal: Annotated[int | Gap, "signal"]
    cgroups: Annotated[int | None, "?cgroups"]  # with CONFIG_CGROUPS only

    @property
    def name(self) -> str:
        """How error entries call it."""
        return task_at(self.pid, self.address)


RawTask = TaskStruct[Never]
PartialTask = TaskStruct[None]
AnyTask = RawTask | PartialTask

_new_raw_task: Callable[[tuple[Any, ...]], RawTask] = partial(tuple.__new__, TaskStruct)


_FLAGS = TaskStruct._fields.index("flags")


def task_maker(kept: int) -> Callable[[tuple[Any, ...]], RawTask]:
    """Makes a task of (address, the decoder's values...). :param kept: ``Layout.task_flags``"""
    if kept == -1:
        return _new_raw_task
    return lambda values: _new_raw_task(_with_flags(values, kept))


def _with_flags(values: tuple[Any, ...], kept: int) -> tuple[Any, ...]:
    flags = values[_FLAGS]
    return (*values[:_FLAGS], flags and flags & kept, *values[_FLAGS + 1 :])


class RawFs(NamedTuple):
    """The members of an ``fs_struct`` (include/linux/fs_struct.h), ``None`` where memory is not there."""

    address: int
    users: Annotated[int | None, "users.counter", "users.refcount.refs.counter", "users"]
    seq: Annotated[
        int | None, "seq.seqcount.seqcount.sequence", "seq.seqcount.sequence"
    ]  # seqlock_t since 6.17
    umask: Annotated[int | None, "umask"]
    in_exec: Annotated[int | None, "in_exec"]
    root_mnt: Annotated[int | None, "root.mnt"]
    """``struct vfsmount *``, as ``pwd_mnt``."""
    root_dentry: Annotated[int | None, "root.dentry"]
    pwd_mnt: Annotated[int | None, "pwd.mnt"]
    pwd_dentry: Annotated[int | None, "pwd.dentry"]
    unstable: bool
    """On a live kernel: it was changed each time it was read."""


new_raw_fs: Callable[[tuple[Any, ...]], RawFs] = partial(tuple.__new__, RawFs)


class RawMount(NamedTuple):
    """A ``struct mount`` (fs/mount.h); ``None`` for what is not there, and for what this kernel has not."""

    address: int
    parent: Annotated[int | None, "mnt_parent"]
    mountpoint: Annotated[int | None, "mnt_mountpoint"]
    root: Annotated[int | None, "mnt.mnt_root"]
    superblock: Annotated[int | None, "mnt.mnt_sb"]
    flags: Annotated[int | None, "mnt.mnt_flags"]
    devname: Annotated[int | None, "mnt_devname"]
    mnt_ns: Annotated[int | None, "mnt_ns"]
    id: Annotated[int | None, "mnt_id"]
    unique_id: Annotated[int | None, "?mnt_id_unique"]  # 6.8
    overmount: Annotated[int | None, "?overmount"]  # 6.16
    rb_right: Annotated[
        int | None, "?mnt_node.rb_right"
    ]  # 6.8: an rb-tree of mounts in a namespace, a list before
    rb_left: Annotated[int | None, "?mnt_node.rb_left"]
    list_next: Annotated[int | None, "mnt_list.next"]
    group_id: Annotated[int | None, "mnt_group_id"]
    master: Annotated[int | None, "mnt_master"]
    t_flags: Annotated[
        int | None, "?mnt_t_flags"
    ]  # 6.17: what a mount propagates, which mnt_flags said before
    idmap: Annotated[int | None, "?mnt.mnt_idmap", "?mnt.mnt_userns"]  # 6.3; a user namespace before
    pcp: Annotated[int | None, "?mnt_pcp"]  # with CONFIG_SMP only
    umounting: Annotated[
        int | None, "mnt_umount.pprev"
    ]  # on the list of an umount at work; poison after that
    sb_next: Annotated[
        int | None, "mnt_next_for_sb", "mnt_instance.next"
    ]  # a pointer since 6.18, a list before

    @property
    def name(self) -> str:
        """How error entries call it."""
        return f"mount {'?' if self.id is None else self.id} (0x{self.address:x})"


class RawSuperBlock(NamedTuple):
    """A ``struct super_block`` (include/linux/fs.h)."""

    address: int
    s_magic: Annotated[int | None, "s_magic"]
    s_type: Annotated[int | None, "s_type"]
    s_subtype: Annotated[int | None, "s_subtype"]
    s_dev: Annotated[int | None, "s_dev"]


class RawKthread(NamedTuple):
    """A ``struct kthread`` (kernel/kthread.c)."""

    address: int
    threadfn: Annotated[int | None, "threadfn"]
    data: Annotated[int | None, "data"]
    full_name: Annotated[int | None, "?full_name"]
    node: Annotated[int | None, "?node"]  # 6.14


class RawWorker(NamedTuple):
    """A ``struct worker`` (kernel/workqueue_internal.h)."""

    address: int
    current_func: Annotated[int | None, "current_func"]
    current_pwq: Annotated[int | None, "current_pwq"]
    last_func: Annotated[int | None, "last_func"]
    desc: Annotated[bytes | None, "desc[]"]
    rescue_wq: Annotated[int | None, "rescue_wq"]
    current_start: Annotated[int | None, "?current_start"]  # 7.x


#: Where a dentry keeps a name that is short enough: in a union shortname_store since 6.14.
INLINE_NAME = ("d_shortname.string[]", "d_shortname", "d_iname")


#: The fields that earlier versions did not read, behind those that they read: what they cut may end before.
_NEWER = {TaskStruct: ("cgroups",)}


def decoder_of(prog: drgn.Program, structure: type[Any], of_slice: bool = False) -> Decoder:
    """What decodes ``struct NAME`` into the fields of a structure, but for those that have no spelling.

    :param of_slice: as if the kernel had none of what earlier versions did not read
    :raises LookupError: if this kernel lacks what is not marked with ``?``
    """
    hints: dict[str, Any] = structure.__annotations__
    spelled = {
        field: get_args(hints[field])[1:]
        for field in structure._fields
        if get_origin(hints[field]) is Annotated
    }
    for field in _NEWER.get(structure, ()) if of_slice else ():
        spelled[field] = NOT_READ
    return make_decoder(prog, _NAMES[structure], *spelled.values(), fields=tuple(spelled))


_NAMES: dict[type[Any], str] = {
    TaskStruct: "task_struct",
    RawFs: "fs_struct",
    RawMount: "mount",
    RawSuperBlock: "super_block",
    RawKthread: "kthread",
    RawWorker: "worker",
}
