"""Bits whose meaning has not moved from 6.1 to 7.3.

``PF_*`` of ``task_struct.flags`` (include/linux/sched.h), and of ``vfsmount.mnt_flags`` (include/linux/mount.h)
``MNT_USER_SETTABLE_MASK``: what mount options are; the other bits of it are the kernel's own state.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ("MNT_OPTIONS", "MNT_READONLY", "PF_NAMES", "TaskFlag")


class TaskFlag(IntEnum):
    """One bit, by its name without ``PF_``."""

    IDLE = 0x2
    EXITING = 0x4
    POSTCOREDUMP = 0x8
    IO_WORKER = 0x10
    WQ_WORKER = 0x20
    FORKNOEXEC = 0x40
    SUPERPRIV = 0x100
    DUMPCORE = 0x200
    SIGNALED = 0x400
    MEMALLOC = 0x800
    USER_WORKER = 0x4000
    NOFREEZE = 0x8000
    KSWAPD = 0x20000
    KTHREAD = 0x200000
    RANDOMIZE = 0x400000
    NO_SETAFFINITY = 0x4000000


#: Name in lower case, as queries have it -> bit.
PF_NAMES = {flag.name.lower(): flag.value for flag in TaskFlag}

MNT_READONLY = 0x40
MNT_OPTIONS = {
    0x1: "nosuid",
    0x2: "nodev",
    0x4: "noexec",
    0x8: "noatime",
    0x10: "nodiratime",
    0x20: "relatime",
    MNT_READONLY: "ro",
    0x80: "nosymfollow",
}
