"""Which numbers can be addresses of an x86_64 kernel."""

from __future__ import annotations

__all__ = ("HIGHEST_KERNEL_ADDRESS", "LOWEST_KERNEL_ADDRESS", "is_kernel_pointer")

LOWEST_KERNEL_ADDRESS = 0xFF00_0000_0000_0000  # 5-level paging's kernel half begins here
HIGHEST_KERNEL_ADDRESS = 0xFFFF_FFFF_FFFF_F000  # the last page is where ERR_PTR() values point


def is_kernel_pointer(value: int) -> bool:
    """Whether ``value`` can be a pointer into the x86_64 kernel: in the upper half, and no ``ERR_PTR()``.

    A fault cannot be relied on instead: dumps whose program headers have ``p_vaddr == p_paddr`` read the
    BIOS interrupt table at address zero.
    """
    return LOWEST_KERNEL_ADDRESS <= value < HIGHEST_KERNEL_ADDRESS
