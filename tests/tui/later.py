"""The saved snapshot some moments later: what tasks, mounts and findings may do between two readings."""

from __future__ import annotations

from explorer.model import Attachment, Placement, Snapshot

__all__ = ("HOSTILE", "make_later")

HOSTILE = "\x1b[31m[bold]evil\n\u202e[/red]"


def make_later(snapshot: Snapshot) -> Snapshot:
    """One task chroots, one appears under a hostile name, one is gone, one begins to borrow and one ends; a mount."""
    later = snapshot.model_copy(deep=True)
    by_comm = {task.comm: task for task in later.tasks}
    kernel = later.kernel
    # plain-a moves its root into a directory of the rootfs.
    fs = later.fs_by_address[by_comm["plain-a"].owned_fs or 0]
    assert fs.root is not None
    fs.root = fs.root.model_copy(  # others share the record
        update={"dentry": 0xFFFF888000000040, "path": "/jail", "placement": Placement.CHROOT}
    )
    # plain-b is gone, and its fs_struct with it.
    gone = by_comm["plain-b"]
    later.tasks.remove(gone)
    later.fs_structs = [each for each in later.fs_structs if each.address != gone.owned_fs]
    # A task of a hostile name shares the fs_struct of chdir.
    sharer = by_comm["chdir"]
    new = sharer.model_copy(
        update={"address": 0xFFFF888000001000, "pid": 9000, "tgid": 9000, "comm": HOSTILE, "start_time": 99}
    )
    later.tasks.append(new)
    shared = next(each for each in later.fs_structs if each.address == sharer.owned_fs)
    shared.users, shared.sharers = (shared.users or 0) + 1, shared.sharers + 1
    # kthreadd borrows, and who borrowed does not any more.
    for task in later.tasks:
        if task.borrowing:
            task.borrowing, task.fs = False, task.real_fs
    kthreadd = by_comm["kthreadd"]
    kthreadd.borrowing, kthreadd.fs = True, kernel.userspace_init_fs
    # One more mount.
    mount = next(each for each in later.mounts if each.attachment is Attachment.NAMESPACE and each.parent)
    later.mounts.append(
        mount.model_copy(
            update={
                "address": 0xFFFF888000002000,
                "id": 777,
                "unique_id": 777777,
                "mountpoint": f"/{HOSTILE}",
            }
        )
    )
    for name in (
        "task_by_address",
        "fs_by_address",
        "mount_by_address",
        "namespace_by_address",
        "sharers_by_fs",
    ):
        later.__dict__.pop(name, None)
    return later
