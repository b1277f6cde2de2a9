"""Usermodehelpers: programs that the kernel starts by itself (kernel/umh.c): modprobe, core pipes, hotplug.

``call_usermodehelper_exec_work()`` runs on ``system_dfl_wq`` and makes the process with ``user_mode_thread()``;
since 7.3 its filesystem state is a copy of init's, not of the (isolated) kworker's: no borrow, but the same root as
init and init's mount namespace. ``UMH_WAIT_PROC`` (modprobe) keeps a kworker in ``kernel_wait4()`` for as long as
the helper runs, and leaves a ``subprocess_info``; with ``UMH_WAIT_EXEC`` (core pipes) only the process is left, a
child of kthreadd. A helper that has not reached exec yet still bears its kworker's name.

For modprobe, ``path`` and ``argv[0]`` *are* the variable ``modprobe_path``: they show its present text, not what was
executed; the module's alias, ``argv[3]``, is right. What runs is the process's own executable. Who wants a helper is
in the completion that its ``subprocess_info`` points at; who dumps core into one waits at the pipe that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    STUCK_S,
    Address,
    BusyWorker,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
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
    TaskFlag,
    TaskKind,
    absent,
    array_text,
    everywhere,
    for_each_busy_worker,
    incomplete,
    pointer_text,
    task_name,
    task_reference,
)

from ._waiters import completion_waiters, dumpers_into_stdin

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Helper", "HelperProcess", "UmhFacts")

_MAX_ARGUMENTS = 64
_DEFAULT_MODPROBE = "/sbin/modprobe"  # CONFIG_MODPROBE_PATH, unless somebody chose another
#: Modules that wait for firmware or for a slow bus take that long.
_WAITED_S = 60.0


class Helper(Record):
    """A ``subprocess_info`` whose helper a kworker waits for."""

    address: Address
    worker: Reference
    path: KernelText | None
    argv: list[KernelText]
    wait: int
    """``UMH_*`` bits: 1 WAIT_EXEC, 2 WAIT_PROC, 4 KILLABLE."""
    wanted_by: list[Reference] | None = None
    """The tasks that wait for the kworker to say how it went; empty: they were killed, and nobody cares any more."""


class HelperProcess(Record):
    """A helper that runs, or is about to."""

    process: Reference
    before_exec: bool | None
    exe: PathRef | None
    """What it runs, whatever ``modprobe_path`` says by now; ``None`` before exec."""
    arguments: list[KernelText] | None
    """What it was executed with; ``None`` where user memory is not there."""
    worker: Address | None
    """The kworker that waits for it (``UMH_WAIT_PROC``)."""
    dump_of: list[Reference] | None
    """The tasks that dump core into it, and wait."""


class UmhFacts(GuardedFacts):
    modprobe_path: KernelText | None
    modprobe: KernelSetting | None
    """That path, from init's root; ``None`` where it could not be looked up."""
    running_helpers: int | None
    """Helpers being started or waited for."""
    disabled: int | None
    """``usermodehelper_disabled``: 0 enabled, 1 freezing, 2 disabled."""
    waiting: list[Helper]
    processes: list[HelperProcess] | None = None
    """All that run, those without a kworker too; ``None`` in a snapshot of an earlier version."""


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
        wanted_by=reading.get(
            "subprocess_info.complete",
            lambda: kernel.newer(lambda: _wanted_by(kernel, info.complete.read_())),
        ),
    )


def _wanted_by(kernel: PluginKernel, completion: drgn.Object) -> list[Reference]:
    """NULL once the requester was killed: umh_complete() then frees the rest."""
    if not completion.value_():
        return []
    return [kernel.task_ref(task) for task in completion_waiters(kernel, completion)]


def _processes(kernel: PluginKernel, reading: Reading) -> Iterator[HelperProcess]:
    from drgn import Object

    for helper in kernel.usermodehelpers:
        if helper.process is None:
            continue
        task = Object(kernel.prog, "struct task_struct *", helper.process)
        reference = kernel.task_ref(task)
        yield HelperProcess(
            process=reference,
            before_exec=helper.before_exec,
            exe=helper.exe,
            arguments=helper.arguments,
            worker=helper.waiting_worker,
            dump_of=reading.get(
                f"standard input of {reference.label}",
                lambda task=task: kernel.newer(lambda: list(dumpers_into_stdin(kernel, task))),  # type: ignore[misc]
            ),
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
        processes=reading.get_list("processes", lambda: _processes(kernel, reading)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: UmhFacts) -> Iterator[Finding]:
    """A modprobe that is not there, helpers that do not get on, and those that do not live where init lives."""
    yield from incomplete(PLUGIN, facts)
    yield from _modprobe(facts)
    yield from _stuck(snapshot, facts)
    for task in snapshot.tasks:
        if task.kind is TaskKind.USERMODEHELPER:
            yield from _placement(snapshot, task)


def _modprobe(facts: UmhFacts) -> Iterator[Finding]:
    if facts.modprobe is None or facts.modprobe.found != "no":
        return
    says, do = absent(
        facts.modprobe,
        "Set kernel.modprobe to where init sees the program, or to nothing if no module shall be loaded.",
    )
    chosen = facts.modprobe_path != _DEFAULT_MODPROBE or facts.modprobe.is_only_elsewhere
    yield PLUGIN.finding(
        "NO-MODPROBE",
        Severity.MEDIUM if chosen else Severity.INFO,
        f"kernel.modprobe is {facts.modprobe_path}, which {says}",
        [Reference(kind="setting", address=None, label="modprobe_path")],
        means="The kernel executes it from init's root, whoever needs a module: what asks for one by its name "
        "(filesystems, protocols, ciphers) fails."
        + (
            ""
            if chosen
            else " It is what is compiled in: a system without modules, or an initramfs, lives with it."
        ),
        do=do,
    )


def _stuck(snapshot: Snapshot, facts: UmhFacts) -> Iterator[Finding]:
    """Somebody has waited for long, or it is in D state: that a helper sleeps is no fault by itself."""
    processes = facts.processes or []
    waiting = {helper.worker.address: helper for helper in facts.waiting}
    for process in processes:
        helper = waiting.get(process.worker)
        yield from _stuck_helper(snapshot, process, helper)
    served = {process.worker for process in processes}
    for helper in facts.waiting:
        if helper.worker.address not in served and facts.processes is not None:
            yield from _stuck_helper(snapshot, None, helper)


def _stuck_helper(
    snapshot: Snapshot, process: HelperProcess | None, helper: Helper | None
) -> Iterator[Finding]:
    by_address = snapshot.task_by_address
    task = None if process is None else by_address.get(process.process.address or 0)
    waiters = [] if helper is None else [helper.worker, *(helper.wanted_by or ())]
    waiters += (process.dump_of or []) if process is not None else []
    tasks = [by_address.get(waiter.address or 0) for waiter in waiters]
    waited = max((waiter.waiting_s or 0.0 for waiter in tasks if waiter is not None), default=0.0)
    hangs = task.waiting_s if task is not None and task.state == "D" else None
    if waited < _WAITED_S and (hangs is None or hangs < STUCK_S):
        return
    if task is None:
        what = f"a usermodehelper ({' '.join(helper.argv) if helper else '?'})"
    else:
        exe = None if process is None or process.exe is None else process.exe.path
        what = f"the usermodehelper {task_name(task)}" + (f" ({exe})" if exe else "")
    how = (
        f"has been in D state for {hangs:.0f} s"
        if hangs is not None and hangs >= STUCK_S
        else "has not ended"
    )
    who = f"; {', '.join(waiter.label for waiter in waiters)} wait{'s' if len(waiters) == 1 else ''} for it"
    yield PLUGIN.finding(
        "STUCK",
        Severity.MEDIUM,
        f"{what} {how}" + (who + (f", for {waited:.0f} s" if waited >= _WAITED_S else "") if waiters else ""),
        [*([] if task is None else [task_reference(task)]), *waiters],
        means="Who asked the kernel for this program waits until it ends: a mount or a socket for its module, a "
        "process that crashed for its dump.",
        do="Find out what the program waits for, or kill it: the kernel then takes its request for failed.",
    )


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
