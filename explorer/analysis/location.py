"""What an address, a pid, a mount's id or a namespace's inode number is: the objects of a snapshot that have it, or in
which it lies.

An address from an oops or a crash session rarely is an object's own: it points at a member of it, or into a stack. How
large a structure is differs between kernels, so the snapshot says it (``Kernel.struct_sizes``); in one that does not,
only an object's own address is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from explorer.model import (
    Reference,
    Snapshot,
    fs_reference,
    known,
    mount_reference,
    namespace_reference,
    task_reference,
)

__all__ = ("Located", "locate", "parse_address", "tasks_at")

#: As oopses, crash and drgn write it: with or without 0x, and 16 digits or at least so many that it is no pid.
_ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]{16})|0[xX]([0-9a-fA-F]{9,15})")
_NUMBER = re.compile(r"[0-9]{1,10}")
#: A stranger's snapshot may say any size: no structure is larger than a stack with KASAN.
_MAX_SIZE = 1 << 17
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Located:
    """An object, and what the number searched for is to it."""

    reference: Reference
    what: str
    """``pid``, ``task_struct``, ``its kernel stack`` …"""
    offset: int = 0
    """How far behind the beginning of that an address lies."""

    @property
    def words(self) -> str:
        return f"{self.what} +{self.offset:#x}" if self.offset else self.what


def parse_address(text: str) -> int | None:
    """A kernel address as people copy it; ``None`` for what is none."""
    found = _ADDRESS.fullmatch(text.strip().replace("`", ""))
    return None if found is None else int(found[1] or found[2], 16)


def locate(text: str, snapshot: Snapshot) -> list[Located]:
    """Everything that a text names: an address, or a pid, a mount's id or a namespace's inode number.

    At most a thousand; what it is itself comes before what it lies in.
    """
    text = text.strip()
    address = parse_address(text)
    if address is not None:
        found = list(_at(address, snapshot))
        found.sort(key=lambda located: bool(located.offset))
        return found[:_MOST]
    return list(_numbered(int(text), snapshot))[:_MOST] if _NUMBER.fullmatch(text) else []


def tasks_at(text: str, snapshot: Snapshot) -> frozenset[int]:
    """The tasks (by address) that an address has to do with: in which, in whose stack, ``fs_struct``, root or working
    directory, mount or mount namespace it lies. None, if the text is no address."""
    address = parse_address(text)
    if address is None:
        return frozenset()
    objects = {located.reference.address for located in _at(address, snapshot)}
    fs_structs = {
        fs.address
        for fs in snapshot.fs_structs
        if fs.address in objects
        or any(path is not None and path.mount in objects for path in (fs.root, fs.pwd))
    }
    return frozenset(
        task.address
        for task in snapshot.tasks
        if task.address in objects or task.mnt_ns in objects or {task.fs, task.real_fs} & fs_structs
    )


def _numbered(number: int, snapshot: Snapshot) -> Iterator[Located]:
    for task in snapshot.tasks:
        if task.pid == number:
            yield Located(task_reference(task), "pid")
        elif task.tgid == number:
            yield Located(task_reference(task), "tgid")
    for namespace in snapshot.mount_namespaces:
        if namespace.inum == number:
            yield Located(namespace_reference(namespace), "inode number")
    for mount in snapshot.mounts:
        if number in (mount.id, mount.unique_id):
            yield Located(mount_reference(mount), "mnt_id" if number == mount.id else "mnt_id_unique")


class _Within:
    """Whether one address lies in the structures of one type, and where in them."""

    def __init__(self, address: int, snapshot: Snapshot, name: str) -> None:
        size = (snapshot.kernel.struct_sizes or {}).get(name, 1)
        self._address, self._size = address, size if 0 < size <= _MAX_SIZE else 1

    def offset(self, start: int | None) -> int | None:
        """From the start of one; ``None`` outside."""
        offset = -1 if start is None else self._address - start
        return offset if 0 <= offset < self._size else None


def _at(address: int, snapshot: Snapshot) -> Iterator[Located]:
    task_struct = _Within(address, snapshot, "task_struct")
    stack = _Within(address, snapshot, "stack")
    for task in snapshot.tasks:
        if (at := task_struct.offset(task.address)) is not None:
            yield Located(task_reference(task), "task_struct", at)
        if (at := stack.offset(task.stack_base)) is not None:
            yield Located(task_reference(task), "its kernel stack", at)
    yield from _fs_structs(address, snapshot)
    yield from _mounts(address, snapshot)


def _fs_structs(address: int, snapshot: Snapshot) -> Iterator[Located]:
    fs_struct = _Within(address, snapshot, "fs_struct")
    dentry = _Within(address, snapshot, "dentry")
    for fs in snapshot.fs_structs:
        if (at := fs_struct.offset(fs.address)) is not None:
            yield Located(fs_reference(fs, snapshot), "fs_struct", at)
        for name, path in (("root", fs.root), ("pwd", fs.pwd)):
            if path is not None and (at := dentry.offset(path.dentry)) is not None:
                yield Located(fs_reference(fs, snapshot), f"dentry of its {name}", at)


def _mounts(address: int, snapshot: Snapshot) -> Iterator[Located]:
    mnt_namespace = _Within(address, snapshot, "mnt_namespace")
    for namespace in snapshot.mount_namespaces:
        if (at := mnt_namespace.offset(namespace.address)) is not None:
            yield Located(namespace_reference(namespace), "mnt_namespace", at)
    mount_struct = _Within(address, snapshot, "mount")
    super_block = _Within(address, snapshot, "super_block")
    for mount in snapshot.mounts:
        if (at := mount_struct.offset(mount.address)) is not None:
            yield Located(mount_reference(mount), "mount", at)
        if (at := super_block.offset(mount.superblock)) is not None:
            yield Located(mount_reference(mount), f"its super_block {known(mount.dev)}", at)
