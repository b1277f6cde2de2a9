"""``/proc/kcore`` and ``/proc/kallsyms``, opened while there are rights: whether they show anything is decided then.

``open_kcore()`` of fs/proc/kcore.c asks for CAP_SYS_RAWIO; ``kallsyms_open()`` of kernel/kallsyms.c keeps whether the
opener may see addresses.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from explorer.targets.errors import TargetError

__all__ = ("held_kallsyms", "hold_running", "open_kcore")

_KCORE, _KALLSYMS = Path("/proc/kcore"), Path("/proc/kallsyms")
#: Some 200,000 lines, of up to 500 bytes each.
_MAX_KALLSYMS = 256 << 20
_BLOCK = 1 << 20
#: Where the running kernel's memory cannot be read.
_WAY_OUT = "; the target proc needs none of it, and tells less"
#: drgn's, as its documentation has it.
_SYSFS = "DRGN_USE_SYS_MODULE"
_held: dict[Path, int] = {}


def hold_running() -> None:
    """Open both now, once: from here on they are read without rights.

    :raises TargetError: if the kernel's memory cannot be opened; symbols may also come from there
    """
    if _KCORE in _held:
        return
    _held[_KCORE] = open_kcore()
    # drgn would look for the sections of modules in sysfs, which shows them to root alone; they are in memory, too.
    os.environ[_SYSFS] = "0"
    with suppress(OSError):
        _held[_KALLSYMS] = os.open(_KALLSYMS, os.O_RDONLY | os.O_CLOEXEC)


def open_kcore() -> int:
    """A descriptor of ``/proc/kcore``, for the caller to close. :raises TargetError: if there is none to be had"""
    if _KCORE in _held:
        return os.dup(_held[_KCORE])
    try:
        descriptor = os.open(_KCORE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise TargetError(
            "/proc/kcore is missing: the running kernel lacks CONFIG_PROC_KCORE, or /proc is not mounted"
            f"{_WAY_OUT}"
        ) from error
    except PermissionError as error:
        if os.geteuid() == 0:
            raise TargetError(
                "/proc/kcore is closed even to root: kernel lockdown (Secure Boot), "
                f"or a container without CAP_SYS_RAWIO{_WAY_OUT}"
            ) from error
        raise TargetError(f"reading the running kernel needs root: try sudo{_WAY_OUT}") from error
    except OSError as error:
        raise TargetError(f"/proc/kcore: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TargetError(
            f"/proc/kcore is masked, as in a container: run on the host, or unmask it{_WAY_OUT}"
        )
    return descriptor


def held_kallsyms() -> bytes | None:
    """The text of ``/proc/kallsyms``, if :func:`hold_running` has opened it.

    :raises ValueError: if it is longer than that of any kernel
    """
    descriptor = _held.get(_KALLSYMS)
    if descriptor is None:
        return None
    os.lseek(descriptor, 0, os.SEEK_SET)
    blocks, size = [], 0
    while block := os.read(descriptor, _BLOCK):
        blocks.append(block)
        size += len(block)
        if size > _MAX_KALLSYMS:
            raise ValueError(f"it has more than {_MAX_KALLSYMS >> 20} MiB")
    return b"".join(blocks)
