"""ksmbd: the SMB server in the kernel (fs/smb/server).

Requests run on the workqueue ``ksmbd-io`` (``handle_ksmbd_work``), in kworkers: a share's path is looked up when a
client first connects to it, and several commands look more paths up. Since 7.3 these borrow init's filesystem:
``share_config_request()`` (inlined into ``ksmbd_share_config_get()``), ``smb2_get_info_filesystem()``,
``ksmbd_vfs_link()`` and ``ksmbd_vfs_path_lookup()``. What is opened below a share starts at the share's
``vfs_path``, which is kept while a client is connected, whatever is mounted or unmounted meanwhile.

``shares_table`` holds only shares with a connected client; a share whose path is still being looked up, or was not
found, is not in it: the requests in flight name the client instead.

Not tested: ``ksmbd-durable-scavenger`` (durable handles, which ksmbd-tools 3.4 does not switch on).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    UNSEEN,
    Address,
    Borrows,
    DeadPlace,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
    PathRef,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    absent,
    borrowers,
    everywhere,
    for_each_busy_worker,
    for_each_hlist_entry,
    for_each_list_entry,
    incomplete,
    pointer_text,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Connection", "Interface", "KsmbdFacts", "Request", "Share")

_MODULE = "ksmbd"
_BORROWS = (
    Borrows("share_config_request", seen_as=("ksmbd_share_config_get",)),
    Borrows("smb2_get_info_filesystem", seen_as=("smb2_query_info",)),
    Borrows("ksmbd_vfs_link"),
    Borrows(
        "ksmbd_vfs_path_lookup",
        seen_as=("ksmbd_vfs_path_lookup_locked", "ksmbd_vfs_kern_path", "ksmbd_vfs_kern_path_locked"),
    ),
)
_BORROW = tuple(each.function for each in _BORROWS)
_DEAD_SHARE = DeadPlace(
    "DEAD-SHARE",
    Severity.HIGH,
    means="The filesystem was unmounted lazily below connected clients: they go on writing to a tree that "
    "nobody else can see, and it cannot be freed.",
    do="Have the clients disconnect from the share; they then get what its path names now.",
    among=UNSEEN,
)


class Share(Record):
    """``struct ksmbd_share_config`` of a share that a client is connected to."""

    address: Address
    name: KernelText | None
    path: KernelText | None
    """As configured; ``None`` for ``ipc$``."""
    vfs_path: PathRef | None
    """What the path was when the first client connected."""
    now: KernelSetting | None
    """What the path is now, from init's root."""


class Connection(Record):
    """``struct ksmbd_conn``."""

    address: Address
    client: str | None
    """The client's IP address (7.x)."""
    status: int | None
    """``KSMBD_SESS_*``: 0 new, 1 good."""


class Request(Record):
    """A request that a kworker handles now: ``struct ksmbd_work``."""

    worker: Reference
    client: str | None


class Interface(Record):
    """A network interface that ksmbd listens on."""

    name: KernelText | None
    up: bool
    thread: Address | None


class KsmbdFacts(GuardedFacts):
    server_state: int | None
    """``server_conf.state``: 0 starting up, 1 running, 2 resetting, 3 shutting down."""
    tcp_port: int | None
    shares: list[Share]
    """Connected shares only."""
    connections: list[Connection]
    requests: list[Request]
    interfaces: list[Interface]


def _share(kernel: PluginKernel, share: drgn.Object, reading: Reading) -> Share:
    path = reading.get("share.path", lambda: pointer_text(share.path))
    name = reading.get("share.name", lambda: pointer_text(share.name))
    return Share(
        address=share.value_(),
        name=name,
        path=path,
        vfs_path=reading.get("share.vfs_path", lambda: kernel.path_ref(share.vfs_path)),
        now=reading.look_up(kernel, f"ksmbd share {name}", path),
    )


def _shares(kernel: PluginKernel, reading: Reading) -> Iterator[Share]:
    table = kernel.variable(_MODULE, "shares_table", "struct hlist_head")
    for share in for_each_hlist_entry(kernel, "ksmbd_share_config", table, "hlist"):
        yield _share(kernel, share, reading)


def _client(conn: drgn.Object) -> str | None:
    """``conn->inet_addr`` or ``inet6_addr``, a union told apart by nothing in it: IPv4 has 12 bytes of zeros behind."""
    prog = conn.prog_
    try:
        six = prog.read(conn.inet6_addr.address_of_().value_(), 16)
    except AttributeError:
        try:
            four = conn.inet_addr.value_()
        except AttributeError:
            return None  # before 7.0
        return socket.inet_ntop(socket.AF_INET, four.to_bytes(4, "little"))
    if not any(six):
        return None
    if not any(six[4:]):
        return socket.inet_ntop(socket.AF_INET, six[:4])
    text = socket.inet_ntop(socket.AF_INET6, six)
    return text.removeprefix("::ffff:") if "." in text else text


def _connections(kernel: PluginKernel, reading: Reading) -> Iterator[Connection]:
    """``conn_list``: a hash table since 7.0, a list before."""
    if kernel.prog.type("struct ksmbd_conn").has_member("hlist"):
        table = kernel.variable(_MODULE, "conn_list", "struct hlist_head")
        conns = for_each_hlist_entry(kernel, "ksmbd_conn", table, "hlist")
    else:
        head = kernel.variable(_MODULE, "conn_list", "struct list_head")
        conns = for_each_list_entry(kernel, "ksmbd_conn", head, "conns_list")
    for conn in conns:
        yield Connection(
            address=conn.value_(),
            client=reading.get("conn.inet_addr", lambda conn=conn: _client(conn)),  # type: ignore[misc]
            status=reading.get("conn.status", lambda conn=conn: int(conn.status)),  # type: ignore[misc]
        )


def _requests(kernel: PluginKernel, reading: Reading) -> Iterator[Request]:
    from drgn import Object, container_of

    for worker in for_each_busy_worker(kernel, "handle_ksmbd_work"):
        work = Object(kernel.prog, "struct work_struct *", worker.work)
        conn = container_of(work, "struct ksmbd_work", "work").conn
        client = reading.get("ksmbd_work.conn", lambda conn=conn: _client(conn))  # type: ignore[misc]
        yield Request(worker=worker.task, client=client)


def _interfaces(kernel: PluginKernel) -> Iterator[Interface]:
    head = kernel.variable(_MODULE, "iface_list", "struct list_head")
    for interface in for_each_list_entry(kernel, "interface", head, "entry"):
        yield Interface(
            name=pointer_text(interface.name),
            up=interface.state.value_() == 2,  # IFACE_STATE_CONFIGURED
            thread=interface.ksmbd_kthread.value_() or None,
        )


def collect(kernel: PluginKernel) -> KsmbdFacts:
    """Read shares, connections, what is being handled and what is listened on."""
    reading = Reading()
    conf = reading.get(
        "server_conf", lambda: kernel.variable(_MODULE, "server_conf", "struct ksmbd_server_config")
    )
    return KsmbdFacts(
        server_state=None if conf is None else reading.get("server_conf.state", lambda: int(conf.state)),
        tcp_port=None if conf is None else reading.get("server_conf.tcp_port", lambda: int(conf.tcp_port)),
        shares=reading.get_list("shares_table", lambda: _shares(kernel, reading)),
        connections=reading.get_list("conn_list", lambda: _connections(kernel, reading)),
        requests=reading.get_list("ksmbd_work", lambda: _requests(kernel, reading)),
        interfaces=reading.get_list("iface_list", lambda: _interfaces(kernel)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: KsmbdFacts) -> Iterator[Finding]:
    """Shares that serve something else than their path says, and who borrows."""
    yield from incomplete(PLUGIN, facts)
    yield from borrowers(PLUGIN, snapshot, _BORROW, "ksmbd looks a path of a share up as init would see it.")
    for share in facts.shares:
        yield from _served(share)


def _served(share: Share) -> Iterator[Finding]:
    served = share.vfs_path
    if served is None:
        return
    reference = Reference(kind="plugin", address=share.address, label=f"ksmbd share {share.name}")
    dead = [*_DEAD_SHARE.findings(PLUGIN, served, f"share {share.name} ({share.path}) serves", reference)]
    yield from dead
    if dead:
        return
    if share.now is not None and share.now.found == "no":
        absence, do = absent(
            share.now,
            "Make the directory again, or correct the share's path; then have the clients disconnect from it once.",
        )
        yield PLUGIN.finding(
            "GONE-PATH",
            Severity.MEDIUM,
            f"share {share.name} serves {served.fstype}:{served.path}, but {share.path} {absence}",
            [
                reference,
                Reference(kind="mount", address=served.mount, label=f"{served.fstype}:{served.path}"),
            ],
            means="Since its first client connected the directory was removed or renamed, what it was on was moved, or "
            "init's root was. Connected clients keep what was there; whoever connects to it anew is refused.",
            do=do,
        )
        return
    now = share.now.target if share.now is not None and share.now.found == "yes" else None
    if now is not None and (now.mount, now.dentry) != (served.mount, served.dentry):
        yield PLUGIN.finding(
            "OTHER-PATH",
            Severity.MEDIUM,
            f"share {share.name} serves {served.fstype}:{served.path}, but {share.path} is now "
            f"{now.fstype}:{now.path}",
            [
                reference,
                Reference(kind="mount", address=served.mount, label=f"{served.fstype}:{served.path}"),
                Reference(kind="mount", address=now.mount, label=f"{now.fstype}:{now.path}"),
            ],
            means="The share was opened when its first client connected; since then something was mounted over its "
            "path, a directory of that path was renamed and another one took its name, or init's root moved. Connected "
            "clients keep what was there before.",
            do="Have the clients disconnect from the share once; mount and rename before ksmbd serves.",
        )


PLUGIN = Plugin(
    name="ksmbd",
    title="ksmbd: the SMB server in the kernel",
    facts=KsmbdFacts,
    collect=collect,
    audit=audit,
    needs_modules=("ksmbd",),
    built_in="ksmbd_conn_handler_loop",
    speaks_for=(
        Speaks(work="handle_ksmbd_work"),
        Speaks(threadfn="ksmbd_kthread_fn"),
        Speaks(threadfn="ksmbd_conn_handler_loop"),
        Speaks(threadfn="ksmbd_durable_scavenger"),
        Speaks(workqueue="ksmbd-*"),
    ),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=_BORROWS,
)
