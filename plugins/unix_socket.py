"""Core dumps sent to a UNIX socket: ``kernel.core_pattern`` with ``@`` (net/unix/af_unix.c, fs/coredump.c).

The process that crashes connects to the socket itself. The socket's path is looked up in init's filesystem, never in
that process's own: since 7.3 ``unix_find_bsd()`` borrows it, before it started the look-up at init's root. ``@@`` asks
the server first what it wants. Kernels before 6.16 know neither: there, ``@`` begins a file name.

``unix_find_bsd()`` is inlined into ``unix_find_other()`` in Debian's kernel: without debug info the path walk's own
flags tell that it is this one, never what ``core_pattern`` says by now. The tasks are user tasks like any other, known
by ``PF_DUMPCORE`` and not by name: the plugin speaks for none. Whether somebody listens at the socket is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

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

from ._dumping import destination, dumping_findings, is_dumping, knows_sockets

__all__ = ("PLUGIN", "UnixSocketFacts")


class UnixSocketFacts(GuardedFacts):
    supported: bool
    """This kernel can send core dumps to a socket."""
    protocol: Literal["plain", "request"] | None
    """``@`` or ``@@``; ``None`` where core dumps do not go to a socket."""
    path: KernelText | None
    now: KernelSetting | None
    """The socket, from init's root."""


def collect(kernel: PluginKernel) -> UnixSocketFacts:
    """Read ``core_pattern``, and look its socket up."""
    reading = Reading()
    supported = knows_sockets(kernel)
    pattern = reading.get(
        "core_pattern", lambda: array_text(kernel.variable("", "core_pattern", "char [128]"))
    )
    if not supported or pattern is None or not pattern.startswith("@"):
        return UnixSocketFacts(
            supported=supported, protocol=None, path=None, now=None, missing=reading.missing
        )
    path = pattern[1:].removeprefix("@")
    return UnixSocketFacts(
        supported=True,
        protocol="request" if pattern.startswith("@@") else "plain",
        path=path,
        now=reading.look_up(kernel, "core socket", path),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: UnixSocketFacts) -> Iterator[Finding]:
    """A socket that is not there, and tasks that look it up."""
    yield from incomplete(PLUGIN, facts)
    if facts.now is not None and facts.now.found == "no":
        says, do = absent(
            facts.now,
            "Start the server (with systemd: systemd-coredump.socket) in init's mount namespace, or set "
            "kernel.core_pattern to another destination.",
        )
        yield PLUGIN.finding(
            "NO-SOCKET",
            Severity.MEDIUM,
            f"core dumps are sent to the socket {facts.path}, which {says}",
            [Reference(kind="setting", address=None, label="core_pattern")],
            means="The socket is looked up in init's filesystem, whichever process crashes. All core dumps are lost.",
            do=do,
        )
    if not facts.supported:
        return
    tasks = [task for task in snapshot.tasks if is_dumping(task) and destination(task, True) == "socket"]
    means = "It looks up the socket that core dumps are sent to as init would see it."
    yield from dumping_findings(PLUGIN, snapshot, tasks, "unix_find_bsd", means)


PLUGIN = Plugin(
    name="unix_socket",
    title="af_unix: core dumps sent to a socket",
    facts=UnixSocketFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("core_pattern", "unix_find_other"),
)
