"""Where the pointers are that hold a kernel's structures together: what a mutator aims at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import drgn

from explorer.model import Snapshot

__all__ = ("Site", "Sites", "find_sites")

_MAX_ANCESTORS = 64

#: Group -> for each structure, the pointers in it, and the member that others of them point at ("": its start).
_LINKS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "list-pointers": {
        "task_struct": (
            ("tasks.next", "tasks"),
            ("tasks.prev", "tasks"),
            ("thread_node.next", "thread_node"),
            ("thread_node.prev", "thread_node"),
            ("signal", ""),
            ("real_parent", ""),
        ),
        "workqueue_struct": (("pwqs.next", "pwqs"), ("list.next", "list")),
        "dentry": (("d_sib.next", "d_sib"), ("d_child.next", "d_child"), ("d_children.first", "d_sib")),
        "mount": (("mnt_list.next", "mnt_list"), ("mnt_mounts.next", "mnt_child")),
    },
    "dentry-parents": {"dentry": (("d_parent", ""),)},
    "mount-parents": {"mount": (("mnt_parent", ""), ("mnt_mountpoint", ""))},
    "overmounts": {
        "mount": (("overmount", ""), ("mnt.mnt_root", "")),
        "mnt_namespace": (("root", ""),),
    },
    "rb-trees": {
        "mount": (("mnt_node.rb_left", "mnt_node"), ("mnt_node.rb_right", "mnt_node")),
        "mnt_namespace": (("mounts.rb_node", "mounts"),),
    },
    "fs-pointers": {
        "task_struct": (("fs", ""), ("real_fs", ""), ("nsproxy", ""), ("nameidata", ""), ("real_cred", "")),
        "fs_struct": (
            ("root.mnt", ""),
            ("root.dentry", ""),
            ("pwd.mnt", ""),
            ("pwd.dentry", ""),
        ),
        "mount": (("mnt.mnt_sb", ""), ("mnt_ns", ""), ("mnt_devname", "")),
        "dentry": (("d_name.name", ""), ("d_op", ""), ("d_inode", "")),
    },
}


class Site(NamedTuple):
    """A pointer in memory: its virtual address, and the value by which others would reach its holder."""

    address: int
    node: int


Sites = dict[str, list[list[Site]]]
"""Group -> one list for each member of it."""


def _holders(prog: drgn.Program, snapshot: Snapshot) -> dict[str, list[int]]:
    """Addresses of the structures that the snapshot shows, by type."""
    dentries = {ref.dentry for fs in snapshot.fs_structs for ref in (fs.root, fs.pwd) if ref is not None}
    for mount in snapshot.mounts:
        found = drgn.Object(prog, "struct mount", address=mount.address)
        dentries |= {found.mnt_mountpoint.value_(), found.mnt.mnt_root.value_()}
    chains = [list(_ancestors(prog, dentry)) for dentry in dentries]
    return {
        "task_struct": [task.address for task in snapshot.tasks],
        "fs_struct": [fs.address for fs in snapshot.fs_structs],
        "mount": [mount.address for mount in snapshot.mounts],
        "mnt_namespace": [namespace.address for namespace in snapshot.mount_namespaces],
        "workqueue_struct": [workqueue.address for workqueue in snapshot.workqueues],
        "dentry": sorted({dentry for chain in chains for dentry in chain}),
    }


def _ancestors(prog: drgn.Program, dentry: int) -> Iterator[int]:
    """The dentry and those above it, as far as the slice has them."""
    for _ in range(_MAX_ANCESTORS):
        try:
            parent = drgn.Object(prog, "struct dentry", address=dentry).d_parent.value_()
        except drgn.FaultError:
            return
        yield dentry
        if parent == dentry:
            return
        dentry = parent


def _offset(prog: drgn.Program, struct: str, member: str) -> int | None:
    """``offsetof()``; ``None`` where this kernel's structure has no such member."""
    try:
        return int(drgn.offsetof(prog.type(f"struct {struct}"), member)) if member else 0
    except (LookupError, TypeError):  # TypeError: a member of it is no structure here
        return None


def find_sites(prog: drgn.Program, snapshot: Snapshot) -> Sites:
    """All groups that this kernel has members for, and the holders by type in groups of their own."""
    holders = _holders(prog, snapshot)
    sites: Sites = {}
    for group, structs in _LINKS.items():
        lists = []
        for struct, members in structs.items():
            for member, node in members:
                at, to = _offset(prog, struct, member), _offset(prog, struct, node)
                if at is not None and to is not None:
                    lists.append([Site(address + at, address + to) for address in holders[struct]])
        sites[group] = [found for found in lists if found]
    sites["holders"] = [[Site(address, address) for address in found] for found in holders.values() if found]
    sites["comm"] = [
        [
            Site(task.address + offset, 0)
            for task in snapshot.tasks
            if (offset := _offset(prog, "task_struct", "comm")) is not None
        ]
    ]
    inline = _offset(prog, "dentry", "d_shortname") or _offset(prog, "dentry", "d_iname")
    length = _offset(prog, "dentry", "d_name.len")
    assert inline is not None and length is not None
    sites["names"] = [[Site(address + length, address + inline) for address in holders["dentry"]]]
    return sites
