"""What there is to say of a mount namespace, and which one a user means. Pure functions.

Mirrors ``struct mnt_namespace`` (fs/mount.h): it lives as long as a task, a mount of nsfs or a file of it holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_

from explorer.analysis.holders import list_holders, namespace_keepers
from explorer.analysis.isolation import KERNEL_KINDS
from explorer.model import (
    Attachment,
    Holder,
    HolderKind,
    KernelText,
    Mount,
    MountNamespace,
    Snapshot,
    Task,
    fields_of,
    hex_address,
    namespace_name,
)
from explorer.naming import join_first, name_tasks

from .overmounts import root_depth, root_stack

__all__ = (
    "NamespaceFacts",
    "NamespaceNotFoundError",
    "find_namespace",
    "holders_through",
    "list_namespaces",
    "namespace_facts",
)

_MOST_LISTED = 5


class NamespaceNotFoundError(LookupError):
    """No namespace, or more than one, is meant; the message says so, for the user."""


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """One mount namespace."""

    namespace: MountNamespace
    is_initial: bool
    tasks: list[Task]
    """Those found in it, the kernel's own last."""
    keepers: list[KernelText]
    """What keeps it where no task is in it; empty: nothing was found, or nobody looked."""
    pins: list[Mount]
    """The mounts of nsfs that keep it, with tasks or without."""
    stack: list[Mount]
    """What lies on its ``/``, from the bottom, as far as it could be read."""
    depth: int | None
    """How many that are; ``None`` if not all of them could be read."""

    @property
    def visible_root(self) -> Mount | None:
        """What ``/`` means in it."""
        return self.stack[-1] if self.depth is not None else None

    @property
    def nr_tasks(self) -> str:
        """How many tasks are in it; ``≥3`` if there may be more that were not found."""
        known = self.namespace.nr_tasks
        return f"≥{len(self.tasks)}" if known is None else str(known)

    @property
    def kept_by(self) -> KernelText:
        """Its tasks, or what keeps it without any: ``a (1) and b (2)``, ``an open file of c (3)``."""
        if self.tasks:
            return name_tasks(self.tasks)
        if self.keepers:
            return join_first(self.keepers)
        if self.namespace.nr_tasks is None:
            return "no task of it was found"
        return "nobody that was found"


def list_namespaces(snapshot: Snapshot) -> list[NamespaceFacts]:
    """All of them: the initial one, the others by inode number, then the anonymous ones."""
    initial = snapshot.kernel.init_mnt_ns
    ordered = sorted(
        snapshot.mount_namespaces,
        key=lambda ns: (bool(ns.anonymous), ns.address != initial, ns.inum or 0, ns.address),
    )
    mounts = _index(snapshot)
    return [_facts(namespace, snapshot, mounts) for namespace in ordered]


def namespace_facts(namespace: MountNamespace, snapshot: Snapshot) -> NamespaceFacts:
    """Of one alone."""
    return _facts(namespace, snapshot, _index(snapshot))


@dataclass(frozen=True, slots=True)
class _Index:
    bound: dict[str, list[Mount]]
    """The mounts of nsfs, by the namespace that is mounted."""
    anonymous: dict[int, list[Mount]]
    """The mounts of anonymous namespaces."""


def _index(snapshot: Snapshot) -> _Index:
    index = _Index({}, {})
    for mount in snapshot.mounts:
        if mount.fstype == "nsfs" and mount.root is not None:
            index.bound.setdefault(mount.root, []).append(mount)
        if mount.attachment is Attachment.ANONYMOUS and mount.mnt_ns is not None:
            index.anonymous.setdefault(mount.mnt_ns, []).append(mount)
    return index


def _facts(namespace: MountNamespace, snapshot: Snapshot, mounts: _Index) -> NamespaceFacts:
    if namespace.anonymous:
        holders = holders_through(mounts.anonymous.get(namespace.address, []))
        keepers = list_holders(holders, snapshot, by_task=False)
    else:
        keepers = namespace_keepers(namespace, snapshot)
    return NamespaceFacts(
        namespace=namespace,
        is_initial=namespace.address == snapshot.kernel.init_mnt_ns,
        tasks=_users_first(snapshot.tasks_by_namespace.get(namespace.address, [])),
        keepers=keepers,
        pins=_pins(namespace, snapshot, mounts),
        stack=root_stack(namespace, snapshot),
        depth=root_depth(namespace, snapshot),
    )


def _users_first(tasks: Sequence[Task]) -> list[Task]:
    """Users' tasks, then the kernel's own: of the initial namespace a hundred thousand, at every key of the screen."""
    [kinds] = fields_of(tasks, "kind")
    others = (None, *KERNEL_KINDS)
    of_users = [kind not in others for kind in kinds]
    return [*compress(tasks, of_users), *compress(tasks, map(not_, of_users))]


def _pins(namespace: MountNamespace, snapshot: Snapshot, mounts: _Index) -> list[Mount]:
    """By what the mounts say they are of, and, where nobody is in it, by what was found to hold it."""
    found = [] if namespace.inum is None else mounts.bound.get(namespace_name(namespace), [])
    held = [snapshot.mount_by_address.get(holder.address) for holder in namespace.holders or ()]
    pins = {mount.address: mount for mount in [*found, *held] if mount is not None}
    return list(pins.values())


def holders_through(mounts: Iterable[Mount]) -> list[Holder]:
    """Who holds an anonymous namespace: whoever holds one of its mounts."""
    held = (mount.holders.holders for mount in mounts if mount.holders is not None)
    return [
        holder
        for holders in held
        for holder in holders
        if holder.kind not in (HolderKind.NAMESPACE, HolderKind.MOUNT)
    ]


def find_namespace(text: str, snapshot: Snapshot) -> MountNamespace:
    """The namespace that a user means: by inode number, as ``mnt:[4026531840]``, or by address (``0x…``).

    :raises NamespaceNotFoundError: if there is none, or more than one
    """
    number = text.removeprefix("mnt:[").removesuffix("]") if text.startswith("mnt:[") else text
    if text.startswith("0x"):
        try:
            address = int(text, 16)
        except ValueError:
            raise NamespaceNotFoundError(f"{text} is no address") from None
        found = [namespace for namespace in snapshot.mount_namespaces if namespace.address == address]
    elif number.isascii() and number.isdecimal() and len(number) <= 20:
        found = [namespace for namespace in snapshot.mount_namespaces if namespace.inum == int(number)]
    else:
        raise NamespaceNotFoundError(
            f"{text} is neither an inode number as in /proc/PID/ns/mnt, nor an address (0x…)"
        )
    if not found:
        raise NamespaceNotFoundError(f"there is no mount namespace {text}")
    if len(found) > 1:
        names = [hex_address(namespace.address) for namespace in found[:_MOST_LISTED]]
        rest = len(found) - len(names)
        more = f" and {rest} more" if rest else ""
        raise NamespaceNotFoundError(
            f"{len(found)} mount namespaces have the number {text}: name one by its address, "
            f"{', '.join(names)}{more}"
        )
    return found[0]
