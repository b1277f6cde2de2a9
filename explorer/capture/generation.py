"""Which generation of filesystem state a kernel has, and where its well-known objects are.

Detected by what the kernel has, never by its version string: ``nullfs_fs_type`` came with the nullfs under
the rootfs (7.0), ``userspace_init_fs`` with the isolation; a kernel of the RFC's first version has it as a
static ``struct fs_struct``, released ones as a pointer, beside ``task_struct.real_fs``.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import Memory, is_kernel_pointer
from explorer.model import Generation
from explorer.plugin import linux_helpers

__all__ = ("WellKnown", "find_well_known", "read_clocks_ns", "read_cmdline", "read_nodename")

_MAX_CMDLINE = 65_536
#: ``__NEW_UTS_LEN`` and the zero behind it (include/uapi/linux/utsname.h).
_NODENAME = 65


class WellKnown(NamedTuple):
    """Addresses everything else is compared with; ``None`` where the kernel has no such thing."""

    generation: Generation
    init_fs: int | None
    userspace_init_fs: int | None
    """The ``fs_struct`` itself, whether it is static or pointed at. ``None`` also before it is published."""
    knullfs: int | None
    """``struct vfsmount *`` of the private nullfs."""
    init_unread: bool = False
    """The kernel has a ``userspace_init_fs``, and it could not be read: then who owns or borrows it is not known."""


def find_well_known(memory: Memory) -> WellKnown:
    """Detect the generation. What cannot be read is in the error log and ``None``."""
    symbols, errors = memory.symbols, memory.errors
    generation = Generation.LEGACY
    userspace_init_fs, before = None, errors.count
    variable = symbols.symbol_address("userspace_init_fs")
    if variable is not None:
        generation = Generation.ISOLATED if memory.layout.has_real_fs else Generation.RFC_V1
        if generation is Generation.RFC_V1:
            userspace_init_fs = variable
        else:
            userspace_init_fs = _read_pointer(memory, variable, "userspace_init_fs")
    elif symbols.symbol_address("nullfs_fs_type") is not None:
        generation = Generation.NULLFS_ROOTFS
    init_unread = errors.count > before
    knullfs_variable = symbols.symbol_address("knullfs")
    return WellKnown(
        generation=generation,
        init_fs=symbols.symbol_address("init_fs"),
        userspace_init_fs=userspace_init_fs,
        knullfs=None if knullfs_variable is None else _read_pointer(memory, knullfs_variable, "knullfs"),
        init_unread=init_unread,
    )


def _read_pointer(memory: Memory, variable: int, name: str) -> int | None:
    """A pointer variable; NULL (early in boot) is ``None``, garbage an error entry."""
    with memory.errors.guard("kernel", name):
        value = memory.reader.read_u64(variable)
        if is_kernel_pointer(value):
            return value
        if value:
            memory.errors.add("kernel", name, f"0x{value:x} is no kernel pointer")
    return None


def read_cmdline(memory: Memory) -> bytes | None:
    """The command line that /proc/cmdline shows (``saved_command_line``)."""
    variable = memory.symbols.symbol_address("saved_command_line")
    if variable is None:
        memory.errors.add("kernel", "cmdline", "the kernel's symbol table has no saved_command_line")
        return None
    with memory.errors.guard("kernel", "cmdline"):
        return memory.reader.read_c_string(memory.reader.read_u64(variable), _MAX_CMDLINE)
    return None


def read_nodename(memory: Memory) -> bytes | None:
    """What uname(2) calls the machine: ``init_uts_ns.name.nodename`` (``struct new_utsname``)."""
    variable = memory.symbols.symbol_address("init_uts_ns")
    try:
        offset = drgn.offsetof(memory.prog.type("struct uts_namespace"), "name.nodename")
    except LookupError:
        variable = offset = None
    if variable is None or offset is None:
        memory.errors.add(
            "kernel", "nodename", "the kernel has no init_uts_ns, or its types no uts_namespace"
        )
        return None
    with memory.errors.guard_newer("kernel", "nodename"):
        return memory.reader.read_c_string(variable + offset, _NODENAME)
    return None


def read_clocks_ns(memory: Memory) -> tuple[int | None, int | None]:
    """What the kernel's wall clock says, and when it booted by that: nanoseconds since 1970, both or neither.

    ``ktime_get_coarse_real_ns()`` and ``getboottime64()``. That clock is set forward at every tick: it stands still
    while all CPUs are idle.
    """
    clocks = linux_helpers("timekeeping")
    try:
        now = int(clocks.ktime_get_coarse_real_ns(memory.prog))
        return now, now - int(clocks.ktime_get_coarse_boottime_ns(memory.prog))
    except (drgn.FaultError, LookupError, AttributeError, TypeError, ValueError) as error:
        memory.errors.add("kernel", "boot_time", str(error))
        return None, None
