"""Walk a ``struct idr``: a tree of ``struct xa_node``, each read at once, in a dump that may be damaged.

drgn's own walk follows a node that holds itself for ever. In a tree as the kernel builds it, a child's ``shift`` is
less than its parent's and no node has two parents: what breaks either rule ends the walk.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from drgn import FaultError, Object, Program

__all__ = ("IdrError", "for_each_idr_entry", "for_each_idr_item")

#: More than PID_MAX_LIMIT (4 Mi) entries take, at 64 in a node.
_MAX_NODES = 1 << 17
_BITS_PER_LONG = 64
_INTERNAL_MASK, _INTERNAL = 3, 2  # xa_is_internal()
_LAST_SPECIAL = 4096  # xa_is_node(): internal entries up to here are siblings, retries and zero entries


class IdrError(ValueError):
    """The tree is not one; the message says why."""


def for_each_idr_entry(idr: Object) -> Iterator[int]:
    """The pointers in ``idr`` (a ``struct idr``) in the order of their ids.

    :raises drgn.FaultError: if a node cannot be read
    :raises IdrError: if the nodes are no tree
    """
    for _, entry in for_each_idr_item(idr):
        yield entry


def for_each_idr_item(
    idr: Object, unreadable: Callable[[FaultError], None] | None = None
) -> Iterator[tuple[int, int]]:
    """The ids in ``idr`` (a ``struct idr``) and their pointers, in order.

    Mirrors ``idr_for_each()`` of lib/idr.c and ``radix_tree_next_chunk()`` of lib/radix-tree.c.

    :param unreadable: told of each node that cannot be read; the walk goes on beside it
    :raises drgn.FaultError: if a node cannot be read, and nobody wants to be told
    :raises IdrError: if the nodes are no tree
    """
    prog = idr.prog_
    shift_at, slots_at, slots = _probe(prog)
    head, first = idr.idr_rt.xa_head.value_(), idr.idr_base.value_()
    pending = [(head, _BITS_PER_LONG, first)] if head else []
    seen: set[int] = set()
    while pending:
        entry, shift_above, id_ = pending.pop()
        if entry & _INTERNAL_MASK != _INTERNAL:
            yield id_, entry
            continue
        if entry <= _LAST_SPECIAL:
            continue
        node = entry - _INTERNAL
        if node in seen or len(seen) >= _MAX_NODES:
            raise IdrError(
                f"the radix tree runs in a circle at 0x{node:x}, or has more than {_MAX_NODES} nodes"
            )
        seen.add(node)
        try:
            data = prog.read(node, slots_at + slots.size)
        except FaultError as fault:
            if unreadable is None:
                raise
            unreadable(fault)
            continue
        shift = data[shift_at]
        if shift >= shift_above:
            raise IdrError(f"node 0x{node:x} of the radix tree is above the one it hangs from")
        children = enumerate(slots.unpack_from(data, slots_at))
        pending += reversed([(child, shift, id_ + (slot << shift)) for slot, child in children if child])


def _probe(prog: Program) -> tuple[int, int, struct.Struct]:
    """Byte offset of ``shift``, byte offset of ``slots``, and how to read those."""
    node = prog.type("struct xa_node")
    shift, slots = node.member("shift"), node.member("slots")
    return shift.offset, slots.offset, struct.Struct(f"<{slots.type.length}Q")
