"""Let go of what a process that reads a kernel does not need any more.

Root is needed to open ``/proc/kcore`` and to see addresses in ``/proc/kallsyms``; both are open by the time a capture
begins. What runs from then on parses memory that may be hostile: it does so without capabilities, and cannot get any
back. Straight to prctl(2) and capset(2) through libc: the libraries for it would need other libraries in C.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping

__all__ = ("drop_privileges", "harden_process", "runs_for_another_user")

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITY = 63
#: What root needs to write a file into somebody's directory: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
_FILE_CAPABILITIES = 1 << 1 | 1 << 2
_CALLERS = ("SUDO_UID", "PKEXEC_UID")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def harden_process() -> None:
    """For every process of the tool: no core file with a kernel's memory in it, no file that others can read."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)


def runs_for_another_user(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process has root's rights and its caller has not: sudo, pkexec, doas."""
    values = os.environ if environment is None else environment
    if os.getuid() != os.geteuid():
        return True
    if os.geteuid() != 0:
        return False
    return any(values.get(name, "0") != "0" for name in _CALLERS) or values.get("DOAS_USER", "root") != "root"


def drop_privileges(keep_files: bool = False) -> None:
    """Give up every capability, for good; no program that is started from here on can have more.

    :param keep_files: keep what root needs to write a file where the user said
    :raises OSError: if the kernel refuses, which it does not
    """
    libc = ctypes.CDLL(None, use_errno=True)
    kept = _FILE_CAPABILITIES if keep_files else 0
    _call(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    if os.geteuid() == 0:
        for capability in range(_MAX_CAPABILITY + 1):
            if kept >> capability & 1 or libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) != 1:
                continue
            # A container's root may lack CAP_SETPCAP; without it, no_new_privs does the same.
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    held = (_Data * 2)()
    _call(libc.capget(ctypes.byref(header), held))
    wanted = (_Data * 2)()
    for index in range(2):
        word = held[index].permitted & (kept >> 32 * index & 0xFFFFFFFF)
        wanted[index] = _Data(word, word, 0)
    _call(libc.capset(ctypes.byref(header), wanted))


def _call(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
