"""Look a path up in the dentry cache, as the kernel would for itself, without asking any filesystem.

Mirrors ``link_path_walk()`` of fs/namei.c: mounts are crossed at every step, symbolic links are followed where their
target is in memory (``inode.i_link``). A name that is not cached may exist all the same, except where the dentry cache
is the filesystem (``simple_lookup()``: tmpfs, ramfs) and where there is nothing (``empty_dir_lookup()``: nullfs).

The kernel's own lookups begin at the root of ``userspace_init_fs``. Where PID 1 has another root (it has left that), a
path is looked up from there too: what the kernel does not find may exist for all others.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Literal, NamedTuple

import drgn

from explorer.capture.memory import (
    INLINE_NAME,
    Decoder,
    Memory,
    ReadError,
    is_kernel_pointer,
    make_decoder,
    member_offset,
)
from explorer.model import KernelSetting, PathRef, kernel_text, made

from .mounts import MountTable
from .resolve import PathRefs

__all__ = ("DcacheLayout", "DcacheLookup", "Found", "probe_dcache")

Found = Literal["yes", "no", "not cached", "not a path", "unknown"]

_setting = made(KernelSetting)
_NULL_FS_MAGIC = 0x4E554C4C
_MAX_CHILDREN = 200_000
_MAX_STEPS = 8192
_MAX_LINKS = 40  # MAXSYMLINKS
_MAX_STACK = 4096
#: Dentries and mounts passed by all lookups together: in a dump made for it each can be as long as the longest.
_MAX_PASSED = 4_000_000
_NAME_MAX = 255
_PATH_MAX = 4096
_LIVE_ATTEMPTS = 4
#: Directories of which the dentry cache holds every name, or that have none.
_COMPLETE = ("simple_lookup", "empty_dir_lookup", "failfs_lookup")


@dataclass(frozen=True, slots=True)
class DcacheLayout:
    """Dentries with what lies below them: an hlist of children since 6.8, a list before."""

    dentry: Decoder
    """d_parent, d_hash.pprev, name length, name pointer, inline name, d_inode, next sibling, first child"""
    inline_name: int
    sibling: int
    children: int
    is_hlist: bool
    inode: Decoder
    """i_mode, i_op, i_link"""
    lookup: int


def probe_dcache(prog: drgn.Program) -> DcacheLayout:
    """Probe the kernel's types. :raises LookupError: if they lack something"""
    is_hlist = bool(prog.type("struct dentry").has_member("d_children"))
    return DcacheLayout(
        dentry=make_decoder(
            prog,
            "dentry",
            "d_parent",
            "d_hash.pprev",
            "d_name.len",
            "d_name.name",
            INLINE_NAME,
            "d_inode",
            ("d_sib.next", "d_child.next"),
            ("d_children.first", "d_subdirs.next"),
        ),
        inline_name=member_offset(prog, "dentry", *INLINE_NAME[1:]),
        sibling=member_offset(prog, "dentry", "d_sib", "d_child"),
        children=member_offset(prog, "dentry", "d_children", "d_subdirs"),
        is_hlist=is_hlist,
        inode=make_decoder(prog, "inode", "i_mode", "i_op", "i_link"),
        lookup=member_offset(prog, "inode_operations", "lookup"),
    )


class _Node(NamedTuple):
    """A dentry as it was read; ``next`` and ``child`` point at the list nodes inside other dentries."""

    address: int
    parent: int
    hashed: bool
    length: int
    name: int
    inline: bytes
    inode: int
    next: int
    child: int


class _Inode(NamedTuple):
    mode: int
    operations: int
    link: int


class _At(NamedTuple):
    """A place in the tree of mounts: ``struct mount`` and dentry."""

    mount: int
    dentry: int


class DcacheLookup:
    """Looks paths up from the kernel's root, and from PID 1's where that is another.

    Every directory is listed once; of a kernel that runs, again if it changed.
    """

    def __init__(self, memory: Memory, layout: DcacheLayout, mounts: MountTable, builder: PathRefs) -> None:
        self._reader = memory.reader
        self._layout = layout
        self._mounts = mounts
        self._builder = builder
        self._errors = memory.errors
        self._attempts = _LIVE_ATTEMPTS if memory.live else 1
        self._root = None if builder.kernel_root is None else _At(*builder.kernel_root)
        apart = builder.init_root if builder.init_root != builder.kernel_root else None
        self._pid1_root = None if apart is None else _At(*apart)
        self._complete = {memory.symbols.symbol_address(name) for name in _COMPLETE} - {None}
        self._lookups: dict[int, int] = {}
        self._children: dict[int, list[_Node]] = {}
        self._mounted: dict[_At, int] | None = None
        self._passed = 0

    def look_up(self, name: str, path: bytes, value: bytes | None = None) -> KernelSetting:
        """What an absolute path means for the kernel, and for PID 1.

        :param name: what to call it
        :param value: the text the path was taken from, if that is not the path itself
        """
        text = kernel_text(path)
        setting = _setting(
            name=name,
            value=text if value is None else kernel_text(value),
            path=text,
            found="unknown",
            target=None,
        )
        where = f"setting {name}"
        if not path.startswith(b"/"):
            setting.found, setting.path = "not a path", None
            return setting
        if self._root is None:
            self._errors.add(where, "path", "the root that the kernel looks it up from is not known")
        else:
            setting.found, setting.target = self._look_up_from(self._root, path, where)
        if self._pid1_root is not None:
            setting.init_found, setting.init_target = self._look_up_from(self._pid1_root, path, where)
        return setting

    def _look_up_from(self, root: _At, path: bytes, where: str) -> tuple[Found, PathRef | None]:
        with self._errors.guard(where, "path"):
            found, at = self._walk(root, path)
            if at is None:
                return found, None
            return found, self._builder.path_ref(where, self._mounts.to_vfsmount(at.mount), at.dentry)
        return "unknown", None

    def _walk(self, root: _At, path: bytes) -> tuple[Found, _At | None]:
        """Walk down from the root. :raises ReadError: if something on the way cannot be read"""
        at, links = root, 0
        todo = _components(path)
        for _ in range(_MAX_STEPS):
            if not todo:
                return "yes", at
            component = todo.pop()
            if component == b"..":
                at = self._up(root, at)
                continue
            directory = self._read_node(at.dentry)
            if len(component) > _NAME_MAX or not self._is_directory(directory):
                return "no", None
            node = self._find(directory, component)
            if node is None:
                return ("no" if self._is_complete(at, directory) else "not cached"), None
            if not node.inode:
                return "no", None  # a negative dentry
            inode = self._read_inode(node.inode)
            if not stat.S_ISLNK(inode.mode):
                at = self._cross(_At(at.mount, node.address))
                continue
            links += 1
            if not is_kernel_pointer(inode.link):
                return "unknown", None  # the target is in the page cache, or on the disk
            target = self._reader.read_c_string(inode.link, _PATH_MAX)
            if links > _MAX_LINKS or not target:
                return "no", None  # ELOOP, ENOENT
            todo += _components(target)
            if target.startswith(b"/"):
                at = root
        raise ReadError(f"more than {_MAX_STEPS} steps")

    def _pass(self, count: int) -> None:
        self._passed += count
        if self._passed > _MAX_PASSED:
            raise ReadError(f"all lookups together have passed more than {_MAX_PASSED} dentries and mounts")

    def _find(self, directory: _Node, name: bytes) -> _Node | None:
        children = self._list(directory)
        self._pass(len(children))
        for node in children:
            if node.length == len(name) and self._name(node) == name:
                return node
        return None

    def _name(self, node: _Node) -> bytes:
        if node.name == node.address + self._layout.inline_name and node.length <= len(node.inline):
            return node.inline[: node.length]
        return self._reader.read(node.name, node.length)

    def _list(self, directory: _Node) -> list[_Node]:
        """The hashed dentries below a directory: those that a lookup would find."""
        known = self._children.get(directory.address)
        if known is None:
            for attempt in range(self._attempts):
                try:
                    known = self._read_children(self._read_node(directory.address) if attempt else directory)
                    break
                except ReadError:
                    if attempt + 1 == self._attempts:
                        raise
            assert known is not None
            self._children[directory.address] = known
        return known

    def _read_children(self, directory: _Node) -> list[_Node]:
        head = 0 if self._layout.is_hlist else directory.address + self._layout.children
        found: list[_Node] = []
        seen: set[int] = set()
        link = directory.child
        while link != head:
            if link in seen or len(seen) >= _MAX_CHILDREN or not is_kernel_pointer(link):
                raise ReadError(f"the children of dentry 0x{directory.address:x} break off at 0x{link:x}")
            seen.add(link)
            self._pass(1)
            node = self._read_node(link - self._layout.sibling)
            if node.parent != directory.address:
                raise ReadError(f"dentry 0x{node.address:x} is in a list of children, but not of its parent")
            if node.hashed:
                found.append(node)
            link = node.next
        return found

    def _read_node(self, address: int) -> _Node:
        decoder = self._layout.dentry
        parent, pprev, length, name, inline, inode, following, child = self._reader.decode(decoder, address)
        return _Node(address, parent, bool(pprev), length, name, inline, inode, following, child)

    def _read_inode(self, address: int) -> _Inode:
        decoder = self._layout.inode
        return _Inode._make(self._reader.decode(decoder, address))

    def _is_directory(self, node: _Node) -> bool:
        return bool(node.inode) and stat.S_ISDIR(self._read_inode(node.inode).mode)

    def _is_complete(self, at: _At, directory: _Node) -> bool:
        """Whether a name that is not in the dentry cache does not exist."""
        superblock = self._mounts.superblock(self._mounts.read_mount(at.mount))
        if superblock is not None and superblock.magic == _NULL_FS_MAGIC:
            return True
        operations = self._read_inode(directory.inode).operations
        if operations not in self._lookups:
            self._lookups[operations] = self._reader.read_u64(operations + self._layout.lookup)
        return self._lookups[operations] in self._complete

    def _cross(self, at: _At) -> _At:
        """``traverse_mounts()``: onto whatever is mounted there."""
        if self._mounted is None:
            self._mounted = {
                _At(mount.parent, mount.mountpoint): mount.address
                for mount in self._mounts.mounts.values()
                if mount.parent is not None and mount.mountpoint is not None and mount.parent != mount.address
            }
        for _ in range(_MAX_STACK):
            self._pass(1)
            above = self._mounted.get(at)
            if above is None:
                if not self._mounts.complete:
                    raise ReadError("not all mounts are there: one may be mounted on the way")
                return at
            root = self._mounts.read_mount(above).root
            if root is None:
                raise ReadError(f"the root of mount 0x{above:x} is not there")
            at = _At(above, root)
        raise ReadError(f"more than {_MAX_STACK} mounts are stacked on one place")

    def _up(self, root: _At, at: _At) -> _At:
        """``follow_dotdot()``: never above the root."""
        for _ in range(_MAX_STACK):
            self._pass(1)
            mount = self._mounts.read_mount(at.mount)
            if at == root or (at.dentry == mount.root and mount.parent == at.mount):
                return self._cross(at)
            if at.dentry != mount.root:
                return self._cross(_At(at.mount, self._read_node(at.dentry).parent))
            if mount.parent is None or mount.mountpoint is None:
                raise ReadError(f"what {mount.name} is mounted on is not there")
            at = _At(mount.parent, mount.mountpoint)
        raise ReadError(f"more than {_MAX_STACK} mounts are stacked on one place")


def _components(path: bytes) -> list[bytes]:
    """The components of a path, last one first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
