"""The entries of a maple tree: the mappings of an address space (``mm_struct.mm_mt``, 6.1 on).

Mirrors lib/maple_tree.c: a pointer to a node has the node's kind in bits 3 to 6; a node's last pivot in use is its own
end, or 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from explorer.capture.memory import MemoryReader, ReadError, is_kernel_pointer

from .layout import MapleNode, MapleNodes

__all__ = ("maple_entries",)

_NODE_MASK = 0xFF
_LEAF, _RANGE, _ARANGE = 1, 2, 3  # enum maple_type
#: A process has at most 65530 mappings by default (vm.max_map_count), and seldom more.
_MAX_NODES = 1_000_000
_ULONG_MAX = (1 << 64) - 1


def maple_entries(reader: MemoryReader, nodes: MapleNodes, root: int) -> Iterator[int]:
    """Every entry that is a pointer. :raises ReadError: where the tree cannot be followed"""
    if not root:
        return
    if not _is_node(root):
        if is_kernel_pointer(root):
            yield root
        return
    seen: set[int] = set()
    todo = [(root, _ULONG_MAX)]
    while todo:
        pointer, end = todo.pop()
        address, kind = pointer & ~_NODE_MASK, pointer >> 3 & 0xF
        if address in seen or len(seen) >= _MAX_NODES:
            raise ReadError(f"the maple tree runs in a circle at 0x{address:x}")
        seen.add(address)
        if kind not in (_LEAF, _RANGE, _ARANGE):
            raise ReadError(f"0x{pointer:x} is no node of a maple tree")
        node = nodes.arange if kind == _ARANGE else nodes.range
        for slot, last in _slots(reader.read(address, node.size), node, end):
            if kind == _LEAF:
                if is_kernel_pointer(slot) and not slot & 3:
                    yield slot
            elif slot:
                todo.append((slot, last))


def _is_node(entry: int) -> bool:
    """``xa_is_node()``: internal, and no error."""
    return entry & 3 == 2 and entry > 4096


def _slots(data: bytes, node: MapleNode, end: int) -> Iterator[tuple[int, int]]:
    """The slots in use, and the last index that each is about."""
    pivots = struct.unpack_from(f"<{node.nr_pivots}Q", data, node.pivots)
    slots = struct.unpack_from(f"<{node.nr_slots}Q", data, node.slots)
    for index, slot in enumerate(slots):
        last = pivots[index] if index < node.nr_pivots else end
        if index and not last:
            last = end
        yield slot, last
        if last >= end:
            return
