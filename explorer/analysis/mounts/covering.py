"""What lies over a place: can it be reached from the top of its mount namespace, or is a mount in the way?

Mirrors ``traverse_mounts()`` of fs/namei.c: whoever comes to a mountpoint goes on in what is mounted there. A root in
what lies below is on a mount that is covered, or below a directory that is, or on a mount of a covered mount.
"""

from __future__ import annotations

from collections.abc import Collection

from explorer.model import Mount, PathRef, Snapshot

__all__ = ("Covers",)


class Covers:
    """The mounts of a snapshot, by what they lie on.

    As in :mod:`.containment`, the texts of two paths on one mount are as good as its dentries; which mount a path is on
    is decided by the mount.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._on: dict[int, dict[str, Mount]] = {}
        for mount in snapshot.mounts:
            if mount.parent is not None and mount.mountpoint is not None:
                self._on.setdefault(mount.parent, {})[mount.mountpoint] = mount

    def find(self, path: PathRef) -> Mount | None:
        """The topmost mount that lies over ``path``; ``None`` if none does, or that is not known."""
        mount = self._snapshot.mount_by_address.get(path.mount)
        text, below = path.path, None
        for _ in range(len(self._snapshot.mounts)):
            if mount is None:
                return None
            if mount.overmount not in (None, below):
                return self._top(mount)
            on = self._on.get(mount.address, {})
            for place in _upwards(text, on) if on and text is not None else ():
                # On the way up, what is mounted at the very place is where we come from.
                if below is None or place != text:
                    return self._top(on[place])
            if mount.parent is None:
                return None
            text, below = mount.mountpoint, mount.address
            mount = self._snapshot.mount_by_address.get(mount.parent)
        return None

    def on(self, mount: int, place: str) -> Mount | None:
        """The topmost mount on a place of a mount; ``None`` if nothing is mounted there."""
        found = self._on.get(mount, {}).get(place)
        return None if found is None else self._top(found)

    def _top(self, mount: Mount) -> Mount:
        for _ in range(len(self._snapshot.mounts)):
            above = self._snapshot.mount_by_address.get(mount.overmount or 0)
            if above is None:
                break
            mount = above
        return mount


def _upwards(text: str, places: Collection[str]) -> list[str]:
    """Of ``/a/b``, ``/a``, ``/`` those that are among ``places``, in this order.

    Looked for among whichever are fewer: a path may have tens of thousands of parts, in a dump made for it.
    """
    text = text.rstrip("/")
    if text.count("/") > len(places):
        above = [each for each in places if f"{text}/".startswith(each if each == "/" else f"{each}/")]
        return sorted(above, key=len, reverse=True)
    parts = text.split("/")
    all_above = ("/".join(parts[:end]) or "/" for end in range(len(parts), 0, -1))
    return [each for each in all_above if each in places]
