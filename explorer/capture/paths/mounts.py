"""Mounts, mount namespaces and superblocks: each read once, whoever points at it.

Mirrors fs/mount.h and fs/namespace.c: the mounts of a namespace are an rb-tree since 6.8, a list before.
"""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from explorer.capture.memory import LieApart, Memory, RawMount, RawSuperBlock, ReadError, is_kernel_pointer
from explorer.model import Attachment

__all__ = ("MNT_CURSOR", "MNT_UMOUNT", "MountTable", "RawNamespace", "SuperBlock")

#: include/linux/mount.h
MNT_UMOUNT = 0x8000000
#: A position in the list of mounts, left there by an open /proc/PID/mountinfo (before 6.8).
MNT_CURSOR = 0x10000000

_MAX_MOUNTS = 1_000_000  # ten times the default of fs.mount-max
_MAX_STACK = 4096
_MAX_PASSED = 2 * _MAX_MOUNTS  # in all namespaces: each once, and once more for those on a root
_STEP = 1024  # mounts, and each time they have doubled: a look at whether they can be
_MAX_NAME = 4096


class RawNamespace(NamedTuple):
    """A ``struct mnt_namespace``, and the mounts found in it."""

    address: int
    inum: int | None
    root: int | None
    anonymous: bool | None
    mounts: tuple[int, ...]
    complete: bool
    """All of its mounts were found."""


class SuperBlock(NamedTuple):
    magic: int | None
    fstype: bytes | None
    dev: int | None


class MountTable:
    """All mounts met so far, by address. What cannot be read is not tried twice."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._layout = memory.layout
        self._errors = memory.errors
        self._failed: dict[int, str] = {}
        self._superblocks: dict[int, SuperBlock | None] = {}
        self._strings: dict[int, bytes] = {}
        self._overmounts: dict[int, int] = {}
        self._passed = 0
        self._unread: set[int] = set()  # namespaces of which not all mounts were found
        self._unplaced: set[int] = set()  # mounts of which it is not known what they are mounted on
        self._may_be = _STEP
        self._apart = True
        self.mounts: dict[int, RawMount] = {}
        self.namespaces: dict[int, RawNamespace] = {}
        self.lost: str | None = None
        """Why there may be more mounts and namespaces than any task leads to; ``None`` if those were found, too."""

    @property
    def complete(self) -> bool:
        """Whether all mounts of all namespaces met are known, and what each is mounted on."""
        # Asked at every step of every lookup: not to be looked for among all mounts each time.
        return not self._unread and self.mounts.keys().isdisjoint(self._unplaced)

    def from_vfsmount(self, vfsmount: int) -> int:
        """``real_mount()``: the ``struct mount`` around a ``struct vfsmount``."""
        return vfsmount - self._layout.mount_vfsmount

    def to_vfsmount(self, mount: int) -> int:
        """The ``struct vfsmount`` inside a ``struct mount``."""
        return mount + self._layout.mount_vfsmount

    def read_mount(self, address: int) -> RawMount:
        """One mount. :raises ReadError: if it cannot be read"""
        known = self.mounts.get(address)
        if known is not None:
            return known
        if address in self._failed:
            raise ReadError(self._failed[address])
        try:
            mount = self._memory.read_structure(
                self._layout.mount, RawMount, address, lambda mount: mount.name
            )
        except ReadError as error:
            self._failed[address] = str(error)
            raise
        if len(self.mounts) >= self._may_be:
            self._expect_more()
        self.mounts[address] = mount
        self._unplaced.discard(address)
        if mount.parent is None or mount.mountpoint is None:
            self._unplaced.add(address)
        return mount

    def _expect_more(self) -> None:
        count = len(self.mounts)
        if count >= _MAX_MOUNTS:
            raise ReadError(f"more than {_MAX_MOUNTS} mounts")
        if not self._apart or not LieApart(self._layout.mount.size).holds(self.mounts):
            self._apart = False
            raise ReadError(f"of {count} mounts, some lie within another")
        self._may_be = min(2 * count, _MAX_MOUNTS)

    def keep(self, namespaces: Set[int], mounts: Set[int]) -> None:
        """Forget all but these namespaces with their mounts, and these mounts with their namespaces.

        Of a kernel that runs: nobody held the others while they were read.
        """
        self.namespaces = {
            address: namespace
            for address, namespace in self.namespaces.items()
            if address in namespaces or not mounts.isdisjoint(namespace.mounts)
        }
        kept = set(mounts).union(*(namespace.mounts for namespace in self.namespaces.values()))
        self.mounts = {address: mount for address, mount in self.mounts.items() if address in kept}
        superblocks = {mount.superblock for mount in self.mounts.values()}
        self._superblocks = {
            address: found for address, found in self._superblocks.items() if address in superblocks
        }
        self._overmounts = {below: above for below, above in self._overmounts.items() if below in kept}
        self._unread &= namespaces | self.namespaces.keys()
        self._failed.clear()
        self._strings.clear()

    def superblock(self, mount: RawMount) -> SuperBlock | None:
        """Magic and type of the mount's filesystem; an error entry and ``None`` if they cannot be read."""
        address = mount.superblock
        if address is None:
            return None
        if address not in self._superblocks:
            self._superblocks[address] = None
            with self._errors.guard(f"superblock 0x{address:x}", "type and magic"):
                self._superblocks[address] = self._read_superblock(address)
        return self._superblocks[address]

    def _read_superblock(self, address: int) -> SuperBlock:
        where = f"superblock 0x{address:x}"
        _, magic, fs_type, subtype, dev = self._memory.read_structure(
            self._layout.super_block, RawSuperBlock, address, lambda _: where
        )
        name = None
        if fs_type is not None and subtype is not None:
            with self._errors.guard(where, "s_type"):
                name = self.string(self._reader.read_u64(fs_type + self._layout.fstype_name))
                if subtype:
                    name += b"." + self.string(subtype)
        return SuperBlock(magic, name, dev)

    def string(self, address: int) -> bytes:
        """A C string, read once. :raises ReadError: if it cannot be read"""
        if address not in self._strings:
            self._strings[address] = self._reader.read_c_string(address, _MAX_NAME)
        return self._strings[address]

    def attachment(self, mount: RawMount) -> Attachment | None:
        """What the mount hangs on; ``None`` if that is not there.

        ``mnt_ns`` is NULL for a mount that was unmounted lazily (``MNT_UMOUNT``) and for the kernel's own, an
        ``ERR_PTR()`` for those of ``kern_mount()``.
        """
        if mount.mnt_ns is None or (not mount.mnt_ns and mount.flags is None):
            return None
        if not is_kernel_pointer(mount.mnt_ns):
            detached = not mount.mnt_ns and (mount.flags or 0) & MNT_UMOUNT
            return Attachment.DETACHED if detached else Attachment.INTERNAL
        namespace = self.namespaces.get(mount.mnt_ns)
        if namespace is None or namespace.anonymous is None:
            return None
        return Attachment.ANONYMOUS if namespace.anonymous else Attachment.NAMESPACE

    def load_namespace(self, address: int) -> RawNamespace | None:
        """A namespace with all its mounts; ``None`` and an error entry if it cannot be read at all."""
        if address in self.namespaces:
            return self.namespaces[address]
        where = f"mount namespace 0x{address:x}"
        try:
            values, unread, why = self._reader.read_members(self._layout.mnt_namespace, address)
        except ReadError as error:
            self._errors.add(where, "mnt_namespace", str(error))
            self._unread.add(address)
            return None
        inum, root, rb_root, list_next, marker = values
        if why is not None:
            members = ("inum", "root", "mounts", "mounts", "whether it is anonymous")
            self._errors.add(where, ", ".join(sorted({members[index] for index in unread})), why)
        anonymous = int(marker) == self._layout.anonymous_when if marker is not None else None
        if not self._layout.has_anonymous_marker:
            anonymous = False
        mounts: list[int] = []
        before = self._errors.count
        with self._errors.guard(where, "mounts"):
            if self._layout.mount_node is not None:
                self._walk_tree(rb_root or 0, where, mounts)
            else:
                self._walk_list(address, list_next or 0, mounts)
        first = rb_root if self._layout.mount_node is not None else list_next
        complete = first is not None and self._errors.count == before
        namespace = RawNamespace(address, inum, root, anonymous, tuple(mounts), complete)
        self.namespaces[address] = namespace
        if not complete:
            self._unread.add(address)
        self._note_overmounts(namespace)
        return namespace

    def _walk_tree(self, rb_root: int, where: str, into: list[int]) -> None:
        assert self._layout.mount_node is not None
        seen: set[int] = set()
        stack = [rb_root] if rb_root else []
        while stack:
            node = stack.pop()
            if node in seen:
                raise ReadError(f"the tree of mounts runs in a circle at 0x{node:x}")
            seen.add(node)
            self._pass()
            with self._errors.guard(where, "mounts"):  # the rest of the tree may be there
                mount = self.read_mount(node - self._layout.mount_node)
                into.append(mount.address)
                children = (mount.rb_left, mount.rb_right)
                if None in children:
                    raise ReadError(f"what lies below {mount.name} in the tree of mounts is not there")
                stack += [child for child in children if child]

    def _pass(self) -> None:
        """One more mount on the way through a namespace: many can share what is long, in a dump made for it."""
        self._passed += 1
        if self._passed > _MAX_PASSED:
            raise ReadError(f"the namespaces have more than {_MAX_PASSED} mounts")

    def _walk_list(self, namespace: int, first: int, into: list[int]) -> None:
        assert self._layout.namespace_list is not None
        head = namespace + self._layout.namespace_list
        seen: set[int] = set()
        node = first
        while node != head:
            if not is_kernel_pointer(node):
                raise ReadError(f"the list of mounts leads to 0x{node:x}")
            if node in seen:
                raise ReadError(f"the list of mounts runs in a circle at 0x{node:x}")
            seen.add(node)
            self._pass()
            mount = self.read_mount(node - self._layout.mount_list)
            if mount.flags is not None and mount.flags & MNT_CURSOR:
                del self.mounts[mount.address]
            else:
                into.append(mount.address)
            if mount.list_next is None:
                raise ReadError(f"what follows {mount.name} in the list of mounts is not there")
            node = mount.list_next

    def _note_overmounts(self, namespace: RawNamespace) -> None:
        """Where the kernel keeps no ``overmount`` pointer: a child mounted on its parent's root."""
        if self._layout.has_overmount:
            return
        for address in namespace.mounts:
            mount = self.mounts[address]
            parent = self.mounts.get(mount.parent or 0)
            if parent is None or parent is mount or parent.root is None:
                continue
            if mount.mountpoint == parent.root:
                self._overmounts[parent.address] = address

    def overmount(self, mount: RawMount) -> int | None:
        """The mount stacked on this mount's root."""
        return (
            (mount.overmount or None) if self._layout.has_overmount else self._overmounts.get(mount.address)
        )

    def visible_root(self, namespace: RawNamespace) -> int | None:
        """The topmost overmount of the namespace's root; ``None`` if that cannot be told."""
        if namespace.root is None or not (namespace.complete or self._layout.has_overmount):
            return None
        with self._errors.guard(f"mount namespace 0x{namespace.address:x}", "visible root"):
            top = self.read_mount(namespace.root)
            for _ in range(_MAX_STACK):
                self._pass()
                if self._layout.has_overmount and top.overmount is None:
                    raise ReadError(f"what is mounted over {top.name} is not there")
                above = self.overmount(top)
                if above is None:
                    return top.address
                top = self.read_mount(above)
            raise ReadError(f"more than {_MAX_STACK} mounts are stacked on the root")
        return None
