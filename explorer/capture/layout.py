"""Where the members of kernel structures lie in the kernel being read.

The one place where kernel versions differ: every other module of the capture reads as if there were one
kernel. Members are probed, never versions. A :class:`Decoder` turns the bytes of one structure, read at once,
into a tuple of plain values, with offsets and widths computed once from the kernel's own types.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import drgn

__all__ = (
    "INLINE_NAME",
    "Decoder",
    "Layout",
    "LayoutError",
    "Member",
    "find_member",
    "make_decoder",
    "member_offset",
    "probe_layout",
)


class LayoutError(LookupError):
    """The kernel lacks a member this program cannot do without; the message names it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member found: byte offset in the outermost structure, and its type without typedefs."""

    offset: int
    type: drgn.Type


def _strip(type_: drgn.Type) -> drgn.Type:
    while type_.kind is drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def find_member(type_: drgn.Type, *designators: str) -> Member | None:
    """The first of several spellings of a member that the structure has.

    :param designators: dotted paths such as ``"seq.seqcount.sequence"``; anonymous members are looked through
    :return: ``None`` when the structure has none of them
    :raises LayoutError: if it has one of a type that is none
    """
    for designator in designators:
        current, offset = _strip(type_), 0
        for name in designator.split("."):
            if current.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
                break
            if not current.has_member(name):
                break
            member = current.member(name)
            offset += member.bit_offset // 8
            try:
                current = _strip(member.type)  # made when it is first asked for
            except ValueError as error:
                raise LayoutError(
                    f"this kernel's {type_.type_name()} has a damaged {name}: {error}"
                ) from error
        else:
            return Member(offset, current)
    return None


_INTEGERS = {(1, True): "b", (1, False): "B", (2, True): "h", (2, False): "H"}
_INTEGERS |= {(4, True): "i", (4, False): "I", (8, True): "q", (8, False): "Q"}


def _format_of(type_: drgn.Type) -> str:
    if type_.kind is drgn.TypeKind.POINTER:
        return "Q"
    if type_.kind is drgn.TypeKind.ARRAY:
        return f"{drgn.sizeof(type_)}s"
    if type_.kind is drgn.TypeKind.BOOL:
        return "?"
    if type_.kind is drgn.TypeKind.ENUM:
        return _INTEGERS[drgn.sizeof(type_), False]
    if type_.kind is drgn.TypeKind.INT:
        return _INTEGERS[drgn.sizeof(type_), type_.is_signed]
    raise LayoutError(f"a member of type {type_.type_name()} is no plain value")


class Decoder:
    """Decodes one structure from one read.

    Read ``span`` bytes from ``address + base`` and hand them to :meth:`decode`: a tuple comes back with one
    value for every field asked for, in the order asked; ``None`` for a member this kernel has not.
    """

    __slots__ = ("_missing", "_pick", "_slots", "_struct", "base", "members", "name", "size", "span")

    def __init__(self, type_: drgn.Type, found: Sequence[Member | None]) -> None:
        present = sorted((m.offset, i) for i, m in enumerate(found) if m is not None)
        if not present:
            raise LayoutError(f"{type_.type_name()} has none of the members wanted")
        self.name = type_.type_name()
        self.size = drgn.sizeof(type_)
        self.base = present[0][0]
        #: Of every field: where it lies from the start of the structure, and how it is read by itself.
        self.members = tuple(
            None if member is None else (member.offset, struct.Struct(f"<{_format_of(member.type)}"))
            for member in found
        )
        code, at = "<", self.base
        slot_of: dict[int, int] = {}
        for slot, (offset, index) in enumerate(present):
            member = found[index]
            assert member is not None
            if offset < at:
                raise LayoutError(f"members of {type_.type_name()} overlap")
            code += f"{offset - at}x{_format_of(member.type)}"
            at = offset + drgn.sizeof(member.type)
            slot_of[index] = slot
        self._struct = struct.Struct(code)
        self.span = self._struct.size
        self._missing = missing = len(present)
        self._slots = slots = [slot_of.get(index, missing) for index in range(len(found))]
        self._pick = itemgetter(*slots) if len(slots) > 1 else lambda values: (values[slots[0]],)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values of one structure; raises :class:`struct.error` when ``data`` is shorter than span."""
        picked: tuple[Any, ...] = self._pick((*self._struct.unpack_from(data), None))
        return picked

    def recover(
        self, read: Callable[[int, int], bytes | None], address: int
    ) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """The structure at ``address`` member by member, where one read of all of it has failed.

        :param read: memory by address and size; ``None`` where that is not there
        :return: the values as :meth:`decode` gives them, ``None`` for those that are not there; and their indices
        """
        values: list[Any] = []
        unread = []
        for index, member in enumerate(self.members):
            data = None if member is None else read(address + member[0], member[1].size)
            if member is not None and data is None:
                unread.append(index)
            values.append(None if member is None or data is None else member[1].unpack(data)[0])
        return tuple(values), tuple(unread)

    def parts(
        self, tail: tuple[Any, ...] = ()
    ) -> tuple[Callable[..., tuple[Any, ...]], Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
        """:meth:`decode` in two steps, for bulk: ``unpack``, and ``pick`` of what it gives.

        ``pick((*unpack(data), None, address, *tail))`` is (address, the values..., ``tail``...).
        """
        behind = self._missing + 1
        pick = itemgetter(behind, *self._slots, *range(behind + 1, behind + 1 + len(tail)))
        return self._struct.unpack_from, pick


#: A field wanted: spellings in order of preference; a leading "?" marks one that a kernel may lack, a trailing "[]" an
#: array, of which the bytes are given.
Wanted = str | tuple[str, ...]


def make_decoder(prog: drgn.Program, type_name: str, *wanted: Wanted) -> Decoder:
    """A decoder of ``struct type_name`` for the members wanted.

    :raises LayoutError: if a member without a leading ``?`` is missing, or is an array where a number is wanted, or not
        one where one is
    """
    type_ = prog.type(f"struct {type_name}")
    found: list[Member | None] = []
    for spelling in wanted:
        designators = (spelling,) if isinstance(spelling, str) else spelling
        optional = designators[0].startswith("?")
        is_array = designators[0].endswith("[]")
        member = find_member(type_, *(d.removeprefix("?").removesuffix("[]") for d in designators))
        if member is None and not optional:
            raise LayoutError(f"this kernel's struct {type_name} has no {' or '.join(designators)}")
        if member is not None and is_array is not (member.type.kind is drgn.TypeKind.ARRAY):
            what = member.type.type_name()
            raise LayoutError(f"this kernel's struct {type_name} has {what} for {designators[0]}")
        found.append(member)
    return Decoder(type_, found)


def member_offset(prog: drgn.Program, type_name: str, *designators: str) -> int:
    """Offset of a member in bytes. :raises LayoutError: if ``struct type_name`` has none of the spellings"""
    member = find_member(prog.type(f"struct {type_name}"), *designators)
    if member is None:
        raise LayoutError(f"this kernel's struct {type_name} has no {' or '.join(designators)}")
    return member.offset


def _optional_offset(prog: drgn.Program, type_name: str, *designators: str) -> int | None:
    member = find_member(prog.type(f"struct {type_name}"), *designators)
    return None if member is None else member.offset


@dataclass(frozen=True, slots=True)
class Layout:
    """Every layout the capture needs, probed once per open kernel."""

    task: Decoder
    """flags, pid, tgid, comm, fs, real_fs, tasks.next, tasks.prev, thread_node.next, thread_node.prev,
    signal, real_parent, nsproxy, state, exit_state, worker_private, start_time, nameidata, on_cpu, cpu,
    exec_start, last_arrival"""
    task_tgid: Decoder
    """tgid"""
    task_nameidata: int
    task_tasks: int
    task_thread_node: int
    signal_thread_head: int
    nsproxy_mnt_ns: int
    cred_user_ns: int
    fs_struct: Decoder
    """users, seq, umask, in_exec, root.mnt, root.dentry, pwd.mnt, pwd.dentry"""
    dentry: Decoder
    """d_parent, name length, name pointer, inline name, d_hash.pprev, d_op"""
    dentry_inline_name: int
    dentry_operations_dname: int
    mount: Decoder
    """mnt_parent, mnt_mountpoint, mnt_root, mnt_sb, mnt_flags, mnt_devname, mnt_ns, mnt_id, mnt_id_unique,
    overmount, rb_right, rb_left, mnt_list.next"""
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
    """s_magic, s_type, s_subtype"""
    fstype_name: int
    kthread: Decoder
    """threadfn, data, full_name"""
    worker: Decoder
    """current_func, current_pwq, last_func, desc, rescue_wq, current_start"""
    pwq_wq: int
    workqueue_name: Member
    nameidata: Decoder
    """path.mnt, path.dentry, root.mnt, root.dentry, flags, name"""
    filename_name: int
    has_real_fs: bool


def _task_decoder(prog: drgn.Program) -> Decoder:
    return make_decoder(
        prog,
        "task_struct",
        "flags",
        "pid",
        "tgid",
        "comm[]",
        "fs",
        "?real_fs",  # 7.3: "fs: add real_fs"; what the task owns
        "tasks.next",
        "tasks.prev",
        "thread_node.next",
        "thread_node.prev",
        "signal",
        "real_parent",
        "nsproxy",
        "__state",
        "exit_state",
        "worker_private",
        "start_boottime",
        "nameidata",
        "?on_cpu",
        "?thread_info.cpu",
        "?se.exec_start",
        "?sched_info.last_arrival",  # with CONFIG_SCHED_INFO only
        "real_cred",
    )


def _mount_decoder(prog: drgn.Program) -> Decoder:
    return make_decoder(
        prog,
        "mount",
        "mnt_parent",
        "mnt_mountpoint",
        "mnt.mnt_root",
        "mnt.mnt_sb",
        "mnt.mnt_flags",
        "mnt_devname",
        "mnt_ns",
        "mnt_id",
        "?mnt_id_unique",  # 6.8
        "?overmount",  # 6.16
        "?mnt_node.rb_right",  # 6.8: mounts of a namespace in an rb-tree; a list before
        "?mnt_node.rb_left",
        "mnt_list.next",
    )


_FS_STRUCT: tuple[Wanted, ...] = (
    ("users.counter", "users.refcount.refs.counter", "users"),
    ("seq.seqcount.seqcount.sequence", "seq.seqcount.sequence"),  # seqlock_t since 6.17
    "umask",
    "in_exec",
    "root.mnt",
    "root.dentry",
    "pwd.mnt",
    "pwd.dentry",
)
#: Where a dentry keeps a name that is short enough: in a union shortname_store since 6.14.
INLINE_NAME = ("d_shortname.string[]", "d_shortname", "d_iname")
_DENTRY: tuple[Wanted, ...] = (
    "d_parent",
    "d_name.len",
    "d_name.name",
    INLINE_NAME,
    "d_hash.pprev",
    "d_op",
)
_WORKER = (
    "current_func",
    "current_pwq",
    "last_func",
    "desc[]",
    "rescue_wq",
    "?current_start",
)  # the last: 7.x
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
        "?mounts.rb_node" if has_tree else "?no_such_member",
        "?list.next",
        "is_anon" if flagged else tuple(f"?{member}" for member in _NAMESPACE_ID),
    )


def probe_layout(prog: drgn.Program) -> Layout:
    """Probe the kernel's types.

    :raises LayoutError: if the kernel lacks something indispensable
    :raises LookupError: if a whole type is missing
    """
    mount = prog.type("struct mount")
    namespace = prog.type("struct mnt_namespace")
    mount_node = _optional_offset(prog, "mount", "mnt_node")
    # 7.x says so in a flag.
    flagged = namespace.has_member("is_anon")
    return Layout(
        task=_task_decoder(prog),
        task_tgid=make_decoder(prog, "task_struct", "tgid"),
        task_nameidata=member_offset(prog, "task_struct", "nameidata"),
        task_tasks=member_offset(prog, "task_struct", "tasks"),
        task_thread_node=member_offset(prog, "task_struct", "thread_node"),
        signal_thread_head=member_offset(prog, "signal_struct", "thread_head"),
        cred_user_ns=member_offset(prog, "cred", "user_ns"),
        nsproxy_mnt_ns=member_offset(prog, "nsproxy", "mnt_ns"),
        fs_struct=make_decoder(prog, "fs_struct", *_FS_STRUCT),
        dentry=make_decoder(prog, "dentry", *_DENTRY),
        dentry_inline_name=member_offset(prog, "dentry", *INLINE_NAME[1:]),
        dentry_operations_dname=member_offset(prog, "dentry_operations", "d_dname"),
        mount=_mount_decoder(prog),
        mount_vfsmount=member_offset(prog, "mount", "mnt"),
        mount_node=mount_node,
        mount_list=member_offset(prog, "mount", "mnt_list"),
        has_overmount=mount.has_member("overmount"),
        mnt_namespace=_namespace_decoder(prog, has_tree=mount_node is not None, flagged=flagged),
        namespace_list=member_offset(prog, "mnt_namespace", "list") if mount_node is None else None,
        has_anonymous_marker=flagged or find_member(namespace, *_NAMESPACE_ID) is not None,
        anonymous_when=1 if flagged else 0,
        super_block=make_decoder(prog, "super_block", "s_magic", "s_type", "s_subtype"),
        fstype_name=member_offset(prog, "file_system_type", "name"),
        kthread=make_decoder(prog, "kthread", "threadfn", "data", "?full_name"),
        worker=make_decoder(prog, "worker", *_WORKER),
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
