"""Is a path below a root? Decided by mounts first, as the kernel does; text decides only within one mount.

Mirrors ``is_path_reachable()`` of fs/namespace.c and ``follow_dotdot()`` of fs/namei.c: walking upwards from a path, is
the root met before the top of the mount tree?
"""

from __future__ import annotations

from explorer.model import PathRef, Snapshot

__all__ = ("is_inside",)


def is_inside(path: PathRef, root: PathRef, snapshot: Snapshot) -> bool | None:
    """Whether ``path`` is ``root`` or below it; ``None`` if the snapshot cannot tell.

    A snapshot has no dentry tree, but the texts of two paths on *one* mount share everything down to that mount, so
    that there the text is as good. Where the way up leaves a mount, it goes on at that mount's mountpoint.
    The one thing that text cannot see: a directory deleted and made again under its old name.
    """
    if (path.mount, path.dentry) == (root.mount, root.dentry):
        return True
    text, address = path.path, path.mount
    for _ in range(len(snapshot.mounts) + 1):
        if address == root.mount:
            return None if text is None or root.path is None else _is_below(text, root.path)
        mount = snapshot.mount_by_address.get(address)
        if mount is None or mount.superblock is None:
            return None  # a mount without it lacks its first page, and with that its parent
        if mount.parent is None:
            return False
        text, address = mount.mountpoint, mount.parent
    return None


def _is_below(text: str, root: str) -> bool:
    return text == root or text.startswith(root if root.endswith("/") else f"{root}/")
