"""IMA and EVM: keys and policies that the kernel reads by path (security/integrity).

At boot ``integrity_load_x509()`` reads certificates by path: PID 1 does it, before it executes init, in its own
filesystem state. At run time a policy may be given as a path (``ima_write_policy``): the writer is a user task, and the
lookup its own. Both go through ``kernel_read_file_from_path()``, which does not borrow: a kernel thread that came there
would find nothing.

Nothing of it lasts, and Debian's kernels are built without a certificate path (``CONFIG_IMA_LOAD_X509``): tested were
the facts and the silence; the finding only on a snapshot made by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Expectation,
    Finding,
    GuardedFacts,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Severity,
    Snapshot,
    everywhere,
    incomplete,
    task_name,
    task_reference,
)

__all__ = ("PLUGIN", "ImaFacts")

_READERS = ("integrity_read_file", "integrity_load_x509", "ima_read_policy", "ima_write_policy")


class ImaFacts(GuardedFacts):
    policy_flag: int | None
    """``ima_policy_flag``: 0 while no policy asks for anything (``IMA_MEASURE`` 1, ``IMA_APPRAISE`` 4 …)."""
    evm_initialized: int | None
    """``evm_initialized``: which keys EVM has; 0 for none."""


def collect(kernel: PluginKernel) -> ImaFacts:
    """Read whether a policy is active and keys are loaded."""
    reading = Reading()

    def number(name: str) -> int | None:
        return reading.get(name, lambda: int(kernel.variable("", name, "int").value_()))

    return ImaFacts(
        policy_flag=number("ima_policy_flag"),
        evm_initialized=number("evm_initialized"),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: ImaFacts) -> Iterator[Finding]:
    """A kernel thread that reads a key or a policy by path. Needs stacks."""
    yield from incomplete(PLUGIN, facts)
    for task in snapshot.tasks:
        if task.kthread is None or task.borrowing:
            continue
        frame = next((frame for frame in task.stack or () if frame.function in _READERS), None)
        if frame is not None:
            yield PLUGIN.finding(
                "KTHREAD",
                Severity.HIGH,
                f"{task_name(task)} reads a file of IMA by its path, in {frame.function}",
                [task_reference(task)],
                means="kernel_read_file_from_path() starts at the thread's own root, where there is nothing: no key or "
                "policy will be loaded.",
                do="The thread must borrow with scoped_with_init_fs(), or leave the reading to PID 1.",
            )


PLUGIN = Plugin(
    name="ima",
    title="IMA and EVM: keys and policies read by path",
    facts=ImaFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("ima_policy_flag",),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
