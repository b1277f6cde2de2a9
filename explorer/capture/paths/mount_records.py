"""The records of mounts and mount namespaces, each made once."""

from __future__ import annotations

from explorer.capture.memory import Memory, RawMount, is_kernel_pointer
from explorer.model import Mount, MountNamespace, kernel_text, made

from .mountinfo import MountInfo
from .mounts import MountTable
from .resolve import PathResolver

__all__ = ("MountRecords",)

_namespace = made(MountNamespace)


class MountRecords:
    """Makes them of what :class:`~.mounts.MountTable` has read."""

    def __init__(self, memory: Memory, mounts: MountTable, paths: PathResolver) -> None:
        self._mounts = mounts
        self._paths = paths
        self._errors = memory.errors
        self._info = MountInfo(memory, mounts, paths)
        self._records: dict[int, Mount] = {}
        self._done: set[int] = set()
        self._knullfs_read = False

    def all(self, knullfs: int | None) -> list[Mount]:
        """All mounts met, by address: those of every namespace seen, what roots and pwds point at, and ``knullfs``."""
        if knullfs is not None and not self._knullfs_read:
            self._knullfs_read = True  # if it cannot be, that is one error, however often this is called
            with self._errors.guard("kernel", "knullfs"):
                self._mounts.read_mount(knullfs)
        while found := [raw for address, raw in self._mounts.mounts.items() if address not in self._done]:
            for raw in found:  # a parent may turn up while a path is walked
                self.mount(raw)
                self._done.add(raw.address)
            for raw in found:
                self._records[raw.address].propagate_from = self._info.propagate_from(raw)
        return [self._records[address] for address in sorted(self._records)]

    def mount(self, raw: RawMount) -> Mount:
        """One mount."""
        known = self._records.get(raw.address)
        if known is not None:
            return known
        where = raw.name
        superblock = self._mounts.superblock(raw)
        values = {
            "address": raw.address,
            "id": raw.id,
            "unique_id": raw.unique_id,
            "parent": raw.parent if raw.parent != raw.address else None,
            "mnt_ns": raw.mnt_ns if is_kernel_pointer(raw.mnt_ns or 0) else None,
            "superblock": raw.superblock,
            "fstype": None
            if superblock is None or superblock.fstype is None
            else kernel_text(superblock.fstype),
            "magic": None if superblock is None else superblock.magic,
            "source": None,
            "mountpoint": None,
            "flags": None if raw.flags is None else raw.flags & 0xFFFFFFFF,
            "overmount": self._mounts.overmount(raw),
            "attachment": self._mounts.attachment(raw),
        }
        values |= self._info.fields(raw)
        values["holders"] = None
        if raw.devname:
            with self._errors.guard(where, "source"):
                values["source"] = kernel_text(self._mounts.string(raw.devname))
        with self._errors.guard(where, "mountpoint"):
            values["mountpoint"] = kernel_text(self._paths.mountpoint_text(raw))
        record = self._records[raw.address] = Mount.build(values)
        return record

    def namespaces(self) -> list[MountNamespace]:
        """All mount namespaces seen, by address."""
        return [
            _namespace(
                address=address,
                inum=raw.inum,
                root=raw.root if is_kernel_pointer(raw.root or 0) else None,
                visible_root=self._mounts.visible_root(raw),
                nr_mounts=len(raw.mounts) if raw.complete else None,
                anonymous=raw.anonymous,
            )
            for address, raw in sorted(self._mounts.namespaces.items())
        ]
