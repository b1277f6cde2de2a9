"""Path text of a ``struct path``, as the kernel's ``d_path()`` gives it from the top of the mount tree.

Mirrors ``d_path()`` and ``prepend_path()`` of fs/d_path.c, with the reader's root at the top of whatever
mount tree the path is in. So nothing is ever "(unreachable)": the kernel writes that (in getcwd(), not in
d_path) for a path that the *reader's* root does not reach, and a snapshot has no reader.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from explorer.capture.memory import Memory, RawMount, ReadError, is_kernel_pointer
from explorer.model import PathRef

from .mounts import MountTable

__all__ = ("PathRefs", "PathResolver")

_MAX_NAME = 255  # NAME_MAX
_MAX_PATH = 64 << 10  # bytes: a directory can be made 16 times deeper than PATH_MAX and more, nobody does
_MAX_KEPT = 64 << 20  # bytes of prefixes
#: What all paths together may cost. A dump made for it has as many deep paths as tasks; in a real one nearly every
#: component is on the way to many tasks, and is walked once.
_CREDIT = 32 << 20
_CREDIT_OF_A_PATH = 512
_COST_OF_A_STEP = 32


class PathRefs(Protocol):
    """Who makes the record of a ``struct path``, and knows where lookups begin. Roots are mount and dentry."""

    init_root: tuple[int, int] | None
    """PID 1's own root."""
    kernel_root: tuple[int, int] | None
    """The root that the kernel's own lookups begin at: ``userspace_init_fs->root``, that of ``init_fs`` before 7.3."""

    def path_ref(self, where: str, vfsmount: int, dentry: int) -> PathRef | None:
        """The record; ``None``, with an error entry, if the pointers cannot be pointers."""


class _Dentry(NamedTuple):
    parent: int
    name: bytes
    unhashed: bool
    has_dname: bool


class PathResolver:
    """Resolves paths of one kernel; every dentry is read once, and every prefix walked once (while they are few)."""

    def __init__(self, memory: Memory, mounts: MountTable) -> None:
        self._reader = memory.reader
        self._layout = memory.layout
        self._mounts = mounts
        self._dentries: dict[int, _Dentry] = {}
        self._operations: dict[int, bool] = {}
        self._prefixes: dict[tuple[int, int], bytes] = {}
        self._texts: dict[tuple[int, int], bytes] = {}
        self._too_long: set[tuple[int, int]] = set()
        self._kept = 0
        self._credit = _CREDIT

    def forget(self) -> None:
        """What was read until now: of a kernel that runs, what was left may be something else by now."""
        for known in (self._dentries, self._prefixes, self._texts):
            known.clear()
        self._too_long.clear()
        self._kept = 0

    def path_text(self, mount: int, dentry: int) -> bytes:
        """The path of ``dentry`` on ``mount`` (a ``struct mount``).

        :raises ReadError: if a dentry or mount on the way cannot be read, or the way runs in a circle
        """
        key = (mount, dentry)
        known = self._texts.get(key)
        if known is None:
            known = self._texts[key] = self._d_path(mount, dentry)
        return known

    def mountpoint_text(self, mount: RawMount) -> bytes:
        """Where a mount is mounted: the path of its root, however the filesystem names itself."""
        if mount.root is None:
            raise ReadError(f"the root of {mount.name} is not there")
        return self._prepend_path(mount.address, mount.root) or b"/"

    def filesystem_path(self, dentry: int) -> bytes:
        """The path of a dentry from the root of its filesystem, as ``dentry_path()`` gives it.

        :raises ReadError: if a dentry on the way cannot be read, or the way runs in a circle
        """
        first = self._dentry(dentry)
        parts: list[bytes] = []
        seen: set[int] = set()
        length, here, address = 0, first, dentry
        while here.parent != address:
            if address in seen:
                raise ReadError(f"the path from dentry 0x{dentry:x} upwards runs in a circle")
            seen.add(address)
            parts.append(here.name)
            length += 1 + len(here.name)
            self._credit -= _COST_OF_A_STEP + len(here.name)
            if length > _MAX_PATH or self._credit < 0:
                raise ReadError(f"the path from dentry 0x{dentry:x} upwards is longer than any real one")
            address = here.parent
            here = self._dentry(address)
        text = b"".join(b"/" + part for part in reversed(parts)) or b"/"
        return text + b"//deleted" if first.unhashed and parts else text

    def _d_path(self, mount: int, dentry: int) -> bytes:
        here = self._dentry(dentry)
        is_root = here.parent == dentry
        fstype = self._mounts.superblock(self._mounts.read_mount(mount))
        if here.has_dname and (fstype is None or fstype.fstype is None):
            raise ReadError("its filesystem, which names it, is not there")
        if here.has_dname and fstype is not None and fstype.fstype == b"failfs":
            # failfs_dname(): the filesystem names itself, on its root too.
            return b"failfs:/"
        text = self._prepend_path(mount, dentry) or b"/"
        if here.unhashed and not is_root:  # d_unlinked()
            text += b" (deleted)"
        return text

    def _prepend_path(self, mount: int, dentry: int) -> bytes:
        """The path without a trailing slash: empty for the top of a mount tree."""
        self._credit += _CREDIT_OF_A_PATH
        trail: list[tuple[tuple[int, int], bytes]] = []
        length, prefix = 0, b""
        seen: set[tuple[int, int]] = set()
        while True:
            key = (mount, dentry)
            known = self._prefixes.get(key)
            if known is not None:
                prefix = known
                break
            if key in seen:
                raise ReadError(f"the path from dentry 0x{dentry:x} upwards runs in a circle")
            self._credit -= _COST_OF_A_STEP
            if self._credit < 0:
                raise ReadError(
                    "the paths met so far are longer, all together, than those of any real system"
                )
            seen.add(key)
            raw = self._mounts.read_mount(mount)
            if raw.root is None:
                raise ReadError(f"the root of {raw.name} is not there")
            if dentry == raw.root:
                if raw.parent is None or raw.mountpoint is None:
                    raise ReadError(f"what {raw.name} is mounted on is not there")
                if raw.parent == mount or not is_kernel_pointer(raw.parent):
                    break
                mount, dentry = raw.parent, raw.mountpoint
                trail.append((key, b""))
                continue
            here = self._dentry(dentry)
            if here.parent == dentry:
                break  # prepend_path() returns 3 here: the path escaped from its mount
            trail.append((key, b"/" + here.name))
            length += 1 + len(here.name)
            self._credit -= 1 + len(here.name)
            if length > _MAX_PATH or key in self._too_long:
                self._too_long.add(trail[0][0])  # for the next one who is in there, and who is deeper
                raise ReadError(f"the path is longer than {_MAX_PATH} bytes")
            dentry = here.parent
        return self._join(prefix, trail)

    def _join(self, prefix: bytes, trail: list[tuple[tuple[int, int], bytes]]) -> bytes:
        """``prefix`` and the components of ``trail``, the last one first; what is on the way is kept for others."""
        for step, component in reversed(trail):
            prefix += component
            if self._kept < _MAX_KEPT:
                self._kept += len(prefix)
                self._prefixes[step] = prefix
        if len(prefix) > _MAX_PATH:
            raise ReadError(f"the path is longer than {_MAX_PATH} bytes")
        return prefix

    def _dentry(self, address: int) -> _Dentry:
        known = self._dentries.get(address)
        if known is None:
            known = self._dentries[address] = self._read_dentry(address)
        return known

    def _read_dentry(self, address: int) -> _Dentry:
        decoder = self._layout.dentry
        parent, length, name_pointer, inline, pprev, operations = self._reader.decode(decoder, address)
        if length > _MAX_NAME:
            raise ReadError(f"dentry 0x{address:x} has a name of {length} bytes")
        if name_pointer == address + self._layout.dentry_inline_name and length <= len(inline):
            name = inline[:length]
        else:
            name = self._reader.read(name_pointer, length)
        return _Dentry(parent, name, not pprev, self._has_dname(operations))

    def _has_dname(self, operations: int) -> bool:
        if not operations:
            return False
        if operations not in self._operations:
            dname = self._reader.read_u64(operations + self._layout.dentry_operations_dname)
            self._operations[operations] = dname != 0
        return self._operations[operations]
