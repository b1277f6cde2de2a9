"""initramfs: the archive that the kernel unpacks into the rootfs before PID 1 runs (init/initramfs.c).

``do_populate_rootfs()`` is an asynchronous function: a kworker runs it (``async_run_entry_fn``), while the rest of the
kernel boots. Since 7.3 it borrows init's filesystem for the whole of the unpacking, which is the longest borrow there
is: seconds for a large archive. Whoever needs a file earlier waits in ``wait_for_initramfs()``. After boot nothing of
it is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Borrows,
    Expectation,
    Finding,
    GuardedFacts,
    KernelWord,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    borrowers,
    everywhere,
    for_each_busy_worker,
    for_each_list_entry,
    function_name,
    incomplete,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "AsyncCall", "InitramfsFacts")

_UNPACK = "do_populate_rootfs"
#: include/linux/kernel.h: enum system_states
_STATES = ("booting", "scheduling", "freeing initmem", "running")


class AsyncCall(Record):
    """``struct async_entry``: an asynchronous function that has not returned yet."""

    function: KernelWord | None
    cookie: int
    worker: Reference | None
    """The kworker that runs it; ``None`` while it waits."""


class InitramfsFacts(GuardedFacts):
    system_state: KernelWord | None
    """booting, scheduling, freeing initmem, running, or a number for what comes after."""
    cookie: int | None
    """``initramfs_cookie``: 0 before the unpacking was scheduled."""
    pending: list[AsyncCall]
    """Everything that kworkers run or that waits for one, in the order it was scheduled.

    The unpacking has a domain of its own, ``initramfs_domain``: it is not in ``async_global_pending``.
    """


def _state(kernel: PluginKernel) -> str:
    value = kernel.variable("", "system_state", "unsigned int").value_()
    return _STATES[value] if value < len(_STATES) else str(value)


def _entries(kernel: PluginKernel, reading: Reading, workers: Iterable[int]) -> list[drgn.Object]:
    """Every ``struct async_entry *`` once: in the kernel's lists, or being run."""
    from drgn import Object, container_of

    def in_domain() -> Iterator[drgn.Object]:
        domain = kernel.variable("", "initramfs_domain", "struct async_domain")
        return for_each_list_entry(kernel, "async_entry", domain.pending, "domain_list")

    def in_global_list() -> Iterator[drgn.Object]:
        head = kernel.variable("", "async_global_pending", "struct list_head")
        return for_each_list_entry(kernel, "async_entry", head, "global_list")

    def being_run() -> Iterator[drgn.Object]:
        for work in workers:
            yield container_of(
                Object(kernel.prog, "struct work_struct *", work), "struct async_entry", "work"
            )

    found = [
        *reading.get_list("initramfs_domain", in_domain),
        *reading.get_list("async_global_pending", in_global_list),
        *reading.get_list("kworkers", being_run),
    ]
    return list({entry.value_(): entry for entry in found}.values())


def _call(kernel: PluginKernel, entry: drgn.Object, workers: dict[int, Reference]) -> AsyncCall:
    return AsyncCall(
        function=function_name(kernel.prog, entry.func.value_()),
        cookie=entry.cookie.value_(),
        worker=workers.get(entry.work.address_of_().value_()),
    )


def collect(kernel: PluginKernel) -> InitramfsFacts:
    """Read ``system_state``, ``initramfs_cookie`` and the asynchronous functions that have not returned."""
    reading = Reading()
    busy = reading.get_list("kworkers", lambda: for_each_busy_worker(kernel, "async_run_entry_fn"))
    workers = {worker.work: worker.task for worker in busy}
    entries = _entries(kernel, reading, workers)
    calls = reading.get_list("async_entry", lambda: (_call(kernel, entry, workers) for entry in entries))
    return InitramfsFacts(
        system_state=reading.get("system_state", lambda: _state(kernel)),
        cookie=reading.get(
            "initramfs_cookie",
            lambda: int(kernel.variable("", "initramfs_cookie", "unsigned long long").value_()),
        ),
        pending=sorted(calls, key=lambda call: call.cookie),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: InitramfsFacts) -> Iterator[Finding]:
    """The unpacking, while it runs; unusual once PID 1 runs."""
    yield from incomplete(PLUGIN, facts)
    unpacking = next((call for call in facts.pending if call.function == _UNPACK), None)
    if unpacking is None:
        return
    yield from borrowers(PLUGIN, snapshot, (_UNPACK,), "The initramfs is unpacked into init's root.")
    evidence = [unpacking.worker] if unpacking.worker is not None else []
    who = f"by {unpacking.worker.label}" if unpacking.worker is not None else "and waits for a kworker"
    if facts.system_state == "running":
        yield PLUGIN.finding(
            "LATE",
            Severity.MEDIUM,
            f"the initramfs is still being unpacked {who}, though the system runs",
            evidence,
            means="kernel_init() waits for the initramfs before it starts PID 1: this should be over.",
            do="Look at the stack of the kworker: something that it opens does not answer.",
        )
    else:
        yield PLUGIN.finding(
            "UNPACKING",
            Severity.INFO,
            f"the initramfs is being unpacked {who}: the kernel is {facts.system_state}",
            evidence,
            means="do_populate_rootfs() runs while the rest of the kernel boots; whoever needs a file waits for it.",
            do="Nothing.",
        )


PLUGIN = Plugin(
    name="initramfs",
    title="initramfs: unpacked by a kworker during boot",
    facts=InitramfsFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("async_global_pending", "initramfs_cookie"),
    speaks_for=(Speaks(work="async_run_entry_fn"),),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(_UNPACK),),
)
