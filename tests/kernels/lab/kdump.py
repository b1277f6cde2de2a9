"""A real kdump: a guest dies, its crash kernel starts, and makedumpfile writes what was in memory.

All dumps are of one death: the crash kernel (``init/kdump.c``) runs makedumpfile once for each, and writes them one
behind the other to a disk that the host then cuts up. makedumpfile is Debian's, of the suite that a dump names, with
that suite's own libraries and loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.kernels.lab.errors import LabError
from tests.kernels.lab.guest import Guest, GuestOptions, boot_until
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.kernels import Kernel
from tests.kernels.lab.oracle import Oracle
from tests.kernels.lab.scenarios import find_scenario
from tests.kernels.lab.userland import LOADER, closure

__all__ = ("Crash", "DumpOrder", "crash")

_COMMON = ("makedumpfile", "libc6", "liblzo2-2", "zlib1g", "libbz2-1.0", "liblzma5", "libzstd1")
#: makedumpfile and what it needs, by suite. The newest is sid's.
_PACKAGES = {
    "bookworm": (*_COMMON, "libdw1", "libelf1"),
    "sid": (*_COMMON, "libdw1t64", "libelf1t64"),
}
_RESERVED_MB = 256
_MEMORY_MB = 640
_DISK_SIZE = 4 << 30
_ARM_TIMEOUT_S = 60.0
_DUMPS_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class DumpOrder:
    """One run of makedumpfile in the crash kernel; what it writes to its standard output is the dump."""

    name: str
    suite: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Crash:
    """What the kernel said of itself right before it died, and the dumps of its memory by their orders' names.

    ``states``: the scenario's states -> their pids.
    """

    kernel: Kernel
    oracle: Oracle
    states: dict[str, int]
    dumps: dict[str, Path]


def _tool_files(suites: Iterable[str]) -> dict[str, Path]:
    return {
        f"/kdump/{suite}/{path.name}": path
        for suite in suites
        for path in closure("makedumpfile", _PACKAGES[suite], suite)
    }


def _plan(orders: Iterable[DumpOrder]) -> str:
    def line(order: DumpOrder) -> str:
        tools = f"/kdump/{order.suite}"
        program = (f"{tools}/{LOADER}", "--library-path", tools, f"{tools}/makedumpfile")
        return " ".join((order.name, *program, *order.arguments, "/proc/vmcore"))

    return "".join(f"{line(order)}\n" for order in orders)


def _build_crash_initrd(kernel: Kernel, orders: tuple[DumpOrder, ...], directory: Path) -> Path:
    plan = directory / "plan"
    plan.write_text(_plan(orders))
    files = {"/kdump/plan": plan, **_tool_files(dict.fromkeys(order.suite for order in orders))}
    initrd = directory / "crash-initrd"
    initrd.write_bytes(build_initramfs(kernel, replace(find_scenario("kdump"), files=files)))
    return initrd


def _die(guest: Guest) -> tuple[Oracle, bytes]:
    """What the guest says of itself, and what its crash kernel says of the dumps."""
    guest.wait_ready()
    guest.console.send("arm")
    guest.console.read_until(rb"NX ARMED", _ARM_TIMEOUT_S)
    oracle = guest.oracle()
    start = len(guest.console.log)
    guest.console.send("panic")
    guest.console.read_until(rb"NX READY", _DUMPS_TIMEOUT_S, start)
    said = bytes(guest.console.log[start:])
    failed = re.findall(rb"^NX FAIL (.*?)\r?$", said, re.MULTILINE)
    if failed:
        raise LabError(f"the crash kernel failed: {b', '.join(failed).decode()}")
    return oracle, said


def _cut_out(disk: Path, said: bytes, orders: tuple[DumpOrder, ...], directory: Path) -> dict[str, Path]:
    told = {
        name.decode(): tuple(map(int, numbers.split()))
        for name, numbers in re.findall(rb"^NX DUMP (\S+) (\d+ \d+ \d+)\r?$", said, re.MULTILINE)
    }
    dumps = {}
    with disk.open("rb") as source:
        for order in orders:
            offset, length, status = told[order.name]
            if status or not length:
                words = said.decode(errors="backslashreplace")
                raise LabError(f"makedumpfile {' '.join(order.arguments)} ended with {status}: {words}")
            dumps[order.name] = directory / order.name
            source.seek(offset)
            with dumps[order.name].open("wb") as target:
                while length:
                    block = source.read(min(length, 1 << 20))
                    length -= target.write(block)
    return dumps


def crash(kernel: Kernel, scenario: str, orders: tuple[DumpOrder, ...], directory: Path) -> Crash:
    """Boot ``kernel`` into ``scenario``, let it die, and bring the dumps ordered into ``directory``.

    :raises LabError: makedumpfile fails, or the crash kernel cannot do what it should
    :raises GuestDiedError: no crash kernel started, in several attempts
    """
    initrd = _build_crash_initrd(kernel, orders, directory)
    files = {"/next/vmlinuz": kernel.vmlinuz, "/next/initrd": initrd}
    found = find_scenario(scenario)
    made = replace(found, files={**found.files, **files})
    disk = directory / "disk"
    options = GuestOptions(memory_mb=_MEMORY_MB, append=f"crashkernel={_RESERVED_MB}M", scratch=disk)

    def boot() -> Guest:
        disk.unlink(missing_ok=True)
        with disk.open("wb") as image:
            image.truncate(_DISK_SIZE)
        return Guest(kernel, made, options)

    guest, (oracle, said) = boot_until(boot, _die, f"{kernel.release} {scenario}, which dies")
    with guest:
        states = dict(guest.states)
    dumps = _cut_out(disk, said, orders, directory)
    for path in (disk, initrd, directory / "plan"):
        path.unlink()
    return Crash(kernel, oracle, states, dumps)
