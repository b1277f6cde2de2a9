"""Where the members of kernel structures lie in the kernel being read.

The one place where kernel versions differ: every other module of the capture reads as if there were one
kernel. Members are probed, never versions.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.model import TaskFlag

from .decode import (
    NOT_READ,
    Decoder,
    LayoutError,
    Member,
    Wanted,
    find_member,
    make_decoder,
    member_offset,
    optional_offset,
)
from .structures import (
    INLINE_NAME,
    RawFs,
    RawKthread,
    RawMount,
    RawSuperBlock,
    RawWorker,
    TaskStruct,
    decoder_of,
)

__all__ = ("Layout", "probe_layout")


class Layout(NamedTuple):
    """Every layout the capture needs, probed once per open kernel."""

    task: Decoder
    """Gives a :class:`~.structures.TaskStruct`."""
    task_flags: int
    """The bits of its flags that mean what :class:`~explorer.model.TaskFlag` says."""
    task_of_slice: Decoder
    """The same without what is behind the members that earlier versions read."""
    has_task_cgroups: bool
    """:attr:`task` gives them."""
    task_tgid: Decoder
    """tgid"""
    task_nameidata: int
    task_tasks: int
    task_thread_node: int
    signal_thread_head: int
    nsproxy_mnt_ns: int
    cred_user_ns: int
    fs_struct: Decoder
    """Gives a :class:`~.structures.RawFs`."""
    dentry: Decoder
    """d_parent, name length, name pointer, inline name, d_hash.pprev, d_op"""
    dentry_inline_name: int
    dentry_operations_dname: int
    mount: Decoder
    """Gives a :class:`~.structures.RawMount`."""
    mount_vfsmount: int
    mount_node: int | None
    """Offset of ``mnt_node`` (rb-tree of a namespace's mounts, since 6.8); ``None`` where it is a list."""
    mount_list: int
    has_overmount: bool
    mnt_namespace: Decoder
    """inum, root, rb-tree root, list.next, anonymous marker"""
    namespace_list: int | None
    has_anonymous_marker: bool
    anonymous_when: int
    """The value of the anonymous marker that means an anonymous namespace."""
    super_block: Decoder
    """Gives a :class:`~.structures.RawSuperBlock`."""
    fstype_name: int
    kthread: Decoder
    """Gives a :class:`~.structures.RawKthread`."""
    worker: Decoder
    """Gives a :class:`~.structures.RawWorker`."""
    pwq_wq: int
    workqueue_name: Member
    nameidata: Decoder
    """path.mnt, path.dentry, root.mnt, root.dentry, flags, name"""
    filename_name: int
    has_real_fs: bool

    def of_slice(self) -> Layout:
        """For a slice, which an earlier version may have cut."""
        return self._replace(task=self.task_of_slice, has_task_cgroups=False)


_DENTRY: tuple[Wanted, ...] = (
    "d_parent",
    "d_name.len",
    "d_name.name",
    INLINE_NAME,
    "d_hash.pprev",
    "d_op",
)
_NAMEIDATA = ("path.mnt", "path.dentry", "root.mnt", "root.dentry", "flags", "name")


#: What an anonymous namespace has none of: a sequence number, or (6.18 on) an id.
_NAMESPACE_ID = ("seq", "ns.ns_id")


def _namespace_decoder(prog: drgn.Program, *, has_tree: bool, flagged: bool) -> Decoder:
    return make_decoder(
        prog,
        "mnt_namespace",
        "ns.inum",
        "root",
        # Before the tree, "mounts" was a count.
        "?mounts.rb_node" if has_tree else NOT_READ,
        "?list.next",
        "is_anon" if flagged else tuple(f"?{member}" for member in _NAMESPACE_ID),
    )


def probe_layout(prog: drgn.Program) -> Layout:
    """Probe the kernel's types.

    :raises LayoutError: if the kernel lacks something indispensable
    :raises LookupError: if a whole type is missing
    """
    if find_member(prog.type("struct task_struct"), "worker_private", "pf_io_worker") is None:
        raise LayoutError(
            "this kernel is older than 5.10.162, or 5.11: it has neither worker_private nor pf_io_worker, and its PF_ "
            "flags mean something else"
        )
    mount = prog.type("struct mount")
    namespace = prog.type("struct mnt_namespace")
    mount_node = optional_offset(prog, "mount", "mnt_node")
    # 6.19 and later say so in a flag.
    flagged = namespace.has_member("is_anon")
    return Layout(
        task=decoder_of(prog, TaskStruct),
        # What is PF_USER_WORKER since 6.4 was PF_USED_ASYNC until 5.16, which has no worker_private either.
        task_flags=-1
        if prog.type("struct task_struct").has_member("worker_private")
        else ~TaskFlag.USER_WORKER,
        task_of_slice=decoder_of(prog, TaskStruct, of_slice=True),
        has_task_cgroups=prog.type("struct task_struct").has_member("cgroups"),
        task_tgid=make_decoder(prog, "task_struct", "tgid"),
        task_nameidata=member_offset(prog, "task_struct", "nameidata"),
        task_tasks=member_offset(prog, "task_struct", "tasks"),
        task_thread_node=member_offset(prog, "task_struct", "thread_node"),
        signal_thread_head=member_offset(prog, "signal_struct", "thread_head"),
        cred_user_ns=member_offset(prog, "cred", "user_ns"),
        nsproxy_mnt_ns=member_offset(prog, "nsproxy", "mnt_ns"),
        fs_struct=decoder_of(prog, RawFs),
        dentry=make_decoder(prog, "dentry", *_DENTRY),
        dentry_inline_name=member_offset(prog, "dentry", *INLINE_NAME[1:]),
        dentry_operations_dname=member_offset(prog, "dentry_operations", "d_dname"),
        mount=decoder_of(prog, RawMount),
        mount_vfsmount=member_offset(prog, "mount", "mnt"),
        mount_node=mount_node,
        mount_list=member_offset(prog, "mount", "mnt_list"),
        has_overmount=mount.has_member("overmount"),
        mnt_namespace=_namespace_decoder(prog, has_tree=mount_node is not None, flagged=flagged),
        namespace_list=member_offset(prog, "mnt_namespace", "list") if mount_node is None else None,
        has_anonymous_marker=flagged or find_member(namespace, *_NAMESPACE_ID) is not None,
        anonymous_when=1 if flagged else 0,
        super_block=decoder_of(prog, RawSuperBlock),
        fstype_name=member_offset(prog, "file_system_type", "name"),
        kthread=decoder_of(prog, RawKthread),
        worker=decoder_of(prog, RawWorker),
        pwq_wq=member_offset(prog, "pool_workqueue", "wq"),
        workqueue_name=_workqueue_name(prog),
        nameidata=make_decoder(prog, "nameidata", *_NAMEIDATA),
        filename_name=member_offset(prog, "filename", "name"),
        has_real_fs=prog.type("struct task_struct").has_member("real_fs"),
    )


def _workqueue_name(prog: drgn.Program) -> Member:
    member = find_member(prog.type("struct workqueue_struct"), "name")
    if member is None:
        raise LayoutError("this kernel's struct workqueue_struct has no name")
    return member
