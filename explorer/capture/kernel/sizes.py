"""How large the structures of this kernel are, for those who look for what an address lies in."""

from __future__ import annotations

from contextlib import suppress

from explorer.capture.memory import Memory
from explorer.model import STRUCT_NAMES

__all__ = ("read_struct_sizes",)

#: Around the stack of init_task (INIT_TASK_DATA of include/asm-generic/vmlinux.lds.h), which is as large as any.
_INIT_STACK = (("__start_init_stack", "__end_init_stack"), ("__start_init_task", "__end_init_task"))


def read_struct_sizes(memory: Memory) -> dict[str, int]:
    """Bytes of each structure, by the kernel's own types, and of a kernel ``stack`` (``THREAD_SIZE``).

    One that the kernel does not say is left out.
    """
    sizes = {}
    for name in STRUCT_NAMES[:-1]:
        with suppress(LookupError):
            sizes[name] = int(memory.prog.type(f"struct {name}").size or 0)
    for first, last in _INIT_STACK:
        start, end = memory.symbols.symbol_address(first), memory.symbols.symbol_address(last)
        if start is not None and end is not None and end > start:
            sizes["stack"] = end - start
            break
    return {name: size for name, size in sizes.items() if size}
