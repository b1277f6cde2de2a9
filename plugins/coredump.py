"""Core dumps: where a crashing process's memory goes (fs/coredump.c, kernel.core_pattern).

The process that crashes writes the dump itself. A file (``core_pattern`` without a prefix) is looked up from the
process's own root; only where ``suid_dumpable`` 2 makes the kernel dump as root, from init's: since 7.3
``coredump_file()`` borrows init's filesystem for that, in a user task; before, it passed init's root along. A
program (``|``) is a usermodehelper, executed from init's root: see the plugin umh. A socket (``@``) is the plugin
unix_socket's. A relative pattern, as ``core``, is a file in the process's working directory, and normal.

The tasks are user tasks like any other, known by ``PF_DUMPCORE`` and not by name: the plugin speaks for none. Whether
a path exists is what the dcache knows: of a directory that nobody has asked for, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator

from explorer.plugin import (
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Plugin,
    PluginKernel,
    Reading,
    Reference,
    Severity,
    Snapshot,
    absent,
    array_text,
    incomplete,
)

from ._dumping import core_pattern, destination, dumping_findings, is_dumping, knows_sockets

__all__ = ("PLUGIN", "CoredumpFacts")

_SUID_DUMP_ROOT = 2
_AS_ROOT = (
    "It dumps core as root: fs.suid_dumpable was 2 when it changed its user, whatever that says now. Such a dump must "
    "not follow the root of a process that may be hostile."
)
_NOT_KNOWN = (
    "It dumps core to a file as root, or to a socket: which of both cannot be told without its stack, and core_pattern "
    "may have been changed since the dump began."
)


class CoredumpFacts(GuardedFacts):
    core_pattern: KernelText | None
    pipe_limit: int | None
    """``core_pipe_limit``: how many piped dumps at once, whose process is kept until the program ends; 0: no limit,
    and nobody is kept."""
    suid_dumpable: int | None
    """Dumps of processes that changed their user: 0 none, 1 as themselves, 2 as root and through init's root. A
    process keeps what was set when it did."""
    sockets: bool | None = None
    """This kernel can send core dumps to a socket."""


def collect(kernel: PluginKernel) -> CoredumpFacts:
    """Read the three settings."""
    reading = Reading()

    def number(name: str, type_name: str) -> int | None:
        return reading.get(name, lambda: int(kernel.variable("", name, type_name).value_()))

    return CoredumpFacts(
        core_pattern=reading.get(
            "core_pattern", lambda: array_text(kernel.variable("", "core_pattern", "char [128]"))
        ),
        pipe_limit=number("core_pipe_limit", "unsigned int"),
        suid_dumpable=number("suid_dumpable", "int"),
        sockets=knows_sockets(kernel),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: CoredumpFacts) -> Iterator[Finding]:
    """Dumps that have nowhere to go, and those that are stuck or borrow on their way."""
    yield from incomplete(PLUGIN, facts)
    setting = core_pattern(snapshot)
    if setting is not None:
        yield from _destination(setting, facts)
    sockets = facts.sockets is not False
    for task in snapshot.tasks:
        kind = destination(task, sockets) if is_dumping(task) else "socket"
        if kind == "file":
            yield from dumping_findings(PLUGIN, snapshot, [task], "coredump_file", _AS_ROOT)
        elif kind == "unknown":
            functions = "coredump_file or unix_find_bsd" if sockets else "coredump_file"
            yield from dumping_findings(PLUGIN, snapshot, [task], functions, _NOT_KNOWN)


def _destination(setting: KernelSetting, facts: CoredumpFacts) -> Iterator[Finding]:
    value = setting.value or ""
    evidence = [Reference(kind="setting", address=None, label="core_pattern")]
    is_socket = value.startswith("@") and setting.path is not None and value.lstrip("@") == setting.path
    if is_socket:
        return
    if value.startswith("|"):
        if setting.found == "no":
            says, do = absent(
                setting, "Install the program where init sees it, or set kernel.core_pattern to another."
            )
            yield PLUGIN.finding(
                "NO-PROGRAM",
                Severity.MEDIUM,
                f"core dumps are piped to {setting.path}, which {says}",
                evidence,
                means="The program is executed from init's root, whichever process crashes. All core dumps are lost.",
                do=do,
            )
        return
    as_root = facts.suid_dumpable == _SUID_DUMP_ROOT
    # Who dumps with a root of its own looks the directory up there; the kernel's is that of dumps as root alone.
    if setting.found == "no" and (as_root or not setting.is_only_elsewhere):
        says, do = absent(setting, "Create the directory, or set kernel.core_pattern to another.")
        lost = "" if setting.is_only_elsewhere else "of processes with init's root are lost, and those "
        yield PLUGIN.finding(
            "NO-DIRECTORY",
            Severity.LOW,
            f"core dumps go to {value}, but {setting.path} {says}",
            evidence,
            means=f"Core dumps {lost}that suid_dumpable 2 makes the kernel write as root"
            f"{' are lost' if setting.is_only_elsewhere else ''}. A process with another root looks the directory up "
            "there.",
            do=do,
        )
    if as_root and value and not value.startswith("/"):
        yield PLUGIN.finding(
            "UNSAFE-PATTERN",
            Severity.INFO,
            f"fs.suid_dumpable is 2, but core_pattern is {value}: processes that changed their user are not dumped",
            evidence,
            means="As root, the kernel dumps only to a program or to an absolute path: a working directory is up to "
            "the process that crashes.",
            do="Set kernel.core_pattern to a program or an absolute path, if such dumps are wanted.",
        )


PLUGIN = Plugin(
    name="coredump",
    title="core dumps: files and programs that they go to",
    facts=CoredumpFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("core_pattern",),
)
