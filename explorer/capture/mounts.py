"""Mounts, mount namespaces and superblocks: each read once, whoever points at it.

Mirrors fs/mount.h and fs/namespace.c: the mounts of a namespace are an rb-tree since 6.8, a list before.
"""

from __future__ import annotations

from typing import NamedTuple

from explorer.model import Attachment

from .layout import Layout
from .reader import ErrorLog, MemoryReader, ReadError, is_kernel_pointer, lie_apart

__all__ = ("MNT_CURSOR", "MNT_UMOUNT", "MountTable", "RawMount", "RawNamespace", "SuperBlock")

#: include/linux/mount.h
MNT_UMOUNT = 0x8000000
#: A position in the list of mounts, left there by an open /proc/PID/mountinfo (before 6.8).
MNT_CURSOR = 0x10000000

_MAX_MOUNTS = 1_000_000  # ten times the default of fs.mount-max
_MAX_STACK = 4096
_MAX_PASSED = 2 * _MAX_MOUNTS  # in all namespaces: each once, and once more for those on a root
_STEP = 1024  # mounts, and each time they have doubled: a look at whether they can be
_MAX_NAME = 4096


class RawMount(NamedTuple):
    """A ``struct mount`` as it was read."""

    address: int
    parent: int
    mountpoint: int
    root: int
    superblock: int
    flags: int
    devname: int
    mnt_ns: int
    id: int
    unique_id: int | None
    overmount: int | None
    rb_right: int | None
    rb_left: int | None
    list_next: int


class RawNamespace(NamedTuple):
    """A ``struct mnt_namespace``, and the mounts found in it."""

    address: int
    inum: int
    root: int
    anonymous: bool
    mounts: tuple[int, ...]


class SuperBlock(NamedTuple):
    magic: int
    fstype: bytes


class MountTable:
    """All mounts met so far, by address. What cannot be read is not tried twice."""

    def __init__(self, reader: MemoryReader, layout: Layout, errors: ErrorLog) -> None:
        self._reader = reader
        self._layout = layout
        self._errors = errors
        self._failed: dict[int, str] = {}
        self._superblocks: dict[int, SuperBlock | None] = {}
        self._strings: dict[int, bytes] = {}
        self._overmounts: dict[int, int] = {}
        self._passed = 0
        self._may_be = _STEP
        self._apart = True
        self.mounts: dict[int, RawMount] = {}
        self.namespaces: dict[int, RawNamespace] = {}

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
        decoder = self._layout.mount
        try:
            data = self._reader.read(address + decoder.base, decoder.span)
        except ReadError as error:
            self._failed[address] = str(error)
            raise
        mount = RawMount(address, *decoder.decode(data))
        if len(self.mounts) >= self._may_be:
            self._expect_more()
        self.mounts[address] = mount
        return mount

    def _expect_more(self) -> None:
        count = len(self.mounts)
        if count >= _MAX_MOUNTS:
            raise ReadError(f"more than {_MAX_MOUNTS} mounts")
        if not self._apart or not lie_apart(self.mounts, self._layout.mount.size):
            self._apart = False
            raise ReadError(f"of {count} mounts, some lie within another")
        self._may_be = min(2 * count, _MAX_MOUNTS)

    def superblock(self, mount: RawMount) -> SuperBlock | None:
        """Magic and type of the mount's filesystem; an error entry and ``None`` if they cannot be read."""
        address = mount.superblock
        if address not in self._superblocks:
            self._superblocks[address] = None
            with self._errors.guard(f"superblock 0x{address:x}", "type and magic"):
                self._superblocks[address] = self._read_superblock(address)
        return self._superblocks[address]

    def _read_superblock(self, address: int) -> SuperBlock:
        decoder = self._layout.super_block
        data = self._reader.read(address + decoder.base, decoder.span)
        magic, fs_type, subtype = decoder.decode(data)
        name = self.string(self._reader.read_u64(fs_type + self._layout.fstype_name))
        if subtype:
            name += b"." + self.string(subtype)
        return SuperBlock(magic, name)

    def string(self, address: int) -> bytes:
        """A C string, read once. :raises ReadError: if it cannot be read"""
        if address not in self._strings:
            self._strings[address] = self._reader.read_c_string(address, _MAX_NAME)
        return self._strings[address]

    def attachment(self, mount: RawMount) -> Attachment:
        """What the mount hangs on.

        ``mnt_ns`` is NULL for a mount that was unmounted lazily (``MNT_UMOUNT``) and for the kernel's own, an
        ``ERR_PTR()`` for those of ``kern_mount()``.
        """
        if not is_kernel_pointer(mount.mnt_ns):
            detached = not mount.mnt_ns and mount.flags & MNT_UMOUNT
            return Attachment.DETACHED if detached else Attachment.INTERNAL
        namespace = self.namespaces.get(mount.mnt_ns)
        if namespace is not None and namespace.anonymous:
            return Attachment.ANONYMOUS
        return Attachment.NAMESPACE

    def load_namespace(self, address: int) -> RawNamespace | None:
        """A namespace with all its mounts; ``None`` and an error entry if it cannot be read at all."""
        if address in self.namespaces:
            return self.namespaces[address]
        where = f"mount namespace 0x{address:x}"
        decoder = self._layout.mnt_namespace
        try:
            data = self._reader.read(address + decoder.base, decoder.span)
        except ReadError as error:
            self._errors.add(where, "mnt_namespace", str(error))
            return None
        inum, root, rb_root, list_next, marker = decoder.decode(data)
        anonymous = marker is not None and int(marker) == self._layout.anonymous_when
        mounts: list[int] = []
        with self._errors.guard(where, "mounts"):
            if self._layout.mount_node is not None:
                self._walk_tree(rb_root or 0, mounts)
            else:
                self._walk_list(address, list_next or 0, mounts)
        namespace = RawNamespace(address, inum, root, anonymous, tuple(mounts))
        self.namespaces[address] = namespace
        self._note_overmounts(namespace)
        return namespace

    def _walk_tree(self, rb_root: int, into: list[int]) -> None:
        assert self._layout.mount_node is not None
        seen: set[int] = set()
        stack = [rb_root] if rb_root else []
        while stack:
            node = stack.pop()
            if node in seen:
                raise ReadError(f"the tree of mounts runs in a circle at 0x{node:x}")
            seen.add(node)
            self._pass()
            mount = self.read_mount(node - self._layout.mount_node)
            into.append(mount.address)
            stack += [child for child in (mount.rb_left, mount.rb_right) if child]

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
            if node in seen:
                raise ReadError(f"the list of mounts runs in a circle at 0x{node:x}")
            seen.add(node)
            self._pass()
            mount = self.read_mount(node - self._layout.mount_list)
            if mount.flags & MNT_CURSOR:
                del self.mounts[mount.address]
            else:
                into.append(mount.address)
            node = mount.list_next

    def _note_overmounts(self, namespace: RawNamespace) -> None:
        """Where the kernel keeps no ``overmount`` pointer: a child mounted on its parent's root."""
        if self._layout.has_overmount:
            return
        for address in namespace.mounts:
            mount = self.mounts[address]
            parent = self.mounts.get(mount.parent)
            if parent is not None and parent is not mount and mount.mountpoint == parent.root:
                self._overmounts[parent.address] = address

    def overmount(self, mount: RawMount) -> int | None:
        """The mount stacked on this mount's root."""
        return (
            (mount.overmount or None) if self._layout.has_overmount else self._overmounts.get(mount.address)
        )

    def visible_root(self, namespace: RawNamespace) -> int | None:
        """The topmost overmount of the namespace's root; ``None`` if that cannot be told."""
        with self._errors.guard(f"mount namespace 0x{namespace.address:x}", "visible root"):
            top = self.read_mount(namespace.root)
            for _ in range(_MAX_STACK):
                self._pass()
                above = self.overmount(top)
                if above is None:
                    return top.address
                top = self.read_mount(above)
            raise ReadError(f"more than {_MAX_STACK} mounts are stacked on the root")
        return None
