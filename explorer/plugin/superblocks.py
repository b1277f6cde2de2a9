"""Superblocks of one filesystem type and the mounts of each: for plugins on filesystems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .declare import PluginKernel
from .drgn_helpers import linux_helpers

if TYPE_CHECKING:
    import drgn

__all__ = ("for_each_mount", "for_each_super_block", "is_in_namespace", "make_path")

_MAX_SUPERBLOCKS = 10_000
_MAX_MOUNTS = 100_000
_POINTER = 8
#: Pointers from here on are error numbers (``IS_ERR()``, include/linux/err.h).
_FIRST_ERROR = (1 << 64) - 4095


def for_each_super_block(kernel: PluginKernel, module: str, fs_type: str) -> Iterator[drgn.Object]:
    """``struct super_block *`` of every one of a ``struct file_system_type`` variable of ``module``, bounded.

    One whose mount(2) has not got to its private data yet, or has given it back, is left out.
    """
    hlist_for_each_entry = linux_helpers("list").hlist_for_each_entry
    head = kernel.variable(module, fs_type, "struct file_system_type").fs_supers
    entries = hlist_for_each_entry("struct super_block", head.address_of_(), "s_instances")
    for block in kernel.bounded(entries, f"superblocks of {fs_type}", _MAX_SUPERBLOCKS):
        if block.s_fs_info.value_():
            yield block


def for_each_mount(kernel: PluginKernel, block: drgn.Object) -> Iterator[drgn.Object]:
    """``struct mount *`` of every mount of a superblock, the kernel's own and detached ones too, bounded.

    ``s_mounts`` is a ``struct list_head`` of ``mnt_instance``, or a chain by ``mnt_next_for_sb`` (7.x).
    """
    if kernel.prog.type("struct mount").has_member("mnt_next_for_sb"):
        entries = _chain(block.s_mounts)
    else:
        list_for_each_entry = linux_helpers("list").list_for_each_entry
        entries = list_for_each_entry("struct mount", block.s_mounts.address_of_(), "mnt_instance")
    yield from kernel.bounded(entries, "mounts of a superblock", _MAX_MOUNTS)


def _chain(mount: drgn.Object) -> Iterator[drgn.Object]:
    while mount.value_():
        yield mount
        mount = mount.mnt_next_for_sb.read_()


def is_in_namespace(mount: drgn.Object) -> bool:
    """Whether a ``struct mount *`` is in a mount namespace.

    Neither the kernel's own are (``mnt_ns`` is an error pointer: ``kern_mount()``, ``clone_private_mount()``), nor
    those unmounted lazily (NULL).
    """
    return 0 < int(mount.mnt_ns.value_()) < _FIRST_ERROR


def make_path(kernel: PluginKernel, mnt: drgn.Object, dentry: drgn.Object) -> drgn.Object:
    """A ``struct path`` of a ``struct vfsmount *`` and a ``struct dentry *``, that is nowhere in memory."""
    import drgn

    raw = b"".join(pointer.value_().to_bytes(_POINTER, "little") for pointer in (mnt, dentry))
    return drgn.Object.from_bytes_(kernel.prog, kernel.prog.type("struct path"), raw)
