"""Two snapshots side by side: which object is which, and what to call it. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from explorer.model import (
    Attachment,
    Change,
    Fact,
    Mount,
    MountNamespace,
    PathRef,
    Placement,
    Snapshot,
    Task,
    fs_name,
    global_fs,
    hex_address,
    known,
    namespace_name,
)

from .matching import (
    Pairs,
    knows_less,
    match_mounts,
    match_namespaces,
    match_tasks,
    perhaps_moved,
    same_records,
)

__all__ = ("SideBySide", "changed_values", "describe_mount")


def changed_values(*facts: tuple[Fact, str | None, str | None]) -> Iterator[Change]:
    """The facts (what, before, after) that differ."""
    for what, before, after in facts:
        if before != after:
            yield Change(what=what, before=before, after=after)


def describe_mount(mount: Mount, snapshot: Snapshot) -> str:
    """``tmpfs /run (tmpfs, id 35 in mnt:[4026531832])``: type, place, source, and what it hangs on."""
    namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
    if mount.attachment is Attachment.NAMESPACE:
        where = "in ?" if namespace is None else f"in {namespace_name(namespace)}"
    else:
        where = "in ?" if mount.attachment is None else mount.attachment.value
    return f"{mount.fstype or '?'} {mount.mountpoint or '?'} ({mount.source or 'none'}, id {known(mount.id)} {where})"


@dataclass(slots=True)
class SideBySide:
    """Snapshots ``a`` (before) and ``b`` (after), their objects matched."""

    a: Snapshot
    b: Snapshot
    same_boot: bool
    tasks: Pairs[Task] = field(init=False)
    mounts: Pairs[Mount] = field(init=False)
    namespaces: Pairs[MountNamespace] = field(init=False)
    knows_less: bool = field(init=False)
    """One of the two is of /proc: what that does not tell has not changed, and an address there is a number."""
    partners: dict[int, int] = field(init=False)
    """Address of a mount or namespace in ``a`` -> in ``b``."""

    def __post_init__(self) -> None:
        self.knows_less = knows_less(self.a, self.b)
        self.tasks = match_tasks(self.a, self.b, self.same_boot)
        self.mounts = match_mounts(self.a, self.b, self.same_boot)
        self.namespaces = match_namespaces(self.a, self.b, self.same_boot)
        self.partners = {before.address: after.address for before, after in self.mounts.both}
        self.partners |= {before.address: after.address for before, after in self.namespaces.both}

    def tasks_to_compare(self) -> Iterable[tuple[Task, Task]]:
        """All pairs of tasks that may differ: frames of a recording share the records of which nothing changed.

        What is shared is called by the same names in both where mounts and namespaces are shared, too.
        """
        a, b = self.a, self.b
        is_shared = (
            self.same_boot
            and not self.knows_less
            and global_fs(a.kernel) == global_fs(b.kernel)
            and same_records(a.mounts, b.mounts)
            and same_records(a.mount_namespaces, b.mount_namespaces)
        )
        if not is_shared or any(self.partners.get(task.mnt_ns or 0) != task.mnt_ns for task in a.tasks):
            return self.tasks.both
        return perhaps_moved(self.tasks, a, b)

    def place(self, path: PathRef | None, snapshot: Snapshot, is_root: bool = True) -> str | None:
        """``init-root rootfs:/srv``; with the mount's id where that means the same in both snapshots.

        :param is_root: of a working directory ``chroot`` only says that it is no root, and is left out
        """
        if path is None:
            return None
        mount = snapshot.mount_by_address.get(path.mount) if self.same_boot else None
        number = "" if mount is None else f"#{known(mount.id)}"
        placement = "? " if path.placement is None else f"{path.placement.value} "
        if path.placement is Placement.CHROOT and not is_root:
            placement = ""
        return f"{placement}{path.fstype or '?'}{number}:{path.path or '?'}"

    def path_change(
        self, what: Fact, old: PathRef | None, new: PathRef | None, is_root: bool = True
    ) -> Iterator[Change]:
        if self.same_boot and old is not None and new is not None and _is_left_by_init(old, new):
            return  # PID 1 has moved, and is told of; who stayed where it was has not
        if self.knows_less and self.same_boot and self._may_be_one(old, new):
            return
        before, after = self.place(old, self.a, is_root), self.place(new, self.b, is_root)
        if before == after and old is not None and new is not None and self.same_boot:
            # Within one boot a place is its mount and dentry, whatever it is called.
            if (old.mount, old.dentry) == (new.mount, new.dentry):
                return
            after = f"{after} (another one of that name)"
        if before != after:
            yield Change(what=what, before=before, after=after)

    def _may_be_one(self, old: PathRef | None, new: PathRef | None) -> bool:
        """Nothing that both tell of a place is different."""
        if old is None or new is None:
            return True
        mounts = [self.a.mount_by_address.get(old.mount), self.b.mount_by_address.get(new.mount)]
        ids = [None if mount is None else mount.id for mount in mounts]
        told = ((old.placement, new.placement), (old.fstype, new.fstype), (old.path, new.path), ids)
        return all(None in both or both[0] == both[1] for both in told)

    def changed(self, *facts: tuple[Fact, str | None, str | None]) -> Iterator[Change]:
        """As :func:`changed_values`; of what only one of the two can tell, nothing."""
        return changed_values(*(fact for fact in facts if not self.knows_less or None not in fact))

    def fs_name(self, address: int, snapshot: Snapshot) -> str:
        return fs_name(address, snapshot.kernel)

    def reference_change(self, what: Fact, old: int | None, new: int | None) -> Iterator[Change]:
        """A pointer to a mount namespace or mount: changed if the two are not the same object."""
        if old is None and new is None:
            return
        if self.knows_less and (old is None or new is None):
            return
        partner = None if old is None else self.partners.get(old)
        if partner is None or partner != new:
            yield Change(what=what, before=self.object_name(old, self.a), after=self.object_name(new, self.b))

    def object_name(self, address: int | None, snapshot: Snapshot) -> str | None:
        if address is None:
            return None
        mount = snapshot.mount_by_address.get(address)
        if mount is not None:
            return describe_mount(mount, snapshot)
        namespace = snapshot.namespace_by_address.get(address)
        return hex_address(address) if namespace is None else namespace_name(namespace)


#: What these say is said in relation to PID 1: they change with its root, and with no move of the task's own.
_RELATIVE = frozenset({Placement.INIT_ROOT, Placement.NS_ROOT, Placement.CHROOT})


def _is_left_by_init(old: PathRef, new: PathRef) -> bool:
    """Whether it is one place, of which only one of the two says that it is init's root."""
    placements = {old.placement, new.placement}
    same = (old.mount, old.dentry, old.path) == (new.mount, new.dentry, new.path)
    return same and Placement.INIT_ROOT in placements and placements < _RELATIVE
