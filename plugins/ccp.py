"""AMD SEV (drivers/crypto/ccp/sev-dev.c): the file that keeps the platform's state over a reboot.

With the module parameter ``init_ex_path``, ``sev_read_init_ex_file()`` and ``sev_write_init_ex_file()`` read and write
that file, in the driver's probe or in a user's ioctl, through ``open_file_as_root()``: with the root user's credentials
and from init's root, which since 7.3 is a borrow of init's filesystem, whichever task it is.

Not tested on loaded modules: Debian's cloud kernels have no ccp, and it needs an AMD processor. On them the plugin says
*not loaded*; the audit was tested on facts made by hand.
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
    borrower,
    everywhere,
    incomplete,
    pointer_text,
)

__all__ = ("PLUGIN", "CcpFacts")

_FUNCTION = "open_file_as_root"


class CcpFacts(GuardedFacts):
    init_ex_path: KernelText | None
    """The module parameter; ``None`` if it is not set."""
    now: KernelSetting | None
    """That path, from init's root."""
    directory: KernelSetting | None
    """The directory it is in."""


def collect(kernel: PluginKernel) -> CcpFacts:
    """Read the parameter."""
    reading = Reading()
    path = reading.get(
        "init_ex_path", lambda: pointer_text(kernel.variable("ccp", "init_ex_path", "char *").read_())
    )
    directory = None if not path else path.rpartition("/")[0]
    return CcpFacts(
        init_ex_path=path or None,
        now=reading.look_up(kernel, "init_ex_path", path),
        directory=reading.look_up(kernel, "directory of init_ex_path", directory),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: CcpFacts) -> Iterator[Finding]:
    """A file that does not exist for init, and who borrows init's filesystem to open it."""
    yield from incomplete(PLUGIN, facts)
    for task in snapshot.tasks:
        walks_there = task.walk is not None and task.walk.path == facts.init_ex_path is not None
        in_function = any(frame.function == _FUNCTION for frame in task.stack or ())
        if task.borrowing and (walks_there or in_function):
            yield borrower(
                PLUGIN, task, _FUNCTION, "The driver opens its file as root, where init would see it."
            )
    evidence = [Reference(kind="setting", address=None, label="init_ex_path")]
    if facts.directory is not None and facts.directory.found == "no":
        says, do = absent(
            facts.directory,
            "Create the directory where init sees it, in the initramfs too if the driver is loaded there.",
        )
        yield PLUGIN.finding(
            "NO-DIRECTORY",
            Severity.MEDIUM,
            f"ccp.init_ex_path is {facts.init_ex_path}, and {facts.directory.path} {says}",
            evidence,
            means="The driver can neither read nor create its file: the platform's state is not kept.",
            do=do,
        )
    elif facts.now is not None and facts.now.found == "no":
        says, do = absent(
            facts.now,
            "Nothing on a first start; else look whether its filesystem was mounted after the driver was loaded.",
        )
        yield PLUGIN.finding(
            "NO-FILE",
            Severity.INFO,
            f"ccp.init_ex_path is {facts.init_ex_path}, which {says}",
            evidence,
            means="The driver takes that for a first start, and creates the file when there is something to keep.",
            do=do,
        )


PLUGIN = Plugin(
    name="ccp",
    title="AMD SEV: the file with the platform's state",
    facts=CcpFacts,
    collect=collect,
    audit=audit,
    needs_modules=("ccp",),
    built_in="sev_platform_init",
    speaks_for=(Speaks(comm="ccp-*"),),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(_FUNCTION, by_user_tasks=True),),
)
