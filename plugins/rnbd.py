"""RNBD: the server that exports block devices over RDMA (drivers/block/rnbd).

A client names a device by a path; ``process_msg_open()`` puts ``dev_search_path`` before it (``%SESSNAME%`` in it
stands for the session's name) and opens it. Messages are handled where RDMA completions are, on the workqueue
``ib-comp-wq`` (``ib_cq_poll_work``): since 7.3 ``process_msg_open()`` borrows init's filesystem.

Not tested: Debian's cloud kernel has no RNBD (``CONFIG_BLK_DEV_RNBD_SERVER``), and it needs RDMA hardware or rxe. On
real kernels only *not loaded* was seen; the audit was tested on facts made by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Borrows,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    absent,
    array_text,
    borrowers,
    everywhere,
    incomplete,
)

__all__ = ("PLUGIN", "RnbdFacts")

_SESSION = "%SESSNAME%"

_BORROW = ("process_msg_open",)


class RnbdFacts(GuardedFacts):
    dev_search_path: KernelText | None
    """Put before every name that a client asks for."""
    searched: KernelSetting | None
    """The part of it that is the same for every session, from init's root."""


def collect(kernel: PluginKernel) -> RnbdFacts:
    """Read ``dev_search_path``."""
    reading = Reading()
    path = reading.get(
        "dev_search_path",
        lambda: array_text(kernel.variable("rnbd_server", "dev_search_path", "char [4096]")),
    )
    common = None if path is None else path.partition(_SESSION)[0]
    return RnbdFacts(
        dev_search_path=path,
        searched=reading.look_up(kernel, "dev_search_path", common),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: RnbdFacts) -> Iterator[Finding]:
    """A search path that init does not have, and who borrows."""
    yield from incomplete(PLUGIN, facts)
    yield from borrowers(
        PLUGIN, snapshot, _BORROW, "RNBD opens the device that a client named, as init would."
    )
    if facts.searched is not None and facts.searched.found == "no":
        says, do = absent(
            facts.searched, "Create the directory, or load rnbd_server with another dev_search_path."
        )
        yield PLUGIN.finding(
            "SEARCH-PATH",
            Severity.MEDIUM,
            f"dev_search_path is {facts.dev_search_path}, which {says}",
            [Reference(kind="setting", address=None, label="dev_search_path")],
            means="Every device that a client asks for is looked up below this path, from init's root: none can be "
            "opened.",
            do=do,
        )


PLUGIN = Plugin(
    name="rnbd",
    title="RNBD server: block devices exported over RDMA",
    facts=RnbdFacts,
    collect=collect,
    audit=audit,
    needs_modules=("rnbd_server",),
    built_in="rnbd_srv_sess_dev_force_close",
    speaks_for=(Speaks(work="ib_cq_poll_work"),),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(*_BORROW, seen_as=("rnbd_srv_rdma_ev",)),),
)
