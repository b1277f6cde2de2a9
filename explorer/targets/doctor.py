"""What this machine offers for reading kernels, and what to do about each lack."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import drgn

from explorer.targets.detect import sample_path
from explorer.targets.drgn_calls import with_libkdumpfile
from explorer.targets.errors import TargetError
from explorer.targets.symbols import cache_directory, debug_places

__all__ = ("Check", "examine")

_ZERO_ADDRESS = "0" * 16
_PROC = "; the target proc needs none, and tells less"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    good: bool
    found: str
    """What is there, in words."""
    remedy: str = ""
    """What to do, and what it is needed for; empty where nothing is lacking."""


def examine() -> Iterator[Check]:
    """Look at everything, cheapest first. Never raises for what it finds."""
    yield _architecture()
    yield _root()
    yield _kcore()
    yield _btf()
    yield _kallsyms()
    yield _vmcoreinfo()
    yield _debug_info()
    yield _drgn()
    yield _libkdumpfile()
    yield _ptrace()
    yield _cache()
    yield _sample()


def _architecture() -> Check:
    machine, release = platform.machine(), platform.release()
    remedy = "" if machine == "x86_64" else "only x86_64 kernels can be read; dumps of them can, from here"
    return Check("running kernel", not remedy, f"Linux {release}, {machine}", remedy)


def _root() -> Check:
    if os.geteuid() == 0:
        return Check("root", True, "yes")
    return Check("root", False, f"no (uid {os.geteuid()})", "live: run under sudo; dumps need no root")


def _kcore() -> Check:
    path = Path("/proc/kcore")
    try:
        with path.open("rb") as file:
            file.read(4)
    except FileNotFoundError:
        return Check("kcore", False, "no /proc/kcore", f"live: needs CONFIG_PROC_KCORE{_PROC}")
    except PermissionError:
        remedy = (
            "live: needs root" if os.geteuid() else "live: kernel lockdown or a container; see lockdown(7)"
        ) + _PROC
        return Check("kcore", False, "/proc/kcore may not be read", remedy)
    except OSError as error:
        return Check("kcore", False, f"/proc/kcore: {error.strerror}", f"live: run on the host{_PROC}")
    return Check("kcore", True, "/proc/kcore can be read")


def _btf() -> Check:
    path = Path("/sys/kernel/btf/vmlinux")
    try:
        size = path.stat().st_size
    except OSError:
        return Check("BTF", False, "no /sys/kernel/btf/vmlinux", "live: give a vmlinux with debug info (-s)")
    return Check("BTF", True, f"{path}, {size / 1e6:.1f} MB")


def _kallsyms() -> Check:
    try:
        with Path("/proc/kallsyms").open() as file:
            # Per-CPU symbols come first on kernels before 6.15, and their addresses are small or zero.
            shown = any(not line.startswith(_ZERO_ADDRESS) for line in file)
    except OSError as error:
        return Check("kallsyms", False, f"/proc/kallsyms: {error.strerror}", "live: needs CONFIG_KALLSYMS")
    if not shown:
        return Check("kallsyms", False, "addresses are hidden", "live: needs root (kernel.kptr_restrict)")
    return Check("kallsyms", True, "/proc/kallsyms shows addresses")


def _vmcoreinfo() -> Check:
    if Path("/sys/kernel/vmcoreinfo").exists():
        return Check("VMCOREINFO", True, "/sys/kernel/vmcoreinfo")
    remedy = "live: drgn finds it in /proc/kcore on most kernels"
    return Check("VMCOREINFO", False, "no /sys/kernel/vmcoreinfo", remedy)


def _debug_info() -> Check:
    found = next((place for place in debug_places() if place.is_file()), None)
    if found is not None:
        return Check("debug info", True, str(found))
    return Check("debug info", False, "none for the running kernel", "not needed: BTF is the default")


def _drgn() -> Check:
    return Check("drgn", True, str(drgn.__version__))


def _libkdumpfile() -> Check:
    if with_libkdumpfile():
        return Check("kdump files", True, "drgn was built with libkdumpfile")
    remedy = "kdump-compressed dumps: install drgn's wheel from PyPI, or convert with makedumpfile -E"
    return Check("kdump files", False, "drgn was built without libkdumpfile", remedy)


def _ptrace() -> Check:
    from explorer.targets.qemu import ptrace_scope

    scope = ptrace_scope()
    if os.geteuid() == 0 or not scope:
        return Check("QEMU guests", True, "guest memory can be read directly over a unix socket")
    remedy = "qemu: works, but about 75 times slower; root, or kernel.yama.ptrace_scope=0, makes it fast"
    return Check("QEMU guests", False, f"ptrace is restricted (ptrace_scope {scope})", remedy)


def _cache() -> Check:
    try:
        directory = cache_directory()
    except OSError as error:
        return Check("cache", False, str(error), "opening takes longer; set XDG_CACHE_HOME")
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return Check("cache", True, str(directory))
    return Check("cache", False, f"{directory} cannot be written", "opening takes longer; set XDG_CACHE_HOME")


def _sample() -> Check:
    try:
        path = sample_path()
    except TargetError as error:
        return Check("sample", False, "missing", str(error))
    return Check("sample", True, path.name)
