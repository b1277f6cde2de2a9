"""The path walk a task is in: ``task_struct.nameidata``.

Mirrors fs/namei.c: ``set_nameidata()`` hangs a walk's state on the task, ``restore_nameidata()`` takes it off. It lies
on the task's own stack.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import AnyTask, Memory, ReadError, is_kernel_pointer, member_offset

__all__ = ("NameidataOffsets", "RawWalk", "WalkReader", "nameidata_offsets")

_PATH_MAX = 4096
#: fs/namei.c of the RFC's first version: this lookup starts at userspace_init_fs.
_LOOKUP_IN_INIT = 1 << 29


class RawWalk(NamedTuple):
    """A ``struct nameidata``; ``mnt`` and ``root_mnt`` are ``struct vfsmount *``, 0 while they are not set."""

    mnt: int
    dentry: int
    root_mnt: int
    root_dentry: int
    flags: int
    path: bytes | None

    @property
    def in_init(self) -> bool:
        """``LOOKUP_IN_INIT``, on a kernel that has it: elsewhere the bit means something else."""
        return bool(self.flags & _LOOKUP_IN_INIT)


class NameidataOffsets(NamedTuple):
    """Where in ``struct nameidata``, ``filename`` and ``mount``, in bytes: for whoever sees walks in another way."""

    name: int
    root_mnt: int
    flags: int
    filename_name: int
    mount_mnt: int


def nameidata_offsets(prog: drgn.Program) -> NameidataOffsets:
    """By the kernel's own types. :raises LookupError: if it has no such types or members"""
    return NameidataOffsets(
        name=member_offset(prog, "nameidata", "name"),
        root_mnt=member_offset(prog, "nameidata", "root.mnt"),
        flags=member_offset(prog, "nameidata", "flags"),
        filename_name=member_offset(prog, "filename", "name"),
        mount_mnt=member_offset(prog, "mount", "mnt"),
    )


class WalkReader:
    """Reads path walks. Of a kernel that runs, a walk that has ended meanwhile is none."""

    def __init__(self, memory: Memory) -> None:
        self._reader = memory.reader
        self._layout = memory.layout
        self._errors = memory.errors
        self._live = memory.live

    def read_walk(self, task: AnyTask) -> RawWalk | None:
        """The walk of a task whose ``nameidata`` is not NULL; ``None``, with an error entry, if unreadable."""
        try:
            walk = self._read(task.nameidata or 0)
        except ReadError as error:
            if not self._has_ended(task):
                self._errors.add(task.name, "nameidata", str(error))
            return None
        return None if self._has_ended(task) else walk

    def _read(self, nameidata: int) -> RawWalk:
        decoder = self._layout.nameidata
        mnt, dentry, root_mnt, root_dentry, flags, name = self._reader.decode(decoder, nameidata)
        path = None
        if is_kernel_pointer(name):
            pointer = self._reader.read_u64(name + self._layout.filename_name)
            path = self._reader.read_c_string(pointer, _PATH_MAX)
        return RawWalk(mnt, dentry, root_mnt, root_dentry, flags, path)

    def _has_ended(self, task: AnyTask) -> bool:
        if not self._live:
            return False
        try:
            return self._reader.read_u64(task.address + self._layout.task_nameidata) != task.nameidata
        except ReadError:
            return True  # the task itself is gone
