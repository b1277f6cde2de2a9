"""Usermodehelpers: programs that the kernel starts by itself (kernel/umh.c): modprobe, core pipes, hotplug.

``call_usermodehelper_exec_work()`` runs on ``system_dfl_wq`` and makes the process with ``user_mode_thread()``;
since 7.3 its filesystem state is a copy of init's, not of the (isolated) kworker's: no borrow, but the same root as
init and init's mount namespace. ``UMH_WAIT_PROC`` (modprobe) keeps a kworker in ``kernel_wait4()`` for as long as
the helper runs, and leaves a ``subprocess_info``; with ``UMH_WAIT_EXEC`` (core pipes) only the process is left, a
child of kthreadd. A helper that has not reached exec yet still bears its kworker's name.

For modprobe, ``path`` and ``argv[0]`` *are* the variable ``modprobe_path``: they show its present text, not what was
executed; the module's alias, ``argv[3]``, is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    BusyWorker,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
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
    TaskFlag,
    TaskKind,
    array_text,
    everywhere,
    for_each_busy_worker,
    incomplete,
    pointer_text,
    task_name,
    task_reference,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Helper", "UmhFacts")

_MAX_ARGUMENTS = 64


class Helper(Record):
    """A ``subprocess_info`` whose helper a kworker waits for."""

    address: Address
    worker: Reference
    path: KernelText | None
    argv: list[KernelText]
    wait: int
    """``UMH_*`` bits: 1 WAIT_EXEC, 2 WAIT_PROC, 4 KILLABLE."""


class UmhFacts(GuardedFacts):
    modprobe_path: KernelText | None
    modprobe: KernelSetting | None
    """That path, from init's root; ``None`` where it could not be looked up."""
    running_helpers: int | None
    """Helpers being started or waited for."""
    disabled: int | None
    """``usermodehelper_disabled``: 0 enabled, 1 freezing, 2 disabled."""
    waiting: list[Helper]


def _argv(kernel: PluginKernel, argv: drgn.Object) -> Iterator[KernelText]:
    def pointers() -> Iterator[drgn.Object]:
        index = 0
        while argv.value_() and argv[index].value_():
            yield argv[index]
            index += 1

    for pointer in kernel.bounded(pointers(), "argv", _MAX_ARGUMENTS):
        yield pointer_text(pointer) or ""


def _helper(kernel: PluginKernel, worker: BusyWorker, reading: Reading) -> Helper:
    from drgn import Object, container_of

    work = Object(kernel.prog, "struct work_struct *", worker.work)
    info = container_of(work, "struct subprocess_info", "work")
    return Helper(
        address=info.value_(),
        worker=worker.task,
        path=pointer_text(info.path),
        argv=reading.get_list("argv", lambda: _argv(kernel, info.argv)),
        wait=info.wait.value_(),
    )


def collect(kernel: PluginKernel) -> UmhFacts:
    """Read the settings, and every ``subprocess_info`` that a kworker is at."""
    reading = Reading()
    path = reading.get(
        "modprobe_path", lambda: array_text(kernel.variable("", "modprobe_path", "char [256]"))
    )
    return UmhFacts(
        modprobe_path=path,
        modprobe=reading.look_up(kernel, "modprobe_path", path),
        running_helpers=reading.get(
            "running_helpers", lambda: kernel.variable("", "running_helpers", "atomic_t").counter.value_()
        ),
        disabled=reading.get(
            "usermodehelper_disabled",
            lambda: kernel.variable("", "usermodehelper_disabled", "unsigned int").value_(),
        ),
        waiting=reading.get_list(
            "subprocess_info",
            lambda: (
                _helper(kernel, worker, reading)
                for worker in for_each_busy_worker(kernel, "call_usermodehelper_exec_work")
            ),
        ),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: UmhFacts) -> Iterator[Finding]:
    """Helpers that do not live where init lives."""
    yield from incomplete(PLUGIN, facts)
    for task in snapshot.tasks:
        if task.kind is TaskKind.USERMODEHELPER:
            yield from _placement(snapshot, task)


def _placement(snapshot: Snapshot, task: Task) -> Iterator[Finding]:
    fs = snapshot.fs_of(task)
    root = fs.root.placement if fs is not None and fs.root is not None else None
    evidence = [task_reference(task)]
    before_exec = task.has_flag(TaskFlag.FORKNOEXEC)
    what = f"{task_name(task)}, started by the kernel{' and not executed yet' if before_exec else ''},"
    if root in (Placement.NULLFS, Placement.NULLFS_NS_ROOT, Placement.FAILFS):
        yield PLUGIN.finding(
            "NULLFS",
            Severity.HIGH,
            f"{what} has its root in {root.value}",
            evidence,
            means="It finds no file, its own program included: the helper cannot work.",
            do="Find out who started it: a helper must get a copy of init's fs_struct (user_mode_thread()).",
        )
    elif root not in (None, Placement.INIT_ROOT) and before_exec:
        yield PLUGIN.finding(
            "ROOT",
            Severity.MEDIUM,
            f"{what} has a root that is not init's ({root.value if root else '?'})",
            evidence,
            means="The kernel starts a helper with init's root; this one will execute a file from elsewhere.",
            do="Look at its subprocess_info: an init callback of the caller changed the root.",
        )
    init_ns = snapshot.kernel.init_mnt_ns
    if task.mnt_ns is not None and init_ns is not None and task.mnt_ns != init_ns:
        yield PLUGIN.finding(
            "NAMESPACE",
            Severity.MEDIUM if before_exec else Severity.LOW,
            f"{what} is in another mount namespace than init",
            evidence,
            means="The kernel starts a helper in the initial mount namespace."
            + ("" if before_exec else " It may have entered this one itself: some core dump handlers do."),
            do="Check that the helper means to be there: it runs with full privileges.",
        )


PLUGIN = Plugin(
    name="umh",
    title="usermodehelpers: programs started by the kernel",
    facts=UmhFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("call_usermodehelper_exec_work",),
    speaks_for=(Speaks(work="call_usermodehelper_exec_work"),),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
