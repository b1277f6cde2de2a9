"""Where the kernel's direct map of physical memory lies: arch/x86/include/asm/page_64_types.h.

Everything that is allocated in pages or slabs (tasks, fs_structs, dentries, mounts) is addressed through it, and its
physical address is the distance from its beginning (``__phys_addr_nodebug()``). Where it ends, vmalloc begins.
"""

from __future__ import annotations

import drgn

from .layout import Layout
from .reader import is_kernel_pointer
from .symbols import SymbolTable

__all__ = ("find_direct_map",)

_POINTER = 8
_ATTEMPTS = 3  # a kernel that runs may change its list of tasks between two reads


def find_direct_map(prog: drgn.Program, layout: Layout, symbols: SymbolTable) -> tuple[int, int] | None:
    """Its first address, and the one behind its last.

    ``None`` where that is not known (no randomised memory layout), and where the target does not serve the same
    bytes both ways: then everything is read through page tables.
    """
    try:
        start, end = (_read_pointer(prog, symbols, name) for name in ("page_offset_base", "vmalloc_base"))
        init_task = symbols.symbol_address("init_task")
        if init_task is None or not start < end or not is_kernel_pointer(start) or not is_kernel_pointer(end):
            return None
        for _ in range(_ATTEMPTS):
            following = prog.read_u64(init_task + layout.task_tasks)
            if not start <= following < end:
                return None
            if _is_same(prog, following, start, init_task + layout.task_tasks):
                return start, end
    except (drgn.FaultError, LookupError):
        return None
    return None


def _is_same(prog: drgn.Program, following: int, start: int, tasks: int) -> bool:
    """Whether the link behind ``init_task`` is what lies where the direct map has it.

    Of a dump that is cut off the page tables may be missing: then the link has to point back.
    """
    physical: bytes = prog.read(following - start, 2 * _POINTER, True)
    try:
        return bool(prog.read(following, 2 * _POINTER) == physical)
    except drgn.FaultError:
        return int.from_bytes(physical[_POINTER:], "little") == tasks


def _read_pointer(prog: drgn.Program, symbols: SymbolTable, name: str) -> int:
    address = symbols.symbol_address(name)
    if address is None:
        raise LookupError(f"the kernel's symbol table has no {name}")
    return int(prog.read_u64(address))
