"""Filesystem worlds: every task of a snapshot is in exactly one, and a query selects it. Pure functions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from typing import NamedTuple

from explorer.model import (
    FsStruct,
    Owner,
    PathRef,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    fields_of,
    is_isolating,
)

__all__ = (
    "WORLD_ORDER",
    "World",
    "WorldKey",
    "Worlds",
    "find_worlds",
    "fs_structs_by_world",
    "world_of",
    "world_of_root",
)


class WorldKey(StrEnum):
    """Which world; in the order in which they are shown."""

    NULLFS = "nullfs"
    """Rooted in the kernel's private nullfs."""
    INIT_FS = "init_fs"
    """Holders of ``init_fs`` on kernels where it is no private world: PID 1 and kernel threads alike."""
    USERSPACE_INIT_FS = "userspace_init_fs"
    """Holders of ``userspace_init_fs``, wherever that is rooted."""
    INIT_ROOT = "init-root"
    """Init's root, through an ``fs_struct`` of its own."""
    CHROOT = "chroot"
    NS_ROOT = "ns-root"
    NULLFS_NS_ROOT = "nullfs-ns-root"
    DETACHED = "detached"
    FAILFS = "failfs"
    INTERNAL = "internal"
    EXITED = "exited"
    UNKNOWN = "unknown"
    """The ``fs_struct`` or its root could not be read."""


WORLD_ORDER = tuple(WorldKey)
_BY_PLACEMENT = {placement: WorldKey(placement.value) for placement in Placement}
_ISOLATED: dict[Owner | None, WorldKey] = {
    None: WorldKey.UNKNOWN,
    Owner.NONE: WorldKey.EXITED,
    Owner.USERSPACE_INIT_FS: WorldKey.USERSPACE_INIT_FS,
}
#: By whether the kernel isolates its threads: the worlds that the owner of a task's ``fs_struct`` tells.
_BY_OWNER = {True: _ISOLATED, False: {**_ISOLATED, Owner.INIT_FS: WorldKey.INIT_FS}}


@dataclass(slots=True)
class World:
    """One world and who lives in it."""

    key: WorldKey
    query: str
    """In the query language: selects the tasks of this world and no others. Empty where no query can."""
    tasks: list[Task] = field(default_factory=list)

    def kinds(self) -> list[tuple[TaskKind | None, int]]:
        """Tasks by kind, most first."""
        return Counter(*fields_of(self.tasks, "kind")).most_common()


class Worlds(NamedTuple):
    """All worlds that have a task in them, and who crosses."""

    worlds: dict[WorldKey, World]
    borrowers: list[Task]

    def get(self, key: WorldKey) -> World:
        """The world of that key; an empty one if nobody lives there."""
        return self.worlds.get(key) or World(key, "")


def world_of(task: Task, snapshot: Snapshot) -> WorldKey:
    """The world a task lives in: by owner where that names one, else by where its root is."""
    named = _BY_OWNER[is_isolating(snapshot.kernel.generation)].get(task.owner)
    return world_of_root(snapshot.fs_of(task)) if named is None else named


def world_of_root(fs: FsStruct | None) -> WorldKey:
    """The world of an ``fs_struct`` that has no name of its own: by where its root is."""
    return _world_of_path(None if fs is None else fs.root)


def _world_of_path(root: PathRef | None) -> WorldKey:
    if root is None or root.placement is None:
        return WorldKey.UNKNOWN
    return _BY_PLACEMENT[root.placement]


def _query(key: WorldKey, isolating: bool) -> str:
    if key is WorldKey.EXITED:
        return "exited"
    if key in (WorldKey.USERSPACE_INIT_FS, WorldKey.INIT_FS):
        return f"owner:{key.value}"
    if key is WorldKey.UNKNOWN:
        return ""
    query = f"placement:{key.value} not owner:userspace_init_fs"
    return query if isolating else f"{query} not owner:init_fs"


def find_worlds(snapshot: Snapshot) -> Worlds:
    """Sort every task into its world: one pass."""
    isolating = is_isolating(snapshot.kernel.generation)
    owned, owners, borrowing = snapshot.owned_and("owner", "borrowing")
    keys = _worlds_of_tasks(snapshot, owned, owners)
    lived_in = set(keys)
    homes: dict[WorldKey, list[Task]] = {key: [] for key in WORLD_ORDER if key in lived_in}
    for task, key in zip(snapshot.tasks, keys, strict=True):
        homes[key].append(task)
    return Worlds(
        {key: World(key, _query(key, isolating), tasks) for key, tasks in homes.items()},
        list(compress(snapshot.tasks, borrowing)),
    )


def fs_structs_by_world(snapshot: Snapshot) -> dict[WorldKey, list[FsStruct]]:
    """Every ``fs_struct``, by the world of the tasks that own it: of those that share one, the first says."""
    owned, owners = snapshot.owned_and("owner")
    keys = _worlds_of_tasks(snapshot, owned, owners)
    home = dict(zip(reversed(owned), reversed(keys), strict=True))
    found: dict[WorldKey, list[FsStruct]] = {key: [] for key in WORLD_ORDER}
    for fs, address in zip(snapshot.fs_structs, *fields_of(snapshot.fs_structs, "address"), strict=True):
        found[home.get(address) or _unheld(fs, snapshot)].append(fs)
    return {key: inside for key, inside in found.items() if inside}


def _worlds_of_tasks(
    snapshot: Snapshot, owned: list[int | None], owners: list[Owner | None]
) -> list[WorldKey]:
    """:func:`world_of` of every task. :param owned: what each owns"""
    addresses, roots = fields_of(snapshot.fs_structs, "address", "root")
    by_root: dict[int | None, WorldKey] = dict(zip(addresses, map(_world_of_path, roots), strict=True))
    named, unknown = _BY_OWNER[is_isolating(snapshot.kernel.generation)], WorldKey.UNKNOWN
    return [
        named.get(owner) or by_root.get(address, unknown)
        for owner, address in zip(owners, owned, strict=True)
    ]


def _unheld(fs: FsStruct, snapshot: Snapshot) -> WorldKey:
    if fs.address == snapshot.kernel.userspace_init_fs:
        return WorldKey.USERSPACE_INIT_FS
    if fs.address == snapshot.kernel.init_fs and not is_isolating(snapshot.kernel.generation):
        return WorldKey.INIT_FS
    return world_of_root(fs)
