"""Holes in a kernel's memory, and whether what was read beside them is missing or different.

A hole is laid over a page of a kernel that is open, and taken away again: the page's own content is laid over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import drgn

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Record, Snapshot
from explorer.targets.kernel import OpenKernel

__all__ = ("PAGE", "Holes", "differences", "pages_of", "structures")

PAGE = 4096
#: Counts of what was found, and what only says how it was read.
_COUNTS = frozenset({"sharers"})
#: Of a mount's holders.
_WHY_SOME_ARE_MISSING = "missing"
#: How a setting says that it is not known whether its path is found.
_UNKNOWN = "unknown"
_ARRAYS = ("tasks", "fs_structs", "mounts", "mount_namespaces", "workqueues", "modules", "settings")
_SIZES = {
    "task_struct": "tasks",
    "fs_struct": "fs_structs",
    "mount": "mounts",
    "mnt_namespace": "mount_namespaces",
}


class Holes:
    """A kernel that is open, in which pages can be taken away and given back."""

    def __init__(self, kernel: OpenKernel) -> None:
        self.kernel = kernel
        self.prog = kernel.prog
        symbols = ("page_offset_base", "vmalloc_base")
        self._start, self._end = (self.prog.read_u64(self.prog.symbol(name).address) for name in symbols)
        self._gone: set[int] = set()
        self._known: set[int] = set()

    def capture(self) -> Snapshot:
        self.kernel.types.modules.forget()
        return capture_snapshot(CaptureRequest.from_kernel(self.kernel))

    def is_there(self, page: int) -> bool:
        try:
            self.prog.read(page, PAGE)
        except drgn.FaultError:
            return False
        return True

    @contextmanager
    def hole(self, *pages: int) -> Iterator[None]:
        for page in pages:
            if page not in self._known:
                self._known.add(page)
                self._lay(page)
        self._gone = set(pages)
        try:
            yield
        finally:
            self._gone = set()

    def _lay(self, page: int) -> None:
        content: bytes = self.prog.read(page, PAGE)

        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            if page in self._gone:
                raise drgn.FaultError("not in the dump", address)
            return content[offset : offset + count]

        self.prog.add_memory_segment(page, PAGE, read)
        if self._start <= page < self._end:
            self.prog.add_memory_segment(page - self._start, PAGE, read, True)


def structures(prog: drgn.Program, snapshot: Snapshot) -> dict[str, list[int]]:
    """Addresses of what a snapshot is read from, by the type of it."""
    found = {name: [record.address for record in getattr(snapshot, array)] for name, array in _SIZES.items()}
    found["super_block"] = sorted({mount.superblock for mount in snapshot.mounts if mount.superblock})
    paths = [path for fs in snapshot.fs_structs for path in (fs.root, fs.pwd) if path is not None]
    found["dentry"] = sorted({path.dentry for path in paths})
    threads = [task.address for task in snapshot.tasks if task.kthread is not None]
    privates = (drgn.Object(prog, "struct task_struct", address=at).worker_private for at in threads)
    found["kthread"] = sorted({private.value_() for private in privates})
    return found


def pages_of(prog: drgn.Program, name: str, address: int) -> list[int]:
    """The addresses of the pages that a structure lies on."""
    size = drgn.sizeof(prog.type(f"struct {name}"))
    return list(range(address // PAGE * PAGE, address + size, PAGE))


def differences(whole: Snapshot, holed: Snapshot) -> list[str]:
    """What a snapshot of a kernel with holes says differently than that of the whole one; what it lacks is not that.

    A value that is missing while nothing has an error entry is a difference: nobody would know.
    """
    found = [line for array in _ARRAYS for line in _of_arrays(array, whole, holed)]
    found += _differ("kernel", whole.kernel, holed.kernel)
    lines = set(whole.log)
    found += [f"log: {line!r}" for line in holed.log if line not in lines]
    return found


def _of_arrays(array: str, whole: Snapshot, holed: Snapshot) -> Iterator[str]:
    records = {_key(record): record for record in getattr(whole, array)}
    missing = set(records)
    for record in getattr(holed, array):
        key = _key(record)
        missing.discard(key)
        if key not in records:
            yield f"{array}: {key} is not there"
        else:
            yield from _differ(f"{array} {key}", records[key], record)
    if missing and not holed.errors:
        yield f"{array}: {sorted(map(str, missing))} are missing, and nothing says so"


def _key(record: Record) -> str:
    address = getattr(record, "address", None)
    return f"0x{address:x}" if address is not None else str(getattr(record, "name", record))


def _differ(where: str, old: Any, new: Any) -> Iterator[str]:
    """Values that are neither the same nor missing."""
    if new is None or old == new or new == _UNKNOWN:
        return
    if isinstance(old, Record) and isinstance(new, Record):
        for name in type(old).model_fields:
            if name not in _COUNTS and name != _WHY_SOME_ARE_MISSING:
                yield from _differ(f"{where}.{name}", getattr(old, name), getattr(new, name))
        return
    if isinstance(old, list) and isinstance(new, list):
        unlike = [item for item in new if all(any(_differ("", known, item)) for known in old)]
        if not unlike:
            return  # some of it, or of what is in it, is missing
    shown = [value.value if isinstance(value, Enum) else value for value in (old, new)]
    yield f"{where} was {shown[0]!r}, is {shown[1]!r}"
