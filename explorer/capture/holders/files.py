"""What one ``struct file`` holds: the mount it was opened on, and what hangs on special files.

Mirrors ``file.f_path`` (include/linux/fs.h), ``unix_sock.path`` (include/net/af_unix.h), ``proc_mounts.root`` and
``.ns`` (fs/mount.h), ``backing_file.user_path`` (fs/file_table.c) and the files of nsfs. Each is one reference.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping
from typing import NamedTuple

from explorer.capture.memory import Decoder, Memory, is_kernel_pointer
from explorer.model import HolderKind

from .layout import HolderLayout

__all__ = ("FileReader", "Hold")

_AF_UNIX = 1
#: Set by backing_file_open(): 1 << 25 since 6.5, 1 << 24 since bits were made free beside it.
_FMODE_BACKING = 1 << 24 | 1 << 25
#: ``mount.mnt_ns`` of a private clone, as stacked filesystems open files through them: ERR_PTR(-EINVAL).
_CLONE = (1 << 64) - 22
_TABLE_OPERATIONS = ("proc_mounts_operations", "proc_mountinfo_operations", "proc_mountstats_operations")


class Hold(NamedTuple):
    """A reference of a file's."""

    kind: HolderKind
    held: int
    """The ``struct vfsmount``, or the ``struct mnt_namespace``."""
    address: int
    """Who has it."""
    dentry: int
    """What is held of the mount; 0 for a namespace."""


class FileReader:
    """Reads what files hold of some mounts and namespaces; each file once.

    :param mounts: the ``struct vfsmount`` that are asked for
    :param namespaces: inode in nsfs -> ``struct mnt_namespace``, of those that are asked for
    :param stacked: those of ``mounts`` that are of overlayfs
    """

    def __init__(
        self,
        memory: Memory,
        layout: HolderLayout,
        mounts: Collection[int],
        namespaces: Mapping[int, int],
        wanted_namespaces: Collection[int],
        stacked: Collection[int],
    ) -> None:
        self._reader = memory.reader
        self._layout = layout
        self._mounts = mounts
        self._namespaces = namespaces
        self._wanted_namespaces = wanted_namespaces
        self._stacked = stacked
        symbols = memory.symbols
        self._sockets = symbols.symbol_address("socket_file_ops")
        self._tables = {symbols.symbol_address(name) for name in _TABLE_OPERATIONS} - {None}
        self._clones: dict[int, bool] = {}
        self._mount_ns = memory.layout.mount
        self._to_mount = memory.layout.mount_vfsmount

    def holds(self, file: int) -> list[Hold]:
        """:raises ReadError: if the file, or what hangs on it, cannot be read"""
        decoder = self._layout.file
        mnt, dentry, inode, operations, mode, private = self._reader.decode(decoder, file)
        found = []
        if mnt in self._mounts:
            found.append(Hold(HolderKind.FILE, mnt, file, dentry))
        if mnt in self._stacked and is_kernel_pointer(private):
            found += self._real_files(inode, private)
        if inode in self._namespaces:
            found.append(Hold(HolderKind.FILE, self._namespaces[inode], file, 0))
        if operations == self._sockets:
            found += self._socket(private)
        elif operations in self._tables:
            found += self._mount_table(private)
        elif mode & _FMODE_BACKING:
            found += self._backing(file, mnt)
        return found

    def _socket(self, socket: int) -> list[Hold]:
        layout, read = self._layout, self._reader
        if layout.socket_sk is None or layout.family is None or layout.unix_path is None:
            return []
        sock = read.read_u64(socket + layout.socket_sk)
        if not is_kernel_pointer(sock):
            return []  # it was closed meanwhile
        if int.from_bytes(read.read(sock + layout.family, 2), "little") != _AF_UNIX:
            return []
        return self._path(HolderKind.SOCKET, layout.unix_path, sock)

    def _path(self, kind: HolderKind, decoder: Decoder, address: int) -> list[Hold]:
        """The ``struct path`` that a decoder finds in a structure."""
        mnt, dentry = self._reader.decode(decoder, address)
        return [Hold(kind, mnt, address, dentry)] if mnt in self._mounts else []

    def _mount_table(self, seq_file: int) -> list[Hold]:
        layout, read = self._layout, self._reader
        if layout.seq_private is None or layout.mount_table is None:
            return []
        table = read.read_u64(seq_file + layout.seq_private)
        decoder = layout.mount_table
        namespace, mnt, dentry = read.decode(decoder, table)
        found = []
        if mnt in self._mounts:
            found.append(Hold(HolderKind.MOUNT_TABLE, mnt, table, dentry))
        if namespace in self._wanted_namespaces:
            found.append(Hold(HolderKind.MOUNT_TABLE, namespace, table, 0))
        return found

    def _backing(self, file: int, mnt: int) -> list[Hold]:
        decoder = self._layout.backing_path
        if decoder is None or not self._is_clone(mnt):
            return []
        return self._path(HolderKind.BACKING_FILE, decoder, file)

    def _real_files(self, inode: int, private: int) -> list[Hold]:
        """What a file of overlayfs has open for itself below (``ovl_open()``): they name the same path once more."""
        read, layout = self._reader, self._layout
        if not stat.S_ISREG(int.from_bytes(read.read(inode + layout.inode_mode, 2), "little")):
            return []
        decoder, files = layout.overlay_file, (private,)
        if decoder is not None:
            files = read.decode(decoder, private)
        found = []
        for real in filter(is_kernel_pointer, filter(None, files)):
            mnt, dentry, _, _, mode, _ = read.decode(layout.file, real)
            if mnt in self._mounts:  # until 6.5 it has the path itself
                found.append(Hold(HolderKind.FILE, mnt, real, dentry))
            elif mode & _FMODE_BACKING:
                found += self._backing(real, mnt)
        return found

    def _is_clone(self, vfsmount: int) -> bool:
        known = self._clones.get(vfsmount)
        if known is None:
            member = self._mount_ns.members[self._mount_ns.fields.index("mnt_ns")]
            assert member is not None  # the layout was probed
            namespace = self._reader.read_u64(vfsmount - self._to_mount + member[0])
            known = self._clones[vfsmount] = namespace == _CLONE
        return known
