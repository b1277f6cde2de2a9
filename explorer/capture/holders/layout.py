"""Where the members lie that lead from a task to the files it holds, and from a file to what that holds.

Members are probed, never versions. What a kernel may be built without is ``None`` where it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from explorer.capture.memory import Decoder, find_member, make_decoder, member_offset

__all__ = ("HolderLayout", "MapleNode", "MapleNodes", "probe_holders")


@dataclass(frozen=True, slots=True)
class MapleNode:
    """One kind of node of a maple tree (include/linux/maple_tree.h): where its pivots and slots lie, how many there
    are."""

    pivots: int
    nr_pivots: int
    slots: int
    nr_slots: int
    size: int


@dataclass(frozen=True, slots=True)
class MapleNodes:
    """Those of ``maple_range_64`` and of ``maple_arange_64``."""

    range: MapleNode
    arange: MapleNode


@dataclass(frozen=True, slots=True)
class HolderLayout:
    """Every layout that is needed to find who holds a mount."""

    task: Decoder
    """files, mm"""
    files_fdt: int
    fdtable: Decoder
    """max_fds, fd"""
    file: Decoder
    """f_path.mnt, f_path.dentry, f_inode, f_op, f_mode, private_data"""
    mm: Decoder
    """exe_file, and where mappings begin: mm_mt.ma_root, or mmap"""
    vma_file: int
    vma_next: int | None
    """Of a kernel whose mappings are a list (until 6.1)."""
    maple: MapleNodes | None
    pcp: Decoder | None
    """mnt_gets, mnt_puts (7.x), or mnt_count; ``None`` without CONFIG_SMP"""
    mount_count: int | None
    """``mount.mnt_count``, without CONFIG_SMP"""
    parent_is_held: bool
    """A mount has a reference to the one it is mounted on: until 6.17, which brought ``mnt_t_flags``, too."""
    socket_sk: int | None
    family: int | None
    unix_path: Decoder | None
    """path.mnt, path.dentry"""
    seq_private: int | None
    mount_table: Decoder | None
    """ns, root.mnt, root.dentry"""
    backing_path: Decoder | None
    """user_path.mnt, user_path.dentry"""
    overlay_file: Decoder | None
    """realfile, upperfile of a ``struct ovl_file`` (6.14); before, ``file.private_data`` is the real file itself"""
    inode_mode: int
    walk_state: int | None
    """``nameidata.state``"""
    namespace_count: int
    """The ``refcount_t`` of a ``struct mnt_namespace``, before 5.11 its ``atomic_t``."""
    namespace_stashed: int
    """The dentry in nsfs of a ``struct mnt_namespace``, while there is one."""
    dentry_inode: int


def probe_holders(prog: drgn.Program) -> HolderLayout:
    """Probe the kernel's types. :raises LookupError: if they lack something indispensable"""
    has_pcp = find_member(prog.type("struct mount"), "mnt_pcp") is not None
    vma_next = _optional(prog, "vm_area_struct", "vm_next")
    return HolderLayout(
        task=make_decoder(prog, "task_struct", "files", "mm"),
        files_fdt=member_offset(prog, "files_struct", "fdt"),
        fdtable=make_decoder(prog, "fdtable", "max_fds", "fd"),
        file=make_decoder(
            prog, "file", "f_path.mnt", "f_path.dentry", "f_inode", "f_op", "f_mode", "private_data"
        ),
        mm=make_decoder(prog, "mm_struct", "exe_file", ("mm_mt.ma_root", "mmap")),
        vma_file=member_offset(prog, "vm_area_struct", "vm_file"),
        vma_next=vma_next,
        maple=_maple_nodes(prog) if vma_next is None else None,
        pcp=make_decoder(prog, "mnt_pcp", "?mnt_gets", "?mnt_puts", "?mnt_count") if has_pcp else None,
        mount_count=None if has_pcp else member_offset(prog, "mount", "mnt_count"),
        parent_is_held=find_member(prog.type("struct mount"), "mnt_t_flags") is None,
        socket_sk=_optional(prog, "socket", "sk"),
        family=_optional(prog, "sock", "__sk_common.skc_family"),
        unix_path=_optional_decoder(prog, "unix_sock", "path.mnt", "path.dentry"),
        seq_private=_optional(prog, "seq_file", "private"),
        mount_table=_optional_decoder(prog, "proc_mounts", "ns", "root.mnt", "root.dentry"),
        backing_path=_optional_decoder(prog, "backing_file", "user_path.mnt", "user_path.dentry"),
        overlay_file=_optional_decoder(prog, "ovl_file", "realfile", "?upperfile"),
        inode_mode=member_offset(prog, "inode", "i_mode"),
        walk_state=_optional(prog, "nameidata", "state"),
        namespace_count=member_offset(
            prog, "mnt_namespace", "ns.__ns_ref.refs.counter", "ns.count.refs.counter", "count.counter"
        ),
        namespace_stashed=member_offset(prog, "mnt_namespace", "ns.stashed"),
        dentry_inode=member_offset(prog, "dentry", "d_inode"),
    )


def _maple_nodes(prog: drgn.Program) -> MapleNodes:
    return MapleNodes(_maple_node(prog, "maple_range_64"), _maple_node(prog, "maple_arange_64"))


def _maple_node(prog: drgn.Program, name: str) -> MapleNode:
    type_ = prog.type(f"struct {name}")
    pivots, slots = find_member(type_, "pivot"), find_member(type_, "slot")
    if pivots is None or slots is None:
        raise LookupError(f"this kernel's struct {name} has no pivot or no slot")
    return MapleNode(
        pivots=pivots.offset,
        nr_pivots=drgn.sizeof(pivots.type) // 8,
        slots=slots.offset,
        nr_slots=drgn.sizeof(slots.type) // 8,
        size=drgn.sizeof(type_),
    )


def _optional(prog: drgn.Program, name: str, member: str) -> int | None:
    try:
        return member_offset(prog, name, member)
    except LookupError:
        return None


def _optional_decoder(prog: drgn.Program, name: str, *members: str) -> Decoder | None:
    try:
        return make_decoder(prog, name, *members)
    except LookupError:
        return None
