"""NFSv4 referrals (fs/nfs/nfs4namespace.c): a server that says that a directory is on another server.

``nfs4_submount()`` mounts what the referral names when a task walks into it, and ``nfs_do_submount()`` looks a path up
in the new server's tree with ``vfs_path_lookup()``, which starts there and not at a root: nothing borrows. That is
always a user task's own work; ``nfs_referral_count_list`` has every task that is at it, so that servers which refer to
one another do not loop.

Not tested: a referral on its way, which needs two servers. The empty list and the clients were read from loaded
modules; a kernel thread that follows one was tried on snapshots made by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Address,
    Expectation,
    Finding,
    GuardedFacts,
    KernelText,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    everywhere,
    for_each_list_entry,
    for_each_net_state,
    frame_in,
    incomplete,
    isolates,
    pointer_text,
    task_name,
    task_reference,
)

__all__ = ("PLUGIN", "Client", "Nfs4ReferralFacts", "Referral")

_SUBMOUNT = ("nfs4_submount",)
_NFS4 = 4


class Referral(Record):
    """``struct nfs_referral_count``: a task that follows referrals now."""

    task: Reference
    count: int
    """How many, one within the other."""


class Client(Record):
    """``struct nfs_client`` of NFSv4."""

    address: Address
    host: KernelText | None
    minor: int | None


class Nfs4ReferralFacts(GuardedFacts):
    referrals: list[Referral]
    clients: list[Client]


def _referrals(kernel: PluginKernel) -> Iterator[Referral]:
    head = kernel.variable("nfsv4", "nfs_referral_count_list", "struct list_head")
    for entry in for_each_list_entry(kernel, "nfs_referral_count", head, "list"):
        yield Referral(task=kernel.task_ref(entry.task), count=int(entry.referral_count))


def _clients(kernel: PluginKernel) -> Iterator[Client]:
    for state in for_each_net_state(kernel, "nfs", "nfs_net_id", "struct nfs_net"):
        for client in for_each_list_entry(kernel, "nfs_client", state.nfs_client_list, "cl_share_link"):
            if client.rpc_ops.version.value_() == _NFS4:
                yield Client(
                    address=client.value_(),
                    host=pointer_text(client.cl_hostname),
                    minor=int(client.cl_minorversion),
                )


def collect(kernel: PluginKernel) -> Nfs4ReferralFacts:
    """Read who follows referrals, and the servers that this kernel is a client of."""
    reading = Reading()
    return Nfs4ReferralFacts(
        referrals=reading.get_list("nfs_referral_count_list", lambda: _referrals(kernel)),
        clients=reading.get_list("nfs_client_list", lambda: _clients(kernel)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: Nfs4ReferralFacts) -> Iterator[Finding]:
    """A kernel thread that follows a referral."""
    yield from incomplete(PLUGIN, facts)
    if not isolates(snapshot):
        return
    following = {referral.task.address for referral in facts.referrals}
    for task in snapshot.tasks:
        if task.kthread is None:
            continue
        if task.address in following or frame_in(task, _SUBMOUNT):
            yield PLUGIN.finding(
                "KTHREAD",
                Severity.HIGH,
                f"{task_name(task)}, a kernel thread, follows an NFSv4 referral",
                [task_reference(task)],
                means="Referrals are followed by tasks that walk a path, in their own mount namespace. A kernel "
                "thread has no path to walk on an isolated kernel.",
                do="Find out which module looks a path up in that thread.",
            )


PLUGIN = Plugin(
    name="nfs4_referral",
    title="NFSv4 referrals: mounts on other servers",
    facts=Nfs4ReferralFacts,
    collect=collect,
    audit=audit,
    needs_modules=("nfsv4",),
    built_in="nfs4_submount",
    speaks_for=(Speaks(threadfn="nfs4_run_state_manager"), Speaks(threadfn="nfs4*_callback_svc")),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
