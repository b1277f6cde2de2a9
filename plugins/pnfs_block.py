"""pNFS block and SCSI layouts (fs/nfs/blocklayout): an NFS client that reads and writes the server's disks itself.

``bl_open_path()`` opens such a disk by its name in ``/dev/disk/by-id`` (``bdev_file_open_by_path()``) for whoever asks
the server for a layout: a user task, which is looked up from its own root, or a kworker that writes pages back. Since
7.3 it borrows init's filesystem in a kernel thread. The client's other work runs on ``nfsiod``, ``rpciod`` and
``xprtiod`` and walks no path.

Of a worker that writes pages back the path tells it, of others kernel stacks alone, for which the kernel's debug info
is needed. Not tested on a real kernel: a worker that opens the disk without a borrow, of which snapshots are made by
hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Borrows,
    Expectation,
    Finding,
    GuardedFacts,
    KernelText,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    Task,
    borrower,
    borrowers,
    borrowers_in,
    everywhere,
    for_each_list_entry,
    for_each_net_state,
    frame_in,
    incomplete,
    isolates,
    pointer_text,
    spoken_for,
    task_name,
    task_reference,
)

__all__ = ("PLUGIN", "PnfsBlockFacts")

_BORROW = ("bl_open_path",)
#: Workers of another's workqueue that come there: nothing else that writes back looks names of disks up.
_WRITEBACK, _DISKS = "wb_workfn", "/dev/disk/by-id/"
_OPENS = ("bdev_file_open_by_path",)  # theirs only in a worker of the client: others open devices too


class PnfsBlockFacts(GuardedFacts):
    drivers: list[KernelText]
    """Registered layout drivers (``pnfs_modules_tbl``)."""
    servers: list[Reference]
    """Mounted NFS filesystems that use a block or SCSI layout (``nfs_server``)."""


def _drivers(kernel: PluginKernel) -> Iterator[str]:
    head = kernel.variable("nfsv4", "pnfs_modules_tbl", "struct list_head")
    for driver in for_each_list_entry(kernel, "pnfs_layoutdriver_type", head, "pnfs_tblid"):
        yield pointer_text(driver.name) or ""


def _servers(kernel: PluginKernel) -> Iterator[Reference]:
    for state in for_each_net_state(kernel, "nfs", "nfs_net_id", "struct nfs_net"):
        for client in for_each_list_entry(kernel, "nfs_client", state.nfs_client_list, "cl_share_link"):
            for server in for_each_list_entry(kernel, "nfs_server", client.cl_superblocks, "client_link"):
                driver = server.pnfs_curr_ld
                name = pointer_text(driver.name) if driver.value_() else None
                if name in ("LAYOUT_BLOCK_VOLUME", "LAYOUT_SCSI"):
                    host = pointer_text(client.cl_hostname)
                    yield Reference(kind="plugin", address=server.value_(), label=f"{host} ({name})")


def collect(kernel: PluginKernel) -> PnfsBlockFacts:
    """Read the layout drivers, and who uses them."""
    reading = Reading()
    return PnfsBlockFacts(
        drivers=sorted(reading.get_list("pnfs_modules_tbl", lambda: _drivers(kernel))),
        servers=reading.get_list("nfs_client_list", lambda: _servers(kernel)),
        missing=reading.missing,
    )


_SUBJECT = "The client opens the server's disk by its name in /dev."


def _writes_back(task: Task) -> bool:
    """Whether it writes pages back, and looks up a disk by its id for that."""
    walk = task.walk
    runs = None if task.kthread is None else task.kthread.current_func
    return runs == _WRITEBACK and walk is not None and (walk.path or "").startswith(_DISKS)


def audit(snapshot: Snapshot, facts: PnfsBlockFacts) -> Iterator[Finding]:
    """Who borrows, and who ought to."""
    yield from incomplete(PLUGIN, facts)
    for find in (borrowers, borrowers_in):
        yield from find(PLUGIN, snapshot, _BORROW, _SUBJECT)
    for task in snapshot.tasks:
        if task.borrowing and _writes_back(task) and frame_in(task, _BORROW) is None:
            yield borrower(PLUGIN, task, "bl_open_path", _SUBJECT)
    if not isolates(snapshot):
        return
    ours = {task.address for task in spoken_for(PLUGIN, snapshot)}
    for task in snapshot.tasks:
        if task.kthread is None or task.borrowing:
            continue
        if frame_in(task, _BORROW) or (task.address in ours and frame_in(task, _OPENS)):
            yield PLUGIN.finding(
                "NO-BORROW",
                Severity.HIGH,
                f"{task_name(task)} opens a disk by its path, from its own root",
                [task_reference(task)],
                means="A kernel thread's root is empty on an isolated kernel: it gets ENOENT, and the client falls "
                "back to reading and writing through the server.",
                do="The module is older than the kernel's isolation: use the one that belongs to this kernel.",
            )


PLUGIN = Plugin(
    name="pnfs_block",
    title="pNFS block layouts: disks opened by an NFS client",
    facts=PnfsBlockFacts,
    collect=collect,
    audit=audit,
    needs_modules=("blocklayoutdriver",),
    built_in="bl_open_path",
    speaks_for=(
        Speaks(workqueue="nfsiod"),
        Speaks(workqueue="rpciod"),
        Speaks(workqueue="xprtiod"),
    ),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(*_BORROW, seen_as=("bl_parse_scsi",)),),
)
