"""A QEMU guest, read by drgn: out of the memory of the QEMU process, or through the monitor.

drgn can read through the monitor itself, but would wait for ever for a reply, and take in one without an end; here it
asks :class:`~explorer.targets.qemu.qmp.QmpConnection`. What drgn alone does is attach to the QEMU process, under a
watchdog.

With ``-device vmcoreinfo`` (and ``qemu_fw_cfg`` loaded in the guest) QEMU can say what the kernel is;
without it, and always over TCP, VMCOREINFO is looked for in the guest's memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import drgn

from explorer.targets.drgn_calls import (
    capture_log,
    drgn_errors,
    fault_user_half,
    new_program,
    own_vmcoreinfo,
    physical_reader,
)
from explorer.targets.dumps import FOUND, describes_memory, find_kernel
from explorer.targets.errors import TargetError
from explorer.targets.qemu.qmp import QmpConnection, connect, parse_ram_ranges
from explorer.targets.spec import Progress
from explorer.targets.vmcoreinfo import VmcoreInfo
from explorer.targets.watchdog import hang_up_in_time

__all__ = (
    "Attached",
    "QemuGuest",
    "announced_kernel",
    "attach_qemu",
    "open_qemu",
    "query_guest",
    "reads_how",
    "use_kernel",
)

#: How drgn's log begins when it has decided how to read (libdrgn/qemu_machine_protocol.c).
_DIRECT = "QEMU process memory reading enabled"
_NOT_DIRECT = "QEMU process memory reading disabled: "
#: Seconds, and seconds of CPU time, which are spent where QEMU is fast: some 300 MB. In every boot seen, VMCOREINFO is
#: in the first 64 MiB, which take seven seconds, 1.5 of CPU time.
_SEARCH_TIMEOUT = 120.0
_SEARCH_CPU = 6.0
#: What is read before the clocks are looked at again.
_SEARCH_STEP = 256 << 10
_ADDRESSES = 1 << 64
_MAX_ARCH = 40  # characters that are shown
_MAX_MISSES = 16_384  # pages, one after the other


@dataclass
class QemuGuest:
    """An attached guest."""

    prog: drgn.Program
    vmcoreinfo: VmcoreInfo
    #: False if the guest was stopped when it was attached.
    running: bool
    notes: list[str]
    #: Hangs up, so that QEMU takes the next client.
    release: Callable[[], None]


@dataclass
class Attached:
    """drgn on a guest's memory; nothing is known of its kernel yet."""

    prog: drgn.Program
    release: Callable[[], None]
    #: drgn reads the memory of the QEMU process, and asks the monitor for nothing but what is no RAM.
    direct: bool
    why_not: str
    #: On the socket that drgn has attached through.
    monitor: QmpConnection


def open_qemu(address: str, given: VmcoreInfo | None, progress: Progress) -> QemuGuest:
    """Attach to the guest behind a QMP socket (a path, or ``host:port``).

    Raises :class:`TargetError` if it cannot be attached, or runs no Linux kernel (yet).
    """
    name = f"qemu:{address}"
    found: tuple[VmcoreInfo, int] | None = None
    with QmpConnection(address) as qmp:
        running, ram = query_guest(qmp, name)
    attached = attach_qemu(address, given)
    try:
        info = given or announced_kernel(attached, name)
        if info is None:
            if attached.direct:
                found = find_kernel(physical_reader(attached.prog), ram, name, progress)
            else:
                found = _search_slowly(attached.monitor, ram, name, progress)
            info = found[0]
        attached = use_kernel(attached, address, info)
    except BaseException:
        attached.release()
        raise
    notes = [reads_how(attached)] + ([FOUND.format(found[1])] if found else [])
    return QemuGuest(attached.prog, info, running, notes, attached.release)


def query_guest(qmp: QmpConnection, name: str) -> tuple[bool, list[tuple[int, int]]]:
    """Whether the guest runs, and where its RAM is."""
    target = qmp.execute("query-target")
    arch = target.get("arch") if isinstance(target, dict) else None
    if arch != "x86_64":
        what = arch[:_MAX_ARCH] if isinstance(arch, str) else "unknown"
        raise TargetError(f"{name}: a guest of architecture {what}; only x86_64 is supported")
    status = qmp.execute("query-status")
    running = bool(status.get("running", True)) if isinstance(status, dict) else True
    ram = parse_ram_ranges(qmp.monitor("info mtree -f"))
    if not ram:
        raise TargetError(f"{name}: QEMU names no RAM of the guest (info mtree -f)")
    return running, ram


def _search_slowly(
    qmp: QmpConnection, ram: list[tuple[int, int]], name: str, progress: Progress
) -> tuple[VmcoreInfo, int]:
    """Search through the monitor, at 10 to 50 MB/s: for a minute or two, and no longer where nothing can be read.

    :raises TargetError: if no kernel is found, or not in that time
    """
    deadline, cpu_limit = time.monotonic() + _SEARCH_TIMEOUT, time.process_time() + _SEARCH_CPU
    misses = 0

    def read(address: int, size: int) -> bytes | None:
        nonlocal misses
        parts = []
        for start in range(address, address + size, _SEARCH_STEP):
            if time.monotonic() > deadline or time.process_time() > cpu_limit:
                raise TargetError(
                    f"{name}: no kernel found through QEMU's monitor in the time there is, up to "
                    f"{start / 1e9:.1f} GB: use a unix socket on QEMU's machine, or give --vmcoreinfo FILE"
                )
            data = qmp.read_physical(start, min(_SEARCH_STEP, address + size - start))
            misses = 0 if data else misses + 1
            if misses > _MAX_MISSES:
                raise TargetError(
                    f"{name}: QEMU's monitor shows nothing of the RAM it names, up to {start / 1e9:.1f} GB"
                )
            if data is None:
                return None
            parts.append(data)
        return b"".join(parts)

    return find_kernel(read, ram, name, progress)


def attach_qemu(address: str, info: VmcoreInfo | None) -> Attached:
    """Let drgn attach to a guest, whatever runs in it. :raises TargetError: if it cannot"""
    sock = connect(address)
    try:
        prog = new_program(info)
        if sock.family != socket.AF_UNIX:
            monitor = QmpConnection(address, over=sock)
            _read_through(monitor, prog, [(0, _ADDRESSES)])
            why_not = "over TCP; a unix socket on this machine is some 75 times faster"
            return Attached(prog, monitor.close, False, why_not, monitor)
        with (
            capture_log() as log,
            drgn_errors(f"qemu:{address}: drgn cannot attach"),
            hang_up_in_time(sock, f"qemu:{address}"),
        ):
            # drgn owns the descriptor from here on, and closes it when it fails.
            prog.set_qemu_qmp(os.dup(sock.fileno()))
        monitor = QmpConnection(address, over=sock, negotiated=True)
        direct = any(message.startswith(_DIRECT) for message in log)
        ram = parse_ram_ranges(monitor.monitor("info mtree -f")) if direct else []
        _read_through(monitor, prog, _gaps(ram))
    except BaseException:
        # A shutdown reaches every duplicate: drgn's, if somebody still holds the Program.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        raise
    reasons = [message.removeprefix(_NOT_DIRECT) for message in log if message.startswith(_NOT_DIRECT)]
    why_not = f"{''.join(reasons[:1]) or 'no access to the QEMU process'}; run as root or as QEMU's user"
    return Attached(prog, monitor.close, direct, why_not, monitor)


def _read_through(monitor: QmpConnection, prog: drgn.Program, ranges: list[tuple[int, int]]) -> None:
    """Let physical memory at (first, end) be read through the monitor, in place of how drgn would."""

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data = monitor.read_physical(address, count)
        if data is None:
            raise drgn.FaultError("QEMU's monitor shows no memory there", address)
        return data

    for first, end in ranges:
        prog.add_memory_segment(first, min(end - first, _ADDRESSES - 1), read, True)


def _gaps(ram: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(first, end) of what is not RAM."""
    gaps, begin = [], 0
    for first, end in sorted(ram):
        if first > begin:
            gaps.append((begin, first))
        begin = max(begin, end)
    return [*gaps, (begin, _ADDRESSES)]


def announced_kernel(attached: Attached, name: str) -> VmcoreInfo | None:
    """The kernel that drgn has found by itself, if memory bears it out.

    What a guest once announced to QEMU stays announced: of a kernel that a kexec has replaced, until the next one loads
    ``qemu_fw_cfg``.
    """
    if not _is_linux(attached.prog):
        return None
    info = own_vmcoreinfo(attached.prog, name)
    return info if describes_memory(physical_reader(attached.prog), info) else None


def use_kernel(attached: Attached, address: str, info: VmcoreInfo) -> Attached:
    """Let drgn read that kernel; hangs up and attaches anew if it has taken another one for the guest's.

    :raises TargetError: if it cannot
    """
    name = f"qemu:{address}"
    if _is_linux(attached.prog) and own_vmcoreinfo(attached.prog, name).raw != info.raw:
        attached.release()
        attached = attach_qemu(address, info)
    if not _is_linux(attached.prog):
        with capture_log(), drgn_errors(f"{name}: cannot be read as a Linux kernel"):
            attached.prog.set_linux_kernel_custom(info.raw, is_live=True)
    fault_user_half(attached.prog)
    return attached


def _is_linux(prog: drgn.Program) -> bool:
    return bool(prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL)


def reads_how(attached: Attached) -> str:
    """A note for the user."""
    if attached.direct:
        return "reads guest memory directly"
    return f"slow path: reads guest memory through the QEMU monitor ({attached.why_not})"
