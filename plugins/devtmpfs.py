"""devtmpfs: the kernel thread ``kdevtmpfs`` creates and removes device nodes (drivers/base/devtmpfs.c).

``devtmpfsd()`` unshares its filesystem state and its mount namespace at boot, mounts devtmpfs over the root of
that namespace and enters it. So it never borrows: it has an ``fs_struct`` of its own on every kernel, on top of a
nullfs from 7.0 on. Drivers put a ``struct req`` on the list ``requests`` and sleep until the thread has served it:
while the thread is stuck, so is everyone who adds or removes a device.

A stuck ``requests`` list was not made on Debian kernels: nothing can hold the thread up there, because it walks no
filesystem but its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from explorer.plugin import (
    Address,
    Expectation,
    Finding,
    GuardedFacts,
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
    Task,
    everywhere,
    incomplete,
    pointer_text,
    task_name,
    task_reference,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "DevtmpfsFacts", "Request")

_STUCK_S = 10.0
#: The three static variables stand side by side; their names alone are too common to be trusted.
_NEAR = 256


class Request(Record):
    """A device node that somebody waits for: ``struct req``."""

    name: KernelText | None
    removes: bool
    """It is to be removed (mode 0), not created."""


class DevtmpfsFacts(GuardedFacts):
    thread: Address | None
    """The task of ``kdevtmpfs``."""
    mount: PathRef | None
    """The kernel's internal mount (``mnt``): the superblock that every devtmpfs mount shows."""
    requests: list[Request]


class _Path(NamedTuple):
    mnt: drgn.Object
    dentry: drgn.Object


def _thread(kernel: PluginKernel) -> drgn.Object:
    thread = kernel.variable("", "thread", "struct task_struct *")
    if thread.comm.string_() != b"kdevtmpfs":
        raise LookupError("the variable thread that was found is not devtmpfs's")
    return thread


def _mount(kernel: PluginKernel, thread: drgn.Object) -> PathRef | None:
    mnt = kernel.variable("", "mnt", "struct vfsmount *")
    _check_neighbour(mnt, thread)
    return kernel.path_ref(_Path(mnt, mnt.mnt_root))


def _check_neighbour(variable: drgn.Object, thread: drgn.Object) -> None:
    if abs(variable.address_ - thread.address_) > _NEAR:
        raise LookupError("the variable that was found is not devtmpfs's")


def _requests(kernel: PluginKernel, thread: drgn.Object) -> Iterator[Request]:
    first = kernel.variable("", "requests", "struct req *")
    _check_neighbour(first, thread)

    def chain() -> Iterator[drgn.Object]:
        request = first
        while request.value_():
            yield request
            request = request.next

    for request in kernel.bounded(chain(), "requests", 10_000):
        yield Request(name=pointer_text(request.name), removes=request.mode.value_() == 0)


def collect(kernel: PluginKernel) -> DevtmpfsFacts:
    """Read ``thread``, ``mnt`` and ``requests``."""
    reading = Reading()
    thread = reading.get("thread", lambda: _thread(kernel))
    if thread is None:
        return DevtmpfsFacts(thread=None, mount=None, requests=[], missing=reading.missing)
    return DevtmpfsFacts(
        thread=thread.value_(),
        mount=reading.get("mnt", lambda: _mount(kernel, thread)),
        requests=reading.get_list("requests", lambda: _requests(kernel, thread)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: DevtmpfsFacts) -> Iterator[Finding]:
    """``kdevtmpfs`` is not where it belongs, or does not serve."""
    yield from incomplete(PLUGIN, facts)
    for task in snapshot.tasks:
        if any(speaks.matches(task) for speaks in PLUGIN.speaks_for):
            yield from _placement(snapshot, task)
            if facts.requests:
                yield _waiting(task, facts)


def _placement(snapshot: Snapshot, task: Task) -> Iterator[Finding]:
    fs = snapshot.fs_of(task)
    if fs is None:
        return
    evidence = [
        task_reference(task),
        Reference(kind="fs_struct", address=fs.address, label=f"fs_struct of {task.name}"),
    ]
    if task.owner is not Owner.PRIVATE or (fs.users or 1) > 1:
        yield PLUGIN.finding(
            "SHARED-FS",
            Severity.HIGH,
            f"{task_name(task)} shares its fs_struct ({task.owner_word}, {fs.users} users)",
            evidence,
            means="devtmpfsd() changes its root at boot; with a shared fs_struct it changed that of others too.",
            do="Look for a change to devtmpfsd(): it must unshare CLONE_FS before it mounts.",
        )
    elif fs.root is not None and fs.root.fstype not in (None, "devtmpfs"):
        in_nullfs = fs.root.placement in (Placement.NULLFS, Placement.NULLFS_NS_ROOT, Placement.FAILFS)
        yield PLUGIN.finding(
            "ROOT",
            Severity.HIGH if in_nullfs else Severity.MEDIUM,
            f"the root of {task_name(task)} is {fs.root.fstype}:{fs.root.path}, not devtmpfs",
            evidence,
            means="Device nodes are created in the thread's root: they do not reach any devtmpfs.",
            do="Look in the log for why devtmpfsd_setup() failed to mount or to enter its devtmpfs.",
        )


def _waiting(task: Task, facts: DevtmpfsFacts) -> Finding:
    stuck = task.state == "D" or (task.waiting_s or 0.0) > _STUCK_S
    names = ", ".join(request.name or "?" for request in facts.requests[:3])
    return PLUGIN.finding(
        "REQUESTS",
        Severity.HIGH if stuck else Severity.INFO,
        f"{len(facts.requests)} device nodes wait for {task_name(task)}: {names}",
        [task_reference(task)],
        means="Whoever adds or removes these devices sleeps until the thread has served them.",
        do="If it stays so, look at the thread's stack."
        if stuck
        else "Nothing: the thread was about to run.",
    )


PLUGIN = Plugin(
    name="devtmpfs",
    title="devtmpfs: device nodes made by kdevtmpfs",
    facts=DevtmpfsFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("devtmpfsd",),
    speaks_for=(Speaks(threadfn="devtmpfsd"),),
    expected=everywhere(Expectation((Owner.PRIVATE,), (Placement.NS_ROOT,))),
)
