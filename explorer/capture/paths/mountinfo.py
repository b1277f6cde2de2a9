"""What /proc/PID/mountinfo says of a mount besides its place: what is mounted there, its options, what it propagates.

Mirrors ``show_mountinfo()`` of fs/proc_namespace.c and ``get_dominating_id()`` of fs/pnode.c, for a reader whose root
is the visible root of the mount's namespace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import drgn

from explorer.capture.memory import (
    Memory,
    RawMount,
    ReadError,
    find_member,
    is_kernel_pointer,
    member_offset,
    probed,
)
from explorer.model import MNT_OPTIONS, MNT_READONLY, kernel_text

from .mounts import MountTable
from .resolve import PathResolver

__all__ = ("MountInfo", "NamespaceFile", "NamespaceFiles")

_MINOR_BITS = 20  # include/linux/kdev_t.h
# include/linux/mount.h, until 6.17; from then on T_SHARED and T_UNBINDABLE of fs/mount.h
_MNT_SHARED = 0x1000
_MNT_UNBINDABLE = 0x2000
_MAX_MASTERS = 4096


class _Layout(NamedTuple):
    shared: int
    unbindable: int
    in_t_flags: bool
    dentry_inode: int
    inode_private: int
    ns_operations: int
    ns_inum: int
    operations_name: int
    mnt_namespace_ns: int


def _probe(prog: drgn.Program) -> _Layout:
    in_t_flags = find_member(prog.type("struct mount"), "mnt_t_flags") is not None
    return _Layout(
        shared=_constant(prog, "T_SHARED", 1) if in_t_flags else _MNT_SHARED,
        unbindable=_constant(prog, "T_UNBINDABLE", 2) if in_t_flags else _MNT_UNBINDABLE,
        in_t_flags=in_t_flags,
        dentry_inode=member_offset(prog, "dentry", "d_inode"),
        inode_private=member_offset(prog, "inode", "i_private"),
        ns_operations=member_offset(prog, "ns_common", "ops"),
        ns_inum=member_offset(prog, "ns_common", "inum"),
        operations_name=member_offset(prog, "proc_ns_operations", "name"),
        mnt_namespace_ns=member_offset(prog, "mnt_namespace", "ns"),
    )


def _constant(prog: drgn.Program, name: str, otherwise: int) -> int:
    """An enumerator; its first value where the kernel's types do not have it."""
    try:
        return int(prog.constant(name))
    except LookupError:
        return otherwise


class NamespaceFile(NamedTuple):
    """A file of nsfs: ``mnt:[4026531841]``."""

    inode: int
    text: bytes
    mnt_namespace: int | None
    """The ``struct mnt_namespace`` that it stands for; ``None`` for a namespace of another kind."""


class NamespaceFiles:
    """Reads what the files of nsfs stand for. Mirrors ``ns_get_path()`` and ``nsfs_show_path()`` of fs/nsfs.c."""

    def __init__(self, memory: Memory) -> None:
        self._reader = memory.reader
        self._layout = probed(memory.prog, "mountinfo", _probe)
        self._mount_operations = memory.symbols.symbol_address("mntns_operations")

    def of_dentry(self, dentry: int) -> NamespaceFile:
        """:raises ReadError: if it cannot be read"""
        return self.of_inode(self._reader.read_u64(dentry + self._layout.dentry_inode))

    def of_inode(self, inode: int) -> NamespaceFile:
        """:raises ReadError: if it cannot be read"""
        layout, read = self._layout, self._reader
        namespace = read.read_u64(inode + layout.inode_private)
        operations = read.read_u64(namespace + layout.ns_operations)
        name = read.read_c_string(read.read_u64(operations + layout.operations_name), 32)
        inum = read.read_u32(namespace + layout.ns_inum)
        is_mount = operations == self._mount_operations
        return NamespaceFile(
            inode, b"%s:[%d]" % (name, inum), namespace - layout.mnt_namespace_ns if is_mount else None
        )


class MountInfo:
    """The fields of one kernel's mounts."""

    def __init__(self, memory: Memory, mounts: MountTable, paths: PathResolver) -> None:
        self._errors = memory.errors
        self._mounts = mounts
        self._paths = paths
        self._layout = probed(memory.prog, "mountinfo", _probe)
        self.namespace_files = NamespaceFiles(memory)
        symbols = memory.symbols
        nop = symbols.symbol_address("nop_mnt_idmap")
        self._groups: dict[int, set[int | None]] = {}
        mount = memory.layout.mount
        self._has_idmaps = mount.members[mount.fields.index("idmap")] is not None  # 5.12
        self._no_idmap = symbols.symbol_address("init_user_ns") if nop is None else nop

    def fields(self, raw: RawMount) -> dict[str, Any]:
        """Of a :class:`~explorer.model.Mount`; what propagation leads to comes with :meth:`propagate_from`."""
        superblock = self._mounts.superblock(raw)
        dev = None if superblock is None else superblock.dev
        return {
            "dev": None if dev is None else f"{dev >> _MINOR_BITS}:{dev & (1 << _MINOR_BITS) - 1}",
            "root": self._root(raw, None if superblock is None else superblock.fstype),
            "options": self._options(raw),
            "shared": raw.group_id if self._has(raw, self._layout.shared) else None,
            "master": self._master(raw),
            "propagate_from": None,
            "unbindable": self._has(raw, self._layout.unbindable),
        }

    def _has(self, raw: RawMount, flag: int) -> bool | None:
        flags = raw.t_flags if self._layout.in_t_flags else raw.flags
        return None if flags is None else bool(flags & flag)

    def _root(self, raw: RawMount, fstype: bytes | None) -> str | None:
        """``mnt_root`` within its filesystem, or what ``super_operations.show_path()`` says."""
        if raw.root is None or fstype is None:
            return None  # an entry of the mount, or of its superblock, says so
        with self._errors.guard_newer(raw.name, "root"):
            if fstype == b"nsfs":
                return kernel_text(self.namespace_files.of_dentry(raw.root).text)
            if fstype in (b"nfs", b"nfs4"):
                return "/"
            return kernel_text(self._paths.filesystem_path(raw.root))
        return None

    def _options(self, raw: RawMount) -> list[str] | None:
        if raw.flags is None or (raw.idmap is None and self._has_idmaps):
            return None
        options = ["ro" if raw.flags & MNT_READONLY else "rw"]
        options += [name for bit, name in MNT_OPTIONS.items() if raw.flags & bit and bit != MNT_READONLY]
        return [*options, "idmapped"] if self._has_idmaps and raw.idmap != self._no_idmap else options

    def _master(self, raw: RawMount) -> int | None:
        if not raw.master:
            return None
        with self._errors.guard(raw.name, "mnt_master"):
            master = self._mounts.read_mount(raw.master)
            if is_kernel_pointer(master.mnt_ns or 0):
                self._mounts.load_namespace(master.mnt_ns or 0)  # no task may be in it
            return master.group_id
        return None

    def propagate_from(self, raw: RawMount) -> int | None:
        """The group it says it propagates from; ``None`` if it says nothing, or that cannot be told.

        To be asked when all mounts of its namespace are known.
        """
        if not raw.master:
            return None
        with self._errors.guard(raw.name, "propagate_from"):
            seen: set[int] = set()
            master, first = self._mounts.read_mount(raw.master), None
            while True:
                first = master.group_id if first is None else first
                if master.group_id in self._visible_groups(raw.mnt_ns or 0):
                    return None if master.group_id == first else master.group_id
                if not master.master:
                    return None
                if master.address in seen or len(seen) >= _MAX_MASTERS:
                    raise ReadError(f"the masters of {raw.name} run in a circle")
                seen.add(master.address)
                master = self._mounts.read_mount(master.master)
        return None

    def _visible_groups(self, namespace: int) -> set[int | None]:
        """The peer groups of the mounts that can be reached from a namespace's visible root."""
        known = self._groups.get(namespace)
        if known is not None:
            return known
        found = self._mounts.namespaces.get(namespace)
        top = None if found is None else self._mounts.visible_root(found)
        groups: set[int | None] = set()
        if found is not None and top is not None:
            visible = self._below(top, found.mounts)
            mounts = (self._mounts.mounts[address] for address in visible)
            groups = {mount.group_id for mount in mounts if self._has(mount, self._layout.shared)}
        self._groups[namespace] = groups
        return groups

    def _below(self, top: int, mounts: Sequence[int]) -> set[int]:
        """The mounts at and below one."""
        children: dict[int | None, list[int]] = {}
        for address in mounts:
            children.setdefault(self._mounts.mounts[address].parent, []).append(address)
        found, todo = {top}, [top]
        while todo:
            for child in children.get(todo.pop(), ()):
                if child not in found:
                    found.add(child)
                    todo.append(child)
        return found
