"""Every mount namespace of the kernel, whether a task is in it or not.

Mirrors ``mnt_ns_tree`` of fs/namespace.c (6.11) and kernel/nstree.c (6.18): an rb-tree of all that are not anonymous.
Before that the kernel keeps none: then their mounts lead to them (:mod:`.superblocks`).
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import Memory, ReadError, find_member, is_kernel_pointer

from .mounts import MountTable

__all__ = ("load_namespaces",)

_MAX_NAMESPACES = 1_000_000
_LIVE_ATTEMPTS = 4
_NODES = ("mnt_ns_tree_node", "ns.ns_tree_node.ns_node", "ns.ns_tree_node")
#: The structure around the tree, and the tree in it.
_ROOTS = (("ns_tree_root", "ns_rb"), ("ns_tree", "ns_tree"))


class _Tree(NamedTuple):
    root: int
    """The address of the ``rb_root.rb_node``."""
    node: int
    """Where the ``rb_node`` lies in a ``struct mnt_namespace``."""
    left: int
    right: int


def _find_tree(memory: Memory) -> _Tree | None:
    """:raises LookupError: if the kernel has a tree, and its types do not say how it is made"""
    root = memory.symbols.symbol_address("mnt_ns_tree")
    if root is None:
        return None
    prog = memory.prog
    rb_node = prog.type("struct rb_node")
    node = find_member(prog.type("struct mnt_namespace"), *_NODES)
    left, right = find_member(rb_node, "rb_left"), find_member(rb_node, "rb_right")
    if node is None or node.type.type_name() != "struct rb_node" or left is None or right is None:
        raise LookupError("this kernel's struct mnt_namespace has no node of mnt_ns_tree")
    return _Tree(root + _root_offset(prog), node.offset, left.offset, right.offset)


def _root_offset(prog: drgn.Program) -> int:
    """Where the ``rb_root`` lies in the variable: it was one itself at first."""
    for name, member in _ROOTS:
        try:
            found = find_member(prog.type(f"struct {name}"), member)
        except LookupError:
            continue
        if found is not None and found.type.type_name() == "struct rb_root":
            return found.offset
    return 0


def load_namespaces(memory: Memory, mounts: MountTable) -> None:
    """Load every namespace of the tree, where this kernel has one.

    What cannot be reached is in the error log. A kernel that runs may change the tree meanwhile: it is walked again.
    """
    where, what = "mount namespaces", "tree"
    try:
        tree = _find_tree(memory)
    except LookupError as error:
        memory.errors.add(where, what, str(error))
        return
    if tree is None:
        return
    found: dict[int, None] = {}
    faults: list[str] = []
    for _ in range(_LIVE_ATTEMPTS if memory.live else 1):
        faults = _walk(memory, tree, found)
        if not faults:
            break
    for why in faults:
        memory.errors.add(where, what, why)
    for namespace in found:
        mounts.load_namespace(namespace)


def _walk(memory: Memory, tree: _Tree, found: dict[int, None]) -> list[str]:
    """Add what is in the tree; say what of it could not be reached."""
    faults: list[str] = []
    seen: set[int] = set()
    todo = [tree.root]
    while todo:
        at = todo.pop()
        try:
            node = memory.reader.read_u64(at)
            if not node:
                continue
            if not is_kernel_pointer(node):
                raise ReadError(f"0x{node:x} is no kernel pointer")
            if node in seen or len(seen) >= _MAX_NAMESPACES:
                raise ReadError(f"the tree of mount namespaces runs in a circle at 0x{node:x}")
        except ReadError as error:
            faults.append(str(error))
            continue
        seen.add(node)
        found[node - tree.node] = None
        todo += [node + tree.left, node + tree.right]
    return faults
