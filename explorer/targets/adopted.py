"""A ``drgn.Program`` that somebody else opened: a drgn session, or a script.

Where drgn has types for its kernel (DWARF), these are used, and objects are that program's own; memory that its file
does not hold is made to fault in it, where drgn would read zeros. Where drgn has none, the same kernel is opened beside
it, with types from its own BTF, and the program that was given stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import drgn

from explorer.targets.detect import detect_target
from explorer.targets.drgn_calls import capture_log, drgn_errors, fault_user_half, new_program, own_vmcoreinfo
from explorer.targets.dumps import Format, file_errors, hide_absent, open_file, read_elf_core, sniff
from explorer.targets.errors import TargetError
from explorer.targets.kernel import OpenKernel, OpenOptions, open_kernel
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from explorer.targets.symbols import adopt_types, attach_types
from explorer.targets.vmcoreinfo import VmcoreInfo

__all__ = ("adopt_program",)

#: In ``Program.cache``: what was made of it, for the next time.
_KEY = "nullfs-explorer"
#: What is there to be read: all but the last byte, which no 64-bit size reaches.
_EVERYTHING = (1 << 64) - 1


def adopt_program(prog: drgn.Program) -> OpenKernel:
    """The kernel that a program is open on. It is open as long as the program is, and need not be closed.

    :raises TargetError: if it is no Linux kernel, or none that can be captured
    """
    known: OpenKernel | None = prog.cache.get(_KEY)
    if known is None or (known.prog is not prog and _has_types(prog)):  # debug info was loaded since
        known = prog.cache[_KEY] = _adopt(prog)
    else:
        known.types.refresh()
    return known


def _adopt(prog: drgn.Program) -> OpenKernel:
    flags = prog.flags
    if not flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise TargetError("the program is not a Linux kernel: open one (drgn -c VMCORE, drgn -k)")
    is_live = bool(flags & drgn.ProgramFlags.IS_LIVE)
    is_local = is_live and bool(flags & drgn.ProgramFlags.IS_LOCAL)
    info = own_vmcoreinfo(prog, "the program")
    file = None if is_live or prog.core_dump_path is None else Path(prog.core_dump_path)
    kind: Literal["live", "vmcore", "qemu"] = "live" if is_local else "qemu" if is_live else "vmcore"
    name = "live" if is_local else "drgn's program" if file is None else str(file)
    if _has_types(prog):
        program = OpenProgram(prog, kind, name, info, not is_live)
        if file is not None:
            _describe(program, file)
        types = adopt_types(prog)
        return OpenKernel(program, types, [*program.notes, *types.notes])
    if is_local:
        return open_kernel(detect_target("live"))
    if file is not None:
        return open_kernel(detect_target(name), OpenOptions(vmcoreinfo=info.raw))
    beside = _read_through(prog, info, is_live)
    types = attach_types(beside, mode="btf")
    return OpenKernel(OpenProgram(beside, kind, name, info, not is_live), types, types.notes)


def _has_types(prog: drgn.Program) -> bool:
    try:
        return bool(prog.type("struct task_struct").is_complete())
    except LookupError:
        return False


def _describe(program: OpenProgram, file: Path) -> None:
    """What the file says of itself; what it does not hold faults from here on."""
    with open_program(detect_target(str(file)), vmcoreinfo=program.vmcoreinfo.raw) as same:
        program.notes, program.is_slice = same.notes, same.is_slice
        program.missing_memory, program.cut_off = same.missing_memory, same.cut_off
    with file_errors(str(file)), open_file(file) as core, drgn_errors(f"{file}: cannot be read"):
        if sniff(core.read(4096)) is Format.ELF:
            hide_absent(program.prog, read_elf_core(core, str(file)))
    fault_user_half(program.prog)


def _read_through(prog: drgn.Program, info: VmcoreInfo, is_live: bool) -> drgn.Program:
    """A second program, of which all memory is the first one's: drgn does not say what that was made of."""

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = prog.read(address, count, physical)
        return data

    beside = new_program(info)
    with capture_log(), drgn_errors("the program cannot be read"):
        beside.add_memory_segment(0, _EVERYTHING, read, physical=True)
        beside.set_linux_kernel_custom(info.raw, is_live=is_live)
        beside.add_memory_segment(0, _EVERYTHING, read)  # in place of page tables: the first has its own ways
    return beside
