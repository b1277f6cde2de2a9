"""Walk a ``struct idr``: a tree of ``struct xa_node``, each read at once, in a dump that may be damaged.

drgn's own walk follows a node that holds itself for ever. In a tree as the kernel builds it, a child's ``shift`` is
less than its parent's and no node has two parents: what breaks either rule ends the walk.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from operator import index

from drgn import FaultError, Object, Program, TypeKind

__all__ = ("IdrError", "for_each_idr_entry", "for_each_idr_item", "read_idr_entries")

#: More than PID_MAX_LIMIT (4 Mi) entries take, at 64 in a node.
_MAX_NODES = 1 << 17
_BITS_PER_LONG = 64
_INTERNAL_MASK, _INTERNAL = 3, 2  # xa_is_internal()
_LAST_SPECIAL = 4096  # xa_is_node(): internal entries up to here are siblings, retries and zero entries
_SPECIAL = range(_INTERNAL, _LAST_SPECIAL + 1, _INTERNAL_MASK + 1)


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

    def read(address: int, size: int) -> bytes | None:
        try:
            data: bytes = idr.prog_.read(address, size)
        except FaultError as fault:
            if unreadable is None:
                raise
            unreadable(fault)
            return None
        return data

    nodes = _Nodes(idr.prog_, read)
    head, first = _number(idr, "idr_rt", "xa_head"), _number(idr, "idr_base")
    pending = [(head, _BITS_PER_LONG, first)] if head else []
    while pending:
        entry, shift_above, id_ = pending.pop()
        if entry & _INTERNAL_MASK != _INTERNAL:
            yield id_, entry
        elif entry > _LAST_SPECIAL:
            shift, slots = nodes.read(entry - _INTERNAL, shift_above)
            children = enumerate(slots)
            pending += reversed([(child, shift, id_ + (slot << shift)) for slot, child in children if child])


def read_idr_entries(idr: Object, read: Callable[[int, int], bytes | None]) -> set[int]:
    """The pointers in ``idr``, as :func:`for_each_idr_item` finds them, without their ids: a node at a time.

    A node must point back at the one it hangs from, and have as many entries as it counts: what was lost or overwritten
    is not taken for empty.

    :param read: memory by address and size; ``None`` where it is not there: the walk goes on beside that node
    :raises IdrError: if the nodes are no tree
    """
    nodes = _Nodes(idr.prog_, read)
    found: list[int] = []
    pending = [(_number(idr, "idr_rt", "xa_head"), _BITS_PER_LONG, 0)]
    while pending:
        entry, shift_above, parent = pending.pop()
        if entry & _INTERNAL_MASK != _INTERNAL:
            found.append(entry)
        elif entry > _LAST_SPECIAL:
            node = entry - _INTERNAL
            shift, slots = nodes.read(node, shift_above, parent)
            if shift:
                pending += [(child, shift, node) for child in slots if child]
            else:
                found += slots
    entries = set(found)
    entries.discard(0)
    entries.difference_update(_SPECIAL)
    return entries


def _number(of: Object, *members: str) -> int:
    """A member that is a number or a pointer. :raises IdrError: if the types, which may be damaged, have none there"""
    try:
        for member in members:
            of = of.member_(member)
        return index(of.value_())
    except (LookupError, TypeError, ValueError) as error:
        raise IdrError(f"the types have no radix tree: {error}") from error


class _Nodes:
    """Reads the ``struct xa_node`` of one tree, each once."""

    def __init__(self, prog: Program, read: Callable[[int, int], bytes | None]) -> None:
        node = prog.type("struct xa_node")
        shift, slots = node.member("shift"), node.member("slots")
        if slots.type.kind is not TypeKind.ARRAY:
            raise IdrError(f"the types have no radix tree: slots of a node are {slots.type.type_name()}")
        self._parent_at, self._count_at = node.member("parent").offset, node.member("count").offset
        self._read = read
        self._shift_at, self._slots_at = shift.offset, slots.offset
        self._slots = struct.Struct(f"<{slots.type.length}Q")
        self._seen: set[int] = set()

    def read(self, node: int, shift_above: int, parent: int | None = None) -> tuple[int, tuple[int, ...]]:
        """``shift`` and ``slots``; no slots if it is not there.

        :param parent: what it has to hang from, and then as many entries as it counts; ``None``: that is not asked
        """
        if node in self._seen or len(self._seen) >= _MAX_NODES:
            raise IdrError(
                f"the radix tree runs in a circle at 0x{node:x}, or has more than {_MAX_NODES} nodes"
            )
        self._seen.add(node)
        data = self._read(node, self._slots_at + self._slots.size)
        if data is None:
            return 0, ()
        slots = self._slots.unpack_from(data, self._slots_at)
        if parent is not None:
            entries = len(slots) - slots.count(0)
            if parent != int.from_bytes(data[self._parent_at :][:8], "little"):
                raise IdrError(f"node 0x{node:x} of the radix tree does not point at the one it hangs from")
            if not entries or entries != data[self._count_at]:
                raise IdrError(
                    f"node 0x{node:x} of the radix tree has {entries} entries, not as many as it says"
                )
        shift = data[self._shift_at]
        if shift >= shift_above:
            raise IdrError(f"node 0x{node:x} of the radix tree is above the one it hangs from")
        return shift, slots
