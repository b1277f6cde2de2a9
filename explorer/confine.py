"""What a process that parses strangers' bytes cannot do any more, whatever they make it do: start a program, use the
network, touch other processes, load into the kernel, write a file anywhere but where its output goes.

Two interfaces of the kernel's, by their system calls, as no binding for both is kept: seccomp with a filter
(kernel/seccomp.c, Documentation/userspace-api/seccomp_filter.rst) and Landlock (security/landlock,
Documentation/userspace-api/landlock.rst). Both are for good and for all that is forked off. Stands below all layers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from explorer.syscalls import libc

__all__ = (
    "CONNECTS",
    "DENIED",
    "ENTERS",
    "READS_PROCESSES",
    "STARTS",
    "confine",
    "deny_calls",
    "deny_writes",
)

#: arch/x86/entry/syscalls/syscall_64.tbl
DENIED = {
    "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
    "process_madvise": 440, "pidfd_getfd": 438, "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50,
    "accept4": 288, "bpf": 321, "perf_event_open": 298, "init_module": 175, "delete_module": 176, "finit_module": 313,
    "kexec_load": 246, "kexec_file_load": 320, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "setns": 308, "unshare": 272, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "open_by_handle_at": 304, "add_key": 248, "request_key": 249, "keyctl": 250, "userfaultfd": 323,
    "io_uring_setup": 425, "personality": 135, "reboot": 169, "swapon": 167, "swapoff": 168, "settimeofday": 164,
    "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305, "acct": 163, "quotactl": 179, "iopl": 172,
    "ioperm": 173, "mknod": 133, "mknodat": 259,
}  # fmt: skip
#: What some of this program still has to do: start QEMU, which asks for more than others, and connect to it; read its
#: memory; look into the namespaces of others.
STARTS = frozenset({"execve", "execveat", "io_uring_setup", "userfaultfd"})
CONNECTS = frozenset({"socket", "connect", "accept", "bind", "listen", "accept4"})
READS_PROCESSES = frozenset({"process_vm_readv"})
ENTERS = frozenset({"setns"})

_SECCOMP, _SET_MODE_FILTER, _TSYNC = 317, 1, 1
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
#: ``struct seccomp_data``: the call's number, the architecture. x32 calls have a bit of their own.
_NUMBER, _ARCHITECTURE, _X86_64, _X32 = 0, 4, 0xC000003E, 0x40000000

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
#: ``LANDLOCK_ACCESS_FS_*`` that change something: write, remove and make each kind of file; truncate since version 3.
_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_TRUNCATE, _HAS_TRUNCATE = 1 << 14, 3
_OF_A_FILE = _WRITE_FILE | _TRUNCATE
_PR_SET_NO_NEW_PRIVS = 38


def confine(writes: Iterable[Path] | None = (), calls: Collection[str] = ()) -> None:
    """Give up all of the above, as far as this kernel has the means. What was given up before stays so.

    :param writes: directories, and devices, that may still be written to, beside the one for temporary files; ``None``:
        any. Landlock forbids whomever it restricts to look into others' memory and links (security/landlock/task.c): so
        it is for who has to do that
    :param calls: of :data:`DENIED`, which may still be made
    """
    libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if writes is not None:
        deny_writes([*writes, Path(tempfile.gettempdir()), Path(os.devnull)])
    deny_calls(set(DENIED) - set(calls))


def deny_calls(names: Iterable[str]) -> bool:
    """EPERM for each of these calls, in every thread. Whether the kernel has filters."""
    numbers = sorted(DENIED[name] for name in names)
    filters = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, len(numbers) + 1, 0, _X32),
    ]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        filters.append((_JUMP_EQUAL, left, 0, number))
    filters += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    code = b"".join(struct.pack("<HBBI", *each) for each in filters)
    held = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(filters), ctypes.addressof(held)))
    return int(libc().syscall(_SECCOMP, _SET_MODE_FILTER, _TSYNC, program)) == 0


def deny_writes(but: Iterable[Path]) -> bool:
    """No file is written, made or removed any more but beneath these. Whether the kernel has Landlock.

    What is open stays as it is.
    """
    version = int(libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION))
    if version < 1:
        return False
    changes = _CHANGES | (_TRUNCATE if version >= _HAS_TRUNCATE else 0)
    ruleset = int(libc().syscall(_CREATE_RULESET, struct.pack("<Q", changes), ctypes.c_size_t(8), 0))
    if ruleset < 0:
        return False
    try:
        for path in but:
            with suppress(FileNotFoundError, PermissionError):  # it is not written to either
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    allowed = changes if path.is_dir() else changes & _OF_A_FILE
                    libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", allowed, fd), 0)
                finally:
                    os.close(fd)
        return int(libc().syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)
