"""All mounts in the order of their tree: a namespace after the other, then those that are in none."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.model import Attachment, Mount, MountNamespace, Snapshot, known

__all__ = ("MountRow", "mount_rows")

_TITLES: dict[Attachment | None, str] = {
    Attachment.DETACHED: "detached: lazily unmounted, kept alive by whoever points at them",
    Attachment.ANONYMOUS: "anonymous: made, and attached nowhere",
    Attachment.INTERNAL: "internal: the kernel's own, in no namespace",
    Attachment.NAMESPACE: "in a namespace that could not be read",
    None: "what they hang on could not be read",
}


@dataclass(frozen=True, slots=True)
class MountRow:
    """A line of the tree: a namespace's or a class's head, or a mount."""

    head: str = ""
    """Escaped."""
    namespace: MountNamespace | None = None
    mount: Mount | None = None
    depth: int = 0
    over: bool = False
    """It is stacked on its parent's root: it hides all of it."""

    @property
    def stacked(self) -> str:
        """``over``: it covers the mount below; ``hidden``: another one covers it; both, or neither."""
        covered = self.mount is not None and self.mount.overmount is not None
        return " ".join(word for word, true in (("over", self.over), ("hidden", covered)) if true)


def mount_rows(snapshot: Snapshot, only: MountNamespace | None = None) -> list[MountRow]:
    """All mounts, each once.

    :param only: those of this namespace, and its head
    """
    rows = _all_rows(snapshot)
    if only is None:
        return rows
    head = MountRow(_head(only, snapshot), only)
    return [head, *(row for row in rows if row.mount is not None and row.mount.mnt_ns == only.address)]


def _all_rows(snapshot: Snapshot) -> list[MountRow]:
    children: dict[int, list[Mount]] = {}
    for mount in snapshot.mounts:
        if mount.parent is not None:
            children.setdefault(mount.parent, []).append(mount)
    rows: list[MountRow] = []
    seen: set[int] = set()
    init_ns = snapshot.kernel.init_mnt_ns
    for namespace in sorted(snapshot.mount_namespaces, key=lambda ns: (ns.address != init_ns, ns.inum or 0)):
        if namespace.anonymous:
            continue  # its mounts are listed as what they are
        rows.append(MountRow(_head(namespace, snapshot), namespace))
        root = snapshot.mount_by_address.get(namespace.root or 0)
        if root is not None:
            _add_tree(rows, root, children, seen)
    for attachment, title in _TITLES.items():
        left = [
            mount for mount in snapshot.mounts if mount.address not in seen and mount.attachment is attachment
        ]
        if not left:
            continue
        rows.append(MountRow(title))
        inside = {mount.address for mount in left}
        for mount in [*(m for m in left if m.parent not in inside), *left]:
            _add_tree(rows, mount, children, seen)
    return rows


def _head(namespace: MountNamespace, snapshot: Snapshot) -> str:
    about = (
        "  (init's)"
        if namespace.address == snapshot.kernel.init_mnt_ns
        else "  (anonymous)"
        if namespace.anonymous
        else "  (no task in it)"
        if namespace.nr_tasks == 0
        else ""
    )
    return f"mount namespace {known(namespace.inum)}{about}"


def _add_tree(rows: list[MountRow], root: Mount, children: dict[int, list[Mount]], seen: set[int]) -> None:
    """Depth first, the overmount of a mount before its other children."""
    waiting = [(root, 1, False)]
    while waiting:
        mount, depth, over = waiting.pop()
        if mount.address in seen:
            continue
        seen.add(mount.address)
        rows.append(MountRow("", None, mount, depth, over))
        below = sorted(
            children.get(mount.address, []),
            key=lambda child: (child.address != mount.overmount, child.mountpoint or "", child.id or 0),
        )
        for child in reversed(below):
            waiting.append((child, depth + 1, child.address == mount.overmount))
