"""Memory of a recording with something else laid over it: states that no kernel was ever recorded in."""

from __future__ import annotations

import struct

import drgn

__all__ = ("FREE", "put", "put_words")

FREE = 0xFFFFC90FFFF00000  # nothing of the recordings is mapped there


def put(prog: drgn.Program, address: int, data: bytes) -> None:
    """Lay ``data`` over the kernel's memory; over physical memory too, where its direct map is meant."""

    def read(at: int, count: int, offset: int, physical: bool) -> bytes:
        return data[offset : offset + count]

    prog.add_memory_segment(address, len(data), read)
    start, end = (prog.read_u64(prog.symbol(name).address) for name in ("page_offset_base", "vmalloc_base"))
    if start <= address < end:
        prog.add_memory_segment(address - start, len(data), read, True)


def put_words(prog: drgn.Program, address: int, *words: int) -> None:
    """64-bit words over the kernel's memory."""
    put(prog, address, struct.pack(f"<{len(words)}Q", *words))
