"""devtmpfs: the kernel thread ``kdevtmpfs`` creates and removes device nodes (drivers/base/devtmpfs.c).

``devtmpfsd()`` unshares its filesystem state and its mount namespace at boot, mounts devtmpfs over the root of
that namespace and enters it. So it never borrows: it has an ``fs_struct`` of its own on every kernel, on top of a
nullfs from 7.0 on. Drivers put a ``struct req`` on the list ``requests`` and sleep until the thread has served it:
while the thread is stuck, so is everyone who adds or removes a device.

The thread takes the whole list before it serves it: what it works on is in no list any more. A request lies on the
stack of who waits for it, with its completion; a pointer to it lies on the thread's own stack, as long as the thread
works on it. What can hold the thread up is a lock on a directory of devtmpfs, and want of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from explorer.plugin import (
    STUCK_S,
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

from ._waiters import completion_waiters

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "DevtmpfsFacts", "Request")

_STACK = 16 << 10  # THREAD_SIZE, without KASAN
_KERNEL_HALF = 1 << 63
_TASK_INTERRUPTIBLE = 1
#: The three static variables stand side by side; their names alone are too common to be trusted.
_NEAR = 256


class Request(Record):
    """A device node that somebody waits for: ``struct req``."""

    name: KernelText | None
    removes: bool
    """It is to be removed (mode 0), not created."""
    waiter: Reference | None = None
    """The task that sleeps until it is done, as the request's completion has it."""


class DevtmpfsFacts(GuardedFacts):
    thread: Address | None
    """The task of ``kdevtmpfs``."""
    mount: PathRef | None
    """The kernel's internal mount (``mnt``): the superblock that every devtmpfs mount shows."""
    requests: list[Request]
    """Not taken yet."""
    taken: list[Request] | None = None
    """What the thread is at, and what it took with it; ``None`` where its stack could not be read."""


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
    yield from _chain(kernel, first)


def _chain(kernel: PluginKernel, first: drgn.Object) -> Iterator[Request]:
    def chain() -> Iterator[drgn.Object]:
        request = first
        while request.value_():
            yield request
            request = request.next

    for request in kernel.bounded(chain(), "requests", 10_000):
        waiters = _waiters(kernel, request)
        yield Request(
            name=pointer_text(request.name),
            removes=request.mode.value_() == 0,
            waiter=waiters[0] if waiters else None,
        )


def _waiters(kernel: PluginKernel, request: drgn.Object) -> list[Reference] | None:
    done = request.done.address_of_()
    return kernel.newer(lambda: [kernel.task_ref(task) for task in completion_waiters(kernel, done)])


def _taken(kernel: PluginKernel, thread: drgn.Object) -> list[Request] | None:
    """What ``devtmpfs_work_loop()`` holds in its local ``req``, and the rest of that list."""
    return kernel.newer(lambda: _taken_requests(kernel, thread))


def _taken_requests(kernel: PluginKernel, thread: drgn.Object) -> list[Request]:
    """The thread sleeps: all its registers are saved on its stack, from the stack pointer up.

    A word there is the request if what it points to has a completion in which one task waits, that is on both ends of
    a list of one, and lies within that task's own stack.
    """
    import drgn

    if thread.member_("__state").value_() == _TASK_INTERRUPTIBLE:
        return []  # it waits for requests
    prog, pointer, base = kernel.prog, int(thread.thread.sp), int(thread.stack)
    if not base <= pointer < base + _STACK:
        return []
    raw = prog.read(pointer, base + _STACK - pointer)
    found: dict[int, list[Request]] = {}
    words = {int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw) - 7, 8)}
    for word in words:
        if word >= _KERNEL_HALF and not word % 8 and _is_request(kernel, word):
            found[word] = list(_chain(kernel, drgn.Object(prog, "struct req *", word)))
    return max(
        found.values(), key=len, default=[]
    )  # the word for the next one is there, too, and its list is shorter


def _is_request(kernel: PluginKernel, address: int) -> bool:
    import drgn

    request = drgn.Object(kernel.prog, "struct req *", address)
    try:
        head = request.done.wait.task_list
        if request.done.done.value_() or head.next.value_() != head.prev.value_():
            return False
        waiter = drgn.container_of(head.next, "struct swait_queue", "task_list")
        own = head.address_of_().value_()
        if waiter.task_list.next.value_() != own or waiter.task_list.prev.value_() != own:
            return False
        stack = waiter.task.stack.value_()
        return bool(stack <= address < stack + _STACK and stack <= waiter.value_() < stack + _STACK)
    except drgn.FaultError:
        return False  # a word that only looked like a pointer


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
        taken=reading.get("stack of kdevtmpfs", lambda: _taken(kernel, thread)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: DevtmpfsFacts) -> Iterator[Finding]:
    """``kdevtmpfs`` is not where it belongs, or does not serve."""
    yield from incomplete(PLUGIN, facts)
    for task in snapshot.tasks:
        if any(speaks.matches(task) for speaks in PLUGIN.speaks_for):
            yield from _placement(snapshot, task)
            yield from _waiting(snapshot, task, facts)


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


def _waiting(snapshot: Snapshot, task: Task, facts: DevtmpfsFacts) -> Iterator[Finding]:
    """How long a driver has waited, or the thread has been in D state: it may have slept for days before that."""
    requests = [*(facts.taken or ()), *facts.requests]
    waiters = {each.waiter.address: each.waiter for each in requests if each.waiter is not None}
    tasks = [snapshot.task_by_address.get(address or 0) for address in waiters]
    times = [waiter.waiting_s for waiter in tasks if waiter is not None]
    times.append(task.waiting_s if task.state == "D" else None)
    waited = max((time for time in times if time is not None), default=0.0)
    stuck = waited >= STUCK_S or (task.state == "D" and task.waiting_s is None)
    if not requests and not stuck:
        return
    names = ", ".join(request.name or "?" for request in requests[:3]) + (" …" if requests[3:] else "")
    who = ", ".join(waiter.label for waiter in [*waiters.values()][:3])
    nodes = "device node waits" if len(requests) == 1 else "device nodes wait"
    what = f"{len(requests)} {nodes} for {task_name(task)}: {names}"
    if not requests:
        what = f"{task_name(task)} does not get on; whom it keeps waiting is not known"
    at = f", at {task.walk.path}" if stuck and task.walk is not None and task.walk.path else ""
    how = (
        f", in {task.state} state" + at + (f", for {waited:.0f} s" if waited >= STUCK_S else "")
        if stuck
        else ""
    )
    yield PLUGIN.finding(
        "REQUESTS",
        Severity.HIGH if stuck else Severity.INFO,
        what + (f" (for {who})" if who else "") + how,
        [task_reference(task), *waiters.values()],
        means="Whoever adds or removes a device sleeps until the thread has served it, with its driver's locks held: "
        "module loading, hot-plug and boot stop with it.",
        do="Find who holds a directory of /dev locked: a task in the middle of reading or changing it, whose memory or "
        "disk does not answer. Ending that task lets the thread go on."
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
