"""Mounts and mount namespaces that were added, are gone, or changed. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from explorer.model import (
    MNT_OPTIONS,
    Change,
    Fact,
    Mount,
    MountNamespace,
    ObjectChange,
    ObjectState,
    Snapshot,
    namespace_name,
)

from .matching import Pairs
from .side_by_side import SideBySide, describe_mount

__all__ = ("diff_mounts", "diff_namespaces")

_T = TypeVar("_T", Mount, MountNamespace)


def diff_mounts(pair: SideBySide) -> list[ObjectChange]:
    """Mounts: place, parent, options, what lies on them, and what they hang on."""

    def changes(old: Mount, new: Mount) -> Iterator[Change]:
        yield from pair.changed(
            (Fact.MOUNTPOINT, old.mountpoint, new.mountpoint),
            (Fact.ATTACHMENT, _attachment(old), _attachment(new)),
            (Fact.OPTIONS, _options(old), _options(new)),
        )
        yield from pair.reference_change(Fact.MNT_NS, old.mnt_ns, new.mnt_ns)
        yield from pair.reference_change(Fact.PARENT, old.parent, new.parent)
        yield from pair.reference_change(Fact.OVERMOUNT, old.overmount, new.overmount)

    return _objects(pair, pair.mounts, describe_mount, changes)


def diff_namespaces(pair: SideBySide) -> list[ObjectChange]:
    """Mount namespaces: their bottom mount and what ``/`` means in them."""

    def changes(old: MountNamespace, new: MountNamespace) -> Iterator[Change]:
        yield from pair.reference_change(Fact.ROOT, old.root, new.root)
        yield from pair.reference_change(Fact.VISIBLE_ROOT, old.visible_root, new.visible_root)

    return _objects(pair, pair.namespaces, lambda namespace, _: namespace_name(namespace), changes)


def _objects(
    pair: SideBySide,
    pairs: Pairs[_T],
    name: Callable[[_T, Snapshot], str],
    compare: Callable[[_T, _T], Iterator[Change]],
) -> list[ObjectChange]:
    found = [
        ObjectChange(state=ObjectState.GONE, name=name(old, pair.a), before=old.address, after=None)
        for old in pairs.gone
    ]
    found += [
        ObjectChange(state=ObjectState.ADDED, name=name(new, pair.b), before=None, after=new.address)
        for new in pairs.added
    ]
    for old, new in pairs.both:
        changes = list(compare(old, new))
        if changes:
            found.append(
                ObjectChange(
                    state=ObjectState.CHANGED,
                    name=name(new, pair.b),
                    before=old.address,
                    after=new.address,
                    changes=changes,
                )
            )
    return found


def _attachment(mount: Mount) -> str | None:
    return None if mount.attachment is None else mount.attachment.value


def _options(mount: Mount) -> str | None:
    if mount.flags is None:
        return None
    return ",".join(name for bit, name in MNT_OPTIONS.items() if mount.flags & bit) or "rw"
