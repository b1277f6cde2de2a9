"""Reference accounting: does ``fs_struct.users`` agree with the tasks that hold it? Pure functions."""

from __future__ import annotations

from typing import NamedTuple

from explorer.model import FsStruct, Generation, Snapshot

__all__ = ("Books", "books_of", "expected_users", "reconcile")


class Books(NamedTuple):
    """The books of one ``fs_struct``: the kernel's count of its users, and the holders found."""

    fs: FsStruct
    expected: int
    """Holders found, and one for the global pointer where it holds a reference."""

    @property
    def balanced(self) -> bool:
        """The kernel's count is known, and is what was found."""
        return self.fs.users == self.expected

    @property
    def differ(self) -> bool:
        """The kernel's count is known, and is not what was found."""
        return self.fs.users is not None and not self.balanced

    @property
    def label(self) -> str:
        """``59=59``: the kernel's count and what was found; ``60≠59`` where they differ."""
        if self.fs.users is None:
            return f"?/{self.expected}"
        return f"{self.fs.users}{'=' if self.balanced else '≠'}{self.expected}"


def expected_users(fs: FsStruct, snapshot: Snapshot) -> int:
    """What ``users`` should be: one per owner, plus one for the global ``userspace_init_fs`` pointer (7.3).

    Mirrors ``init_userspace_fs()``. Transient references (setns, unshare, a usermodehelper before exec) come
    on top and are not foreseen here.
    """
    pointer = (
        snapshot.kernel.generation is Generation.ISOLATED and fs.address == snapshot.kernel.userspace_init_fs
    )
    return fs.sharers + (1 if pointer else 0)


def books_of(fs: FsStruct, snapshot: Snapshot) -> Books:
    """The books of one ``fs_struct``."""
    return Books(fs, expected_users(fs, snapshot))


def reconcile(snapshot: Snapshot) -> list[Books]:
    """The books of every ``fs_struct`` in the snapshot, in its order."""
    return [books_of(fs, snapshot) for fs in snapshot.fs_structs]
