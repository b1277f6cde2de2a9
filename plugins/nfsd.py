"""nfsd: the NFS server in the kernel (fs/nfsd).

Its threads walk no path of their own: what a client names is looked up below an export's ``ex_path``, which was opened
by mountd (or whoever wrote to ``/proc/net/rpc/nfsd.export/channel``), in user context, and is kept while the export is
in the cache, whatever is unmounted meanwhile. Nothing here borrows init's filesystem.

What the threads need is an ``fs_struct`` of their own: ``nfsd()`` calls ``unshare_fs_struct()`` and sets its umask
to 0, because the client's mode is to be taken as it is. Since 7.3 the copy is one of the kernel's ``init_fs``: root and
working directory are nullfs. A thread that did not get its own copy sets the umask of all kernel threads. Leases expire
on the workqueue ``nfsd4`` (``laundromat_main``), in kworkers, which stay on ``init_fs``.

Not tested: lockd and NFSv3 (they need rpcbind), several thread pools (they need NUMA), and a thread whose
``fs_struct`` is shared (no kernel does that: tried on snapshots changed by hand).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    UNSEEN,
    Address,
    DeadPlace,
    Expectation,
    Finding,
    Generation,
    GuardedFacts,
    HexInt,
    KernelText,
    Owner,
    PathRef,
    Placement,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    for_each_list_entry,
    for_each_net_state,
    function_name,
    incomplete,
    linux_helpers,
    pointer_text,
    spoken_for,
    task_name,
    task_reference,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Export", "NfsdFacts", "Server")

_MODULE = "nfsd"
_DEAD_EXPORT = DeadPlace(
    "DEAD-EXPORT",
    Severity.HIGH,
    means="The filesystem was unmounted lazily below the export: clients go on writing to a tree that nobody else "
    "can see, and it cannot be freed.",
    do="exportfs -f empties the cache: the next request gets what the exported path names now.",
    among=UNSEEN,
)
_CACHE_VALID, _CACHE_NEGATIVE = 1 << 0, 1 << 1
_WORK_PENDING = 1
_MAX_BUCKETS = 65_536
_MAX_POOLS = 8192
_POINTER = 8


class Export(Record):
    """``struct svc_export``: an entry of the cache that mountd fills, not a line of /etc/exports."""

    address: Address
    client: KernelText | None
    """The clients it is for, as in /etc/exports: ``*``, a network, a host."""
    path: PathRef | None
    flags: HexInt | None
    """``NFSEXP_*``."""
    fsid: int | None
    usable: bool
    """Answered by mountd and not flushed. Entries that wait for an answer, or were refused, hold a path too."""


class Server(Record):
    """``struct nfsd_net``: the server of one network namespace, running or not."""

    address: Address
    running: bool | None
    threads: list[Reference]
    nrthreads: int | None
    """As many threads as the kernel counts."""
    laundromat: KernelText | None
    """The function that expires leases; ``None`` before the first start."""
    laundromat_pending: bool | None
    exports: list[Export]


class NfsdFacts(GuardedFacts):
    servers: list[Server]
    init_fs_umask: str | None
    """Four octal digits. Up to 7.2 it is PID 1's too."""


def _service(net: drgn.Object) -> drgn.Object:
    """The ``struct svc_serv *``: ``nfsd_info.serv`` since 6.7, ``nfsd_serv`` before."""
    if net.prog_.type("struct nfsd_net").has_member("nfsd_info"):
        return net.nfsd_info.serv
    return net.nfsd_serv


def _pool_count(kernel: PluginKernel, service: drgn.Object) -> int:
    """How long ``sv_pools`` is: ``sv_nrpools``, or the global map's where there is no such member (7.x)."""
    if kernel.prog.type("struct svc_serv").has_member("sv_nrpools"):
        return int(service.sv_nrpools)
    if not service.sv_is_pooled.value_():
        return 1
    return int(kernel.variable("sunrpc", "svc_pool_map", "struct svc_pool_map").npools)


def _threads(kernel: PluginKernel, service: drgn.Object) -> Iterator[Reference]:
    """The thread of each ``struct svc_rqst``."""
    for index in kernel.bounded(range(_pool_count(kernel, service)), "sv_pools", _MAX_POOLS):
        pool = service.sv_pools[index]
        for request in for_each_list_entry(kernel, "svc_rqst", pool.sp_all_threads, "rq_all"):
            if request.rq_task.value_():
                yield kernel.task_ref(request.rq_task)


def _export(kernel: PluginKernel, export: drgn.Object, flushed: int, reading: Reading) -> Export:
    head = export.h

    def usable() -> bool:
        flags = head.flags.value_()
        answered = bool(flags & _CACHE_VALID) and not flags & _CACHE_NEGATIVE
        return answered and head.last_refresh.value_() > flushed

    return Export(
        address=export.value_(),
        client=reading.get("ex_client", lambda: pointer_text(export.ex_client.name)),
        path=reading.get("ex_path", lambda: kernel.path_ref(export.ex_path)),
        flags=reading.get("ex_flags", lambda: int(export.ex_flags) & 0xFFFFFFFF),
        fsid=reading.get("ex_fsid", lambda: int(export.ex_fsid)),
        usable=bool(reading.get("cache_head", usable)),
    )


def _exports(kernel: PluginKernel, net: drgn.Object, reading: Reading) -> Iterator[Export]:
    """The entries of ``svc_export_cache``: a table whose length is a member; it is read in one go."""
    from drgn import Object

    hlist_for_each_entry = linux_helpers("list").hlist_for_each_entry
    cache = net.svc_export_cache
    flushed = cache.flush_time.value_()
    table, buckets = cache.hash_table.value_(), min(int(cache.hash_size), _MAX_BUCKETS)
    raw = kernel.prog.read(table, buckets * _POINTER)

    def entries() -> Iterator[drgn.Object]:
        for bucket in range(buckets):
            if any(raw[bucket * _POINTER : (bucket + 1) * _POINTER]):
                head = Object(kernel.prog, "struct hlist_head", address=table + bucket * _POINTER)
                yield from hlist_for_each_entry("struct svc_export", head.address_of_(), "h.cache_list")

    for export in kernel.bounded(entries(), "svc_export_cache", 10_000):
        yield _export(kernel, export, flushed, reading)


def _server(kernel: PluginKernel, net: drgn.Object, reading: Reading) -> Server:
    service = reading.get("nfsd_info.serv", lambda: _service(net))
    running = None if service is None else bool(service.value_())
    started = service if running else None
    laundromat = net.laundromat_work.work
    return Server(
        address=net.value_(),
        running=running,
        threads=[] if started is None else reading.get_list("sv_pools", lambda: _threads(kernel, started)),
        nrthreads=None if started is None else reading.get("sv_nrthreads", lambda: int(started.sv_nrthreads)),
        laundromat=reading.get(
            "laundromat_work", lambda: function_name(kernel.prog, laundromat.func.value_())
        ),
        laundromat_pending=reading.get(
            "laundromat_work", lambda: bool(laundromat.data.counter.value_() & _WORK_PENDING)
        ),
        exports=reading.get_list("svc_export_cache", lambda: _exports(kernel, net, reading)),
    )


def _servers(kernel: PluginKernel, reading: Reading) -> Iterator[Server]:
    for net in for_each_net_state(kernel, _MODULE, "nfsd_net_id", "struct nfsd_net"):
        yield _server(kernel, net, reading)


def collect(kernel: PluginKernel) -> NfsdFacts:
    """Read the threads and exports of every network namespace."""
    reading = Reading()
    umask = reading.get("init_fs", lambda: int(kernel.variable("", "init_fs", "struct fs_struct").umask))
    return NfsdFacts(
        servers=reading.get_list("nfsd_net", lambda: _servers(kernel, reading)),
        init_fs_umask=None if umask is None else f"{umask:04o}",
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: NfsdFacts) -> Iterator[Finding]:
    """Exports that serve what nobody can see, and threads that do not keep their umask to themselves."""
    yield from incomplete(PLUGIN, facts)
    for server in facts.servers:
        for export in server.exports:
            yield from _served(export)
    yield from _shared(snapshot)


def _served(export: Export) -> Iterator[Finding]:
    if export.usable and export.path is not None:
        reference = Reference(kind="plugin", address=export.address, label=f"nfsd export to {export.client}")
        subject = f"the export of {export.path.fstype}:{export.path.path} to {export.client} is on"
        yield from _DEAD_EXPORT.findings(PLUGIN, export.path, subject, reference)


def _shared(snapshot: Snapshot) -> Iterator[Finding]:
    for task in spoken_for(PLUGIN, snapshot):
        fs = snapshot.fs_of(task)
        if fs is None or fs.users is None or fs.users <= 1:
            continue
        yield PLUGIN.finding(
            "SHARED-FS",
            Severity.HIGH,
            f"{task_name(task)} shares its fs_struct: {fs.users} users",
            [task_reference(task), Reference(kind="fs_struct", address=fs.address, label=task.owner_word)],
            means="nfsd sets the umask of its fs_struct to 0: all who share it create files with it. A thread that is "
            "just starting has not got its own copy yet.",
            do="Look again: if it stays, this kernel's nfsd() does not call unshare_fs_struct().",
        )


PLUGIN = Plugin(
    name="nfsd",
    title="nfsd: the NFS server in the kernel",
    facts=NfsdFacts,
    collect=collect,
    audit=audit,
    needs_modules=("nfsd",),
    built_in="nfsd_svc",
    speaks_for=(Speaks(threadfn="nfsd"),),
    expected={
        Generation.LEGACY: Expectation((Owner.PRIVATE,)),
        Generation.NULLFS_ROOTFS: Expectation((Owner.PRIVATE,)),
        Generation.RFC_V1: Expectation((Owner.PRIVATE,), (Placement.NULLFS,)),
        Generation.ISOLATED: Expectation((Owner.PRIVATE,), (Placement.NULLFS,)),
    },
)
