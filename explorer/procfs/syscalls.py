"""The system calls that Python has no function for: kcmp(2), statx(2) and setns(2), straight through libc."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from explorer.syscalls import checked, libc

__all__ = ("Place", "compare_fs", "enter_mount_namespace", "find_place")

#: x86_64, arch/x86/entry/syscalls/syscall_64.tbl
_KCMP, _STATX = 312, 332
_KCMP_FS = 3
_AT_FDCWD = -100
_CLONE_NEWNS = 0x20000
#: include/uapi/linux/stat.h
_STATX_INO, _STATX_MNT_ID, _STATX_MNT_ID_UNIQUE = 0x100, 0x1000, 0x4000
_STATX_ATTR_MOUNT_ROOT = 0x2000


class _Statx(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("blksize", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("_links", ctypes.c_uint32 * 3),
        ("_mode", ctypes.c_uint32),
        ("ino", ctypes.c_uint64),
        ("_sizes", ctypes.c_uint64 * 3),
        ("_times", ctypes.c_uint64 * 8),
        ("_rdev", ctypes.c_uint32 * 2),
        ("dev_major", ctypes.c_uint32),
        ("dev_minor", ctypes.c_uint32),
        ("mnt_id", ctypes.c_uint64),
        ("_rest", ctypes.c_uint64 * 13),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path really is."""

    mount: int | None
    """As in mountinfo; ``None`` before 5.8."""
    unique_mount: int | None
    """Never used again; ``None`` before 6.8."""
    inode: tuple[int, int, int]
    """Major and minor of the device, and the inode on it."""
    is_mount_root: bool


def compare_fs(first: int, second: int) -> int:
    """kcmp(2) of ``task->fs`` of two threads: 0: one ``fs_struct``; 1 and 2: which of them is the lesser.

    :raises OSError: if that may not be asked, or one is gone
    """
    ask = (ctypes.c_long(number) for number in (_KCMP, first, second, _KCMP_FS, 0, 0))
    return checked(libc().syscall(*ask))


def find_place(path: str) -> Place:
    """statx(2), through a link of /proc. :raises OSError: if it may not be asked"""
    found, unique = _statx(path, _STATX_INO | _STATX_MNT_ID), _statx(path, _STATX_MNT_ID_UNIQUE)
    return Place(
        mount=found.mnt_id if found.mask & _STATX_MNT_ID else None,
        unique_mount=unique.mnt_id if unique.mask & _STATX_MNT_ID_UNIQUE else None,
        inode=(found.dev_major, found.dev_minor, found.ino),
        is_mount_root=bool(found.attributes & _STATX_ATTR_MOUNT_ROOT),
    )


def _statx(path: str, mask: int) -> _Statx:
    found = _Statx()
    name = ctypes.c_char_p(os.fsencode(path))
    checked(
        libc().syscall(
            ctypes.c_long(_STATX), ctypes.c_long(_AT_FDCWD), name, ctypes.c_long(0), ctypes.c_long(mask),
            ctypes.byref(found),
        )
    )  # fmt: skip
    return found


def enter_mount_namespace(descriptor: int) -> None:
    """setns(2), of this process: its root becomes what ``/`` means in that namespace. :raises OSError: if it may not"""
    checked(libc().setns(descriptor, _CLONE_NEWNS))
