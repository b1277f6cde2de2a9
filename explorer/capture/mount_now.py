"""Which mount lies at an address now: of a kernel that runs, where mounts come, go and leave their memory to others.

What lies there is a mount if its root is of its superblock; what two looks in a row find to be the same mount was that
in between.
"""

from __future__ import annotations

from typing import NamedTuple

from explorer.model import Mount, kernel_text

from .memory import (
    ErrorLog,
    Memory,
    MemoryReader,
    ReadError,
    is_kernel_pointer,
    member_offset,
    probe_layout,
    probed,
)
from .paths import MountTable
from .request import CaptureRequest

__all__ = ("MountIdentity", "MountNow")


class MountIdentity(NamedTuple):
    """What tells a mount from another one at the same address."""

    id: int
    unique_id: int | None
    """Never given twice; ``None`` before 6.8."""
    superblock: int
    fstype: str

    @classmethod
    def of(cls, mount: Mount) -> MountIdentity | None:
        """As a snapshot has it; ``None`` where that lacks something."""
        if mount.id is None or mount.superblock is None or mount.fstype is None:
            return None
        return cls(mount.id, mount.unique_id, mount.superblock, mount.fstype)


class MountNow:
    """Reads single mounts, each time anew. :raises LookupError: if the kernel's types lack something"""

    def __init__(self, request: CaptureRequest) -> None:
        self._prog, self._symbols = request.prog, request.symbols
        self._layout = probed(self._prog, "all that is read", probe_layout)
        self._root_superblock = member_offset(self._prog, "dentry", "d_sb")

    def read(self, address: int) -> MountIdentity | None:
        """The mount at an address; ``None``: what lies there is none, or cannot be read."""
        reader = MemoryReader(self._prog)
        memory = Memory(self._prog, reader, self._layout, self._symbols, ErrorLog(), True)
        table = MountTable(memory)
        try:
            mount = table.read_mount(address)
            root = mount.root or 0
            if not is_kernel_pointer(root) or mount.id is None or mount.superblock is None:
                return None
            if reader.read_u64(root + self._root_superblock) != mount.superblock:
                return None
        except ReadError:
            return None
        superblock = table.superblock(mount)
        if superblock is None or superblock.fstype is None:
            return None
        return MountIdentity(mount.id, mount.unique_id, mount.superblock, kernel_text(superblock.fstype))
