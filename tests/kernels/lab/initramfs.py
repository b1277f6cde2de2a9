"""The guest's initramfs: the static init compiled here, and a newc archive written without cpio."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, scratch_dir
from tests.kernels.lab.hosttool import run_host_tool
from tests.kernels.lab.kbuild import build_module
from tests.kernels.lab.kernels import Kernel
from tests.kernels.lab.scenarios import Scenario
from tests.kernels.lab.userland import unpack_package

__all__ = ("Entry", "build_init", "build_initramfs", "filler_archive", "newc_archive")

_SOURCES = Path(__file__).parent / "init"
_CFLAGS = ("-static", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-pthread")
_FILLER_FILE_MB = 4


@dataclass(frozen=True)
class Entry:
    """One file of an archive; ``mode`` with its type bits. ``rdev`` is a device node's (major, minor)."""

    path: str
    mode: int
    data: bytes = b""
    rdev: tuple[int, int] = (0, 0)


def _newc(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    numbers = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,
        0,  # mtime
        len(entry.data),
        0,
        0,
        *entry.rdev,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return _padded(header) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def newc_archive(entries: list[Entry]) -> bytes:
    """A cpio archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    archive = b"".join(_newc(entry, inode) for inode, entry in enumerate(entries, 1))
    archive += _newc(Entry("TRAILER!!!", 0), 0)
    return archive + bytes(-len(archive) % 512)


def filler_archive(size_mb: int) -> bytes:
    """``size_mb`` of files to unpack: time in which ``do_populate_rootfs`` runs in an async kworker."""
    block = bytes(range(256)) * (4096 * _FILLER_FILE_MB)
    count = -(-size_mb // _FILLER_FILE_MB)
    return newc_archive(
        [
            Entry("filler", stat.S_IFDIR | 0o755),
            *(Entry(f"filler/{number}", stat.S_IFREG | 0o644, block) for number in range(count)),
        ]
    )


def build_init() -> Path:
    """The static init, compiled once for its sources and flags.

    :raises LabError: there is no compiler, or it refuses the sources.
    """
    sources = sorted(_SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(" ".join(_CFLAGS).encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    final = cache_dir() / "init" / digest.hexdigest()[:24]
    with locked("init"):
        if final.exists():
            return final
        final.parent.mkdir(exist_ok=True)
        with scratch_dir() as scratch:
            made = scratch / "init"
            command = ["gcc", *_CFLAGS, "-o", str(made), *(str(s) for s in sources if s.suffix == ".c")]
            needs = "gcc and a static C library (libc6-dev)"
            run_host_tool(command, needs, "gcc cannot build the guest's init:\n")
            made.rename(final)
    return final


def _module_entries(kernel: Kernel, scenario: Scenario) -> Iterator[Entry]:
    order = kernel.with_dependencies(("qemu_fw_cfg", *scenario.modules))
    spare = kernel.with_dependencies(scenario.spare_modules)
    listing = "".join(f"{name} {scenario.params.get(name, '')}".rstrip() + "\n" for name in order)
    yield Entry("modules", stat.S_IFDIR | 0o755)
    yield Entry("modules/order", stat.S_IFREG | 0o644, listing.encode())
    for name in dict.fromkeys([*order, *spare]):
        yield Entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, kernel.read_module(name))
    for name in scenario.built_modules:
        yield Entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, build_module(kernel, name).read_bytes())


def _file_entries(files: dict[str, Path]) -> Iterator[Entry]:
    made: set[str] = set()
    for target, source in sorted(files.items()):
        parts = target.strip("/").split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in made:
                made.add(parent)
                yield Entry(parent, stat.S_IFDIR | 0o755)
        yield Entry("/".join(parts), stat.S_IFREG | (source.stat().st_mode & 0o777), source.read_bytes())


def _package_entries(packages: tuple[str, ...]) -> Iterator[Entry]:
    """What is in the packages; a directory or file that two have is taken from the first."""
    made: set[str] = set()
    for package in packages:
        root = unpack_package(package)
        for path in sorted(root.rglob("*")):  # a directory sorts before what is in it
            name = str(path.relative_to(root))
            if name in made:
                continue
            made.add(name)
            if path.is_symlink():
                yield Entry(name, stat.S_IFLNK | 0o777, os.fsencode(path.readlink()))
            elif path.is_dir():
                yield Entry(name, stat.S_IFDIR | 0o755)
            else:
                yield Entry(name, path.stat().st_mode, path.read_bytes())


def build_initramfs(kernel: Kernel, scenario: Scenario, filler_mb: int = 0) -> bytes:
    """The archive that ``kernel`` boots into for ``scenario``; ``filler_mb`` of dead weight follow it."""
    entries = [
        *(Entry(name, stat.S_IFDIR | 0o755) for name in ("dev", "proc", "sys", "sbin", "tmp")),
        # without it the kernel says that it cannot open an initial console
        Entry("dev/console", stat.S_IFCHR | 0o600, rdev=(5, 1)),
        Entry("init", stat.S_IFREG | 0o755, build_init().read_bytes()),
        *_module_entries(kernel, scenario),
        *_package_entries(scenario.packages),
        *_file_entries(scenario.files),
    ]
    archive = newc_archive(entries)
    return archive + filler_archive(filler_mb) if filler_mb else archive
