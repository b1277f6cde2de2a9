"""What is stacked on ``/``: the mounts that hide one another there."""

from __future__ import annotations

from explorer.model import Mount, MountNamespace, Snapshot

__all__ = ("overmount_stack", "root_depth", "root_stack")

#: A kernel's own stack has two or three; a damaged one may name a thousand.
_MAX_STACK = 1000


def overmount_stack(snapshot: Snapshot) -> list[Mount]:
    """The mounts on ``/`` of the initial mount namespace, from the bottom.

    Empty if the namespace, or its root, could not be read.
    """
    namespace = snapshot.namespace_by_address.get(snapshot.kernel.init_mnt_ns or 0)
    return [] if namespace is None else root_stack(namespace, snapshot)


def root_stack(namespace: MountNamespace, snapshot: Snapshot) -> list[Mount]:
    """The mounts on ``/`` of a namespace, from the bottom: ``mnt_ns->root``, then what covers it."""
    stack: dict[int, Mount] = {}
    address = namespace.root
    while address is not None and address not in stack and len(stack) < _MAX_STACK:
        mount = snapshot.mount_by_address.get(address)
        if mount is None:
            break
        stack[address] = mount
        address = mount.overmount
    return list(stack.values())


def root_depth(namespace: MountNamespace, snapshot: Snapshot) -> int | None:
    """How many mounts lie on ``/`` of a namespace, one over the other; ``None`` if not all of them could be read."""
    stack = root_stack(namespace, snapshot)
    return len(stack) if stack and stack[-1].address == namespace.visible_root else None
