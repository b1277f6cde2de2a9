"""The records of fs_structs, mounts and namespaces, and of every ``struct path`` in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from explorer.capture.memory import Memory, RawFs, is_kernel_pointer
from explorer.capture.paths import MountRecords, MountTable, PathResolver
from explorer.model import (
    NULL_FS_MAGIC,
    ColumnTable,
    FsStruct,
    Mount,
    MountNamespace,
    PathRef,
    Placement,
    PlacementContext,
    classify_path,
    defer_records,
    is_isolating,
    kernel_text,
)

from .ownership import Ownership, RawKernel

__all__ = ("RecordBuilder",)

_USERS, _SEQ = map(RawFs._fields.index, ("users", "seq"))  # behind them is what many have alike
#: Of one that could not be read.
_UNREAD = {"umask": None, "in_exec": None, "unstable": False, "root": None, "pwd": None}


class RecordBuilder:
    """Makes them: what the records are decided against (who shares what, where init's root is, what isolates) first."""

    def __init__(self, memory: Memory, mounts: MountTable, paths: PathResolver, raw: RawKernel) -> None:
        self._memory = memory
        self._errors = memory.errors
        self._mounts = mounts
        self._raw = raw
        self.ownership = Ownership(raw, memory.layout.has_real_fs)
        self.paths = paths
        self._mount_records = MountRecords(memory, mounts, self.paths)
        # A hundred thousand fs_structs have a few paths.
        self._path_refs: dict[tuple[int | None, int | None], PathRef] = {}
        known = raw.known
        self.knullfs = None if known.knullfs is None else mounts.from_vfsmount(known.knullfs)
        isolation_mount, isolation_known = self._isolation_mount()
        init = self._fs_of_pid1()
        self.init_root = self._root_of(raw.fs_structs.get(init or 0))
        self.kernel_root = self._root_the_kernel_uses()
        if not init and self._is_pid1s(isolation_mount, isolation_known):
            init, self.init_root = known.userspace_init_fs, self.kernel_root
        namespaces = self.build_namespaces()
        self._context = PlacementContext(
            isolation_mount=isolation_mount,
            isolation_mount_known=isolation_known,
            init_root=self.init_root,
            init_root_known=self.init_root is not None
            or not (init or raw.tasks.lost or self._init_is_partial()),
            namespaces={namespace.address: namespace for namespace in namespaces},
        )

    def _isolation_mount(self) -> tuple[int | None, bool]:
        """``knullfs``; where there is no such variable, the nullfs that init_task's root is on; and if it is known."""
        if self.knullfs is not None:
            return self.knullfs, True
        if not is_isolating(self._raw.known.generation):
            return None, True
        init_task = self._raw.init_task
        fs = None
        if init_task is not None:
            fs = self._raw.fs_structs.get(self.ownership.owned_fs(init_task) or 0)
        if fs is None or fs.root_mnt is None:
            return None, False
        with self._errors.guard("kernel", "isolation mount"):
            mount = self._mounts.read_mount(self._mounts.from_vfsmount(fs.root_mnt))
            superblock = self._mounts.superblock(mount)
            if superblock is not None and superblock.magic is not None:
                return (mount.address if superblock.magic == NULL_FS_MAGIC else None), True
        return None, False

    def _fs_of_pid1(self) -> int | None:
        """What PID 1 owns; another of its threads, if its leader has exited."""
        owned = self.ownership.owned_fs
        leader = next((task for task in self._raw.tasks.all() if task.pid == 1), None)  # one of the first
        of_leader = None if leader is None else owned(leader)
        if of_leader or (of_leader is None and leader is not None):
            return of_leader
        return next((fs for task in self._raw.tasks.all() if task.tgid == 1 and (fs := owned(task))), None)

    def _root_the_kernel_uses(self) -> tuple[int, int] | None:
        """Where lookups of the kernel's own begin: the root of ``userspace_init_fs``, of ``init_fs`` before that."""
        known = self._raw.known
        if is_isolating(known.generation):
            return self._root_of(self._raw.fs_structs.get(known.userspace_init_fs or 0))
        if known.init_fs is None:
            return self.init_root
        return self._root_of(self._raw.fs_structs.get(known.init_fs))

    def _is_pid1s(self, isolation_mount: int | None, isolation_known: bool) -> bool:
        """Whether ``userspace_init_fs`` is that of a PID 1 that could not be read: the kernel moves it into nullfs
        when PID 1 leaves it, and at no other time."""
        if not is_isolating(self._raw.known.generation) or self.kernel_root is None:
            return False
        return isolation_known and self.kernel_root[0] != isolation_mount

    def _init_is_partial(self) -> bool:
        return any(task.pid == 1 for task in self._raw.tasks.partial.values())

    def _root_of(self, fs: RawFs | None) -> tuple[int, int] | None:
        """Mount and dentry of a root."""
        if fs is None or fs.root_mnt is None or fs.root_dentry is None:
            return None
        return self._mounts.from_vfsmount(fs.root_mnt), fs.root_dentry

    def build_fs_structs(self) -> list[FsStruct]:
        """All fs_structs, by address. One that could not be read still says who shares it."""
        # Most tasks of a large machine have one, and most of these are like another one in all but four values.
        by_address, sharers = self._raw.fs_structs, self.ownership.sharers
        alike: dict[tuple[object, ...], dict[str, Any]] = {}
        addresses = sorted(by_address)
        rows: list[dict[str, Any]] = []
        for address in addresses:
            raw = by_address[address]
            if raw is None:
                rows.append(_UNREAD)
                continue
            kind = raw[_SEQ + 1 :]
            values = alike.get(kind)
            if values is None:
                values = self._fs_values(raw)
                if self._is_like_others(raw):
                    alike[kind] = values
            rows.append(values)
        own: dict[str, Callable[[], list[Any]]] = {
            "address": lambda: addresses,
            "users": partial(_members, by_address, addresses, _USERS),
            "sharers": lambda: [sharers[address] for address in addresses],
            "seq": partial(_members, by_address, addresses, _SEQ),
        }
        return defer_records(FsStruct, ColumnTable(FsStruct.model_fields, rows, own), len(rows))

    def _is_like_others(self, raw: RawFs) -> bool:
        """Whether those with the same values behind the counts have the same paths, without an error of their own."""
        refs = self._path_refs
        return (
            not raw.unstable
            and (raw.root_mnt, raw.root_dentry) in refs
            and (raw.pwd_mnt, raw.pwd_dentry) in refs
        )

    def _fs_values(self, raw: RawFs) -> dict[str, Any]:
        """What it may have in common with others."""
        where = f"fs_struct 0x{raw.address:x}"
        if raw.unstable:
            self._errors.add(where, "root and pwd", "it changed at every attempt to read it")
        return {
            "umask": None if raw.umask is None else f"{raw.umask:04o}",
            "in_exec": raw.in_exec,
            "unstable": raw.unstable,
            "root": self._fs_path(where, raw.root_mnt, raw.root_dentry),
            "pwd": self._fs_path(where, raw.pwd_mnt, raw.pwd_dentry),
        }

    def _fs_path(self, where: str, vfsmount: int | None, dentry: int | None) -> PathRef | None:
        if vfsmount is None or dentry is None:
            return None  # an entry of the fs_struct says so
        return self.path_ref(where, vfsmount, dentry)

    def path_ref(self, where: str, vfsmount: int, dentry: int) -> PathRef | None:
        """A ``struct path``; ``None`` and an error entry if its pointers cannot be pointers.

        A hundred thousand fs_structs hold a few dozen distinct paths: one record serves all of them.
        """
        known = self._path_refs.get((vfsmount, dentry))
        if known is not None:
            return known
        if not is_kernel_pointer(vfsmount) or not is_kernel_pointer(dentry):
            self._errors.add(where, "path", f"mnt 0x{vfsmount:x}, dentry 0x{dentry:x}: no kernel pointers")
            return None
        address = self._mounts.from_vfsmount(vfsmount)
        values = dict.fromkeys(PathRef.model_fields) | {"mount": address, "dentry": dentry}
        if address == self._context.isolation_mount:
            values["placement"] = Placement.NULLFS  # by its address alone
        with self._errors.guard(where, "mount"):
            mount = self._mounts.read_mount(address)
            record = self._mount_records.mount(mount)
            values["fstype"] = record.fstype
            values["placement"] = classify_path(record, dentry, mount.root, self._context)
        if values["fstype"] is not None:
            with self._errors.guard(where, "path"):
                values["path"] = kernel_text(self.paths.path_text(address, dentry))
        path = PathRef.build(values)
        if path.path is not None:  # what failed is tried again, and is an error entry for each holder
            self._path_refs[vfsmount, dentry] = path
        return path

    def build_mounts(self) -> list[Mount]:
        """All mounts met, by address: those of every namespace seen, and what roots and pwds point at."""
        return self._mount_records.all(self.knullfs)

    def build_namespaces(self) -> list[MountNamespace]:
        """All mount namespaces seen, by address."""
        return self._mount_records.namespaces()


def _members(
    fs_structs: Mapping[int, RawFs | None], addresses: Sequence[int], index: int
) -> list[int | None]:
    """A column of what each has of its own."""
    there = map(fs_structs.__getitem__, addresses)
    return [None if raw is None else raw[index] for raw in there]
