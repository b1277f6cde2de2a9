"""What keeps a mount from going away: its namespace with whoever is in it, and its holders. Pure functions.

Mirrors ``mount.mnt_ns`` and ``mnt_count`` (fs/mount.h). Who holds a mount is read where it was asked for; of all others
a snapshot still knows whose root and whose working directory is on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from explorer.analysis.holders import list_holders, unexplained_words
from explorer.model import (
    Attachment,
    FsStruct,
    Holder,
    HolderKind,
    HolderUse,
    KernelText,
    Mount,
    PathRef,
    Snapshot,
    UseHow,
)

from .namespaces import NamespaceFacts, list_namespaces

__all__ = ("Keepers", "Kept")

_PLACES: tuple[tuple[HolderKind, UseHow, Callable[[FsStruct], PathRef | None]], ...] = (
    (HolderKind.ROOT, "root", lambda fs: fs.root),
    (HolderKind.PWD, "pwd", lambda fs: fs.pwd),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What keeps one mount."""

    words: list[KernelText]
    was_read: bool
    """Its holders were: files, programs, mappings and sockets are among them."""


class Keepers:
    """The mounts of one snapshot, with what keeps each."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._rooted: dict[int, int] = {}
        for fs in snapshot.fs_structs:
            if fs.root is not None:
                self._rooted[fs.root.mount] = self._rooted.get(fs.root.mount, 0) + fs.sharers

    @cached_property
    def _places(self) -> dict[int, list[Holder]]:
        """Roots and working directories, by the mount they are on."""
        places: dict[int, list[Holder]] = {}
        for fs in self._snapshot.fs_structs:
            for kind, how, path_of in _PLACES:
                path = path_of(fs)
                if path is None:
                    continue
                tasks = self._snapshot.sharers_by_fs.get(fs.address, [])
                uses = [HolderUse.build({"task": task.address, "how": how, "fd": None}) for task in tasks]
                holder = Holder(kind=kind, address=fs.address, path=path.path, uses=uses, nr_uses=len(uses))
                places.setdefault(path.mount, []).append(holder)
        return places

    @cached_property
    def _namespaces(self) -> dict[int, NamespaceFacts]:
        return {facts.namespace.address: facts for facts in list_namespaces(self._snapshot)}

    def rooted(self, mount: Mount) -> int:
        """How many tasks have their root on it."""
        return self._rooted.get(mount.address, 0)

    def of(self, mount: Mount) -> Kept:
        """What keeps a mount, its namespace first."""
        words = self._namespace_words(mount)
        read = mount.holders
        holders = self._places.get(mount.address, []) if read is None else read.holders
        rest = [holder for holder in holders if holder.kind is not HolderKind.NAMESPACE or not words]
        words = words + list_holders(rest, self._snapshot, by_task=False)
        if read is not None:
            left = unexplained_words(read)
            words += [left] if left else []
            if read.count is None or (read.missing is not None and left):
                words.append("more that could not be read")
        return Kept(words, read is not None)

    def _namespace_words(self, mount: Mount) -> list[KernelText]:
        if mount.attachment is Attachment.INTERNAL:
            return ["the kernel, which made it"]
        if mount.attachment is not Attachment.NAMESPACE:
            return []
        found = self._namespaces.get(mount.mnt_ns or 0)
        if found is None:
            return []
        lone = "no task in it: " if found.namespace.nr_tasks == 0 else ""
        return [f"its namespace ({lone}{found.kept_by})"]
