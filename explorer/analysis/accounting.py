"""Reference accounting: does ``fs_struct.users`` agree with the tasks that hold it? Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.model import FsStruct, Generation, Snapshot

__all__ = ("Reference", "expected_users", "reconcile")


@dataclass(frozen=True, slots=True)
class Reference:
    """The books of one ``fs_struct``."""

    fs: FsStruct
    expected: int
    """Holders found, and one for the global pointer where it holds a reference."""

    @property
    def balanced(self) -> bool:
        return self.fs.users == self.expected


def expected_users(fs: FsStruct, snapshot: Snapshot) -> int:
    """What ``users`` should be: one per owner, plus one for the global ``userspace_init_fs`` pointer (7.3).

    Mirrors ``init_userspace_fs()``. Transient references (setns, unshare, a usermodehelper before exec) come
    on top and are not foreseen here.
    """
    pointer = (
        snapshot.kernel.generation is Generation.ISOLATED and fs.address == snapshot.kernel.userspace_init_fs
    )
    return fs.sharers + (1 if pointer else 0)


def reconcile(snapshot: Snapshot) -> list[Reference]:
    """The books of every ``fs_struct`` in the snapshot, in its order."""
    return [Reference(fs, expected_users(fs, snapshot)) for fs in snapshot.fs_structs]
