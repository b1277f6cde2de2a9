"""Which mounts a source (a device, an export, a name) is behind: all of its filesystem, wherever they are.

Mirrors ``mnt_devname`` and ``mnt.mnt_sb``: a source is the word that mount() was given; what keeps a device busy is the
superblock, and every mount of that, under whatever name and in whatever namespace, or detached from all of them.
"""

from __future__ import annotations

import difflib

from explorer.model import Mount, Snapshot, escape_text

__all__ = ("incomplete_words", "is_of_source", "mounts_of_source", "near_sources")

_MOST_NEAR = 3


def is_of_source(mount: Mount, text: str) -> bool:
    """Whether a mount itself names the source, also as tables print it, or has that device (``254:1``)."""
    if mount.source is not None and text in (mount.source, escape_text(mount.source)):
        return True
    return mount.dev is not None and mount.dev == text


def mounts_of_source(text: str, snapshot: Snapshot) -> list[Mount]:
    """The mounts of a source, and all other mounts of the same filesystems; in the snapshot's order."""
    named = [mount for mount in snapshot.mounts if is_of_source(mount, text)]
    addresses = {mount.address for mount in named}
    superblocks = {mount.superblock for mount in named if mount.superblock is not None}
    return [
        mount for mount in snapshot.mounts if mount.address in addresses or mount.superblock in superblocks
    ]


def near_sources(text: str, snapshot: Snapshot) -> list[str]:
    """Sources that are there and look like one that is not; escaped."""
    sources = {escape_text(mount.source) for mount in snapshot.mounts if mount.source}
    return difflib.get_close_matches(escape_text(text), sorted(sources), _MOST_NEAR)


def incomplete_words(snapshot: Snapshot) -> str | None:
    """Why there may be mounts that a snapshot does not have; ``None`` if there cannot be."""
    if snapshot.capture.lost_mounts is not None:
        return snapshot.capture.lost_mounts
    if any(namespace.nr_mounts is None for namespace in snapshot.mount_namespaces):
        return "not all mounts of a namespace could be reached"
    if snapshot.mounts and all(mount.options is None and mount.dev is None for mount in snapshot.mounts):
        return "a version took it that did not look for mounts that no task leads to"
    return None
