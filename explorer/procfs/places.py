"""Roots and working directories: which mount and directory they are (statx(2)), and where that lies."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from explorer.model import (
    FAIL_FS_MAGIC,
    NULL_FS_MAGIC,
    Mount,
    MountNamespace,
    PathRef,
    Placement,
    PlacementContext,
    classify_path,
    kernel_text,
)

from .mounttable import NamespaceView
from .syscalls import Place, find_place

__all__ = ("Places",)

_UNREACHABLE = "(unreachable)"
_NULLFS = "nullfs"
_MAGIC = {_NULLFS: NULL_FS_MAGIC, "failfs": FAIL_FS_MAGIC}
_KTHREADD = 2


class Places:
    """Makes the ``PathRef`` of a link of /proc.

    What a placement is decided against: the root of PID 1, that of kthreadd where kernel threads are isolated, the
    mounts of every namespace that could be looked at. What is on none of these (detached, the kernel's own, or out of
    sight) has no placement, and neither has anything where a root that decides may not be looked at.
    """

    def __init__(self, views: Mapping[int, NamespaceView], isolating: bool) -> None:
        self._views = views
        self._mounts = {number: mount for view in views.values() for number, mount in view.mounts.items()}
        self._dentries: dict[tuple[int | None, tuple[int, int, int]], int] = {}
        kthreadd = self._root_of(_KTHREADD) if isolating else None
        self._isolation = None if kthreadd is None else kthreadd.mount
        self._isolation_known = kthreadd is not None or not isolating
        init = self._root_of(1)
        self._context = PlacementContext(
            isolation_mount=self._isolation,
            isolation_mount_known=self._isolation_known,
            init_root=None if init is None or init.mount is None else (init.mount, self._dentry(init)),
            init_root_known=init is not None and init.mount is not None,
            namespaces={inum: self.namespace(view) for inum, view in views.items()},
        )

    @property
    def isolation_mount(self) -> int | None:
        """Id of the mount that kernel threads are rooted in, where they are isolated."""
        return self._isolation

    @staticmethod
    def namespace(view: NamespaceView) -> MountNamespace:
        """Its record. What lies below its visible root cannot be seen from within; a nullfs has nothing below it."""
        visible = view.mounts.get(view.visible_root or 0)
        is_bottom = visible is not None and visible.fstype == _NULLFS
        return MountNamespace(
            address=view.inum,
            inum=view.inum,
            root=view.visible_root if is_bottom else None,
            visible_root=view.visible_root,
            nr_mounts=None,
            anonymous=False,
        )

    def _root_of(self, pid: int) -> Place | None:
        try:
            return find_place(f"/proc/{pid}/root")
        except OSError:
            return None

    def _dentry(self, place: Place) -> int:
        """A number for a directory: the same for the same one."""
        return self._dentries.setdefault((place.mount, place.inode), len(self._dentries) + 1)

    def path_ref(self, link: str, missing: Callable[[str], None]) -> PathRef | None:
        """:param missing: told why there is none. :raises OSError: if the thread is gone"""
        try:
            place, text = find_place(link), os.fsencode(Path(link).readlink())
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                raise
            missing(error.strerror or str(error))
            return None
        if place.mount is None:
            missing("the kernel does not tell mount ids (before 5.8)")
            return None
        mount, dentry = self._mounts.get(place.mount), self._dentry(place)
        if mount is not None and place.unique_mount is not None:
            mount.unique_id = place.unique_mount
        return PathRef(
            mount=place.mount,
            dentry=dentry,
            path=kernel_text(text).removeprefix(_UNREACHABLE),
            fstype=None if mount is None else mount.fstype,
            placement=self._placement(place, dentry, mount),
        )

    def _placement(self, place: Place, dentry: int, mount: Mount | None) -> Placement | None:
        if place.mount == self._isolation:
            return Placement.NULLFS
        if mount is None or not self._isolation_known:
            return None
        # Which of the filesystems that answer nothing it is, if any, its type says as well as its magic.
        known = mount.model_copy(update={"magic": _MAGIC.get(mount.fstype or "", 0)})
        return classify_path(known, dentry, dentry if place.is_mount_root else -1, self._context)
