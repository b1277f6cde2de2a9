"""The generation of the running kernel by what may be seen without its memory: the names of its symbols and types.

Names in /proc/kallsyms and BTF are everybody's to read, even where addresses are hidden.
"""

from __future__ import annotations

import re
from pathlib import Path

from explorer.model import Generation
from explorer.targets import TargetError

__all__ = ("find_generation",)

_KALLSYMS, _BTF = Path("/proc/kallsyms"), Path("/sys/kernel/btf/vmlinux")
_NAMES = re.compile(rb" (userspace_init_fs|nullfs_fs_type)\n")
_MAX_BTF = 256 << 20


def find_generation() -> Generation:
    """:raises TargetError: if the kernel does not name its symbols"""
    try:
        names = set(_NAMES.findall(_KALLSYMS.read_bytes()))
    except OSError as error:
        raise TargetError(
            f"/proc/kallsyms: {error.strerror}: without it nothing tells whether this kernel isolates its threads"
        ) from error
    if b"userspace_init_fs" in names:
        return Generation.RFC_V1 if _lacks_real_fs() else Generation.ISOLATED
    return Generation.NULLFS_ROOTFS if b"nullfs_fs_type" in names else Generation.LEGACY


def _lacks_real_fs() -> bool:
    """Of a kernel with ``userspace_init_fs``: whether it is of the RFC's first version, which was never released."""
    try:
        with _BTF.open("rb") as file:
            return b"\0real_fs\0" not in file.read(_MAX_BTF)
    except OSError:
        return False
