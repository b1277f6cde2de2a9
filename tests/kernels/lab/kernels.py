"""Kernels ready to boot: unpacked once into the lab's cache, with their modules."""

from __future__ import annotations

import functools
import lzma
import os
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, replace_dir, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.packages import OLD_SUITES, Apt, PackageSet, extract

__all__ = ("LINES", "OLD_LINES", "OTHER_LINES", "Kernel", "find_series", "get_kernel", "release_key")

#: What every kernel test runs on: each of the layouts, and the kernels that Debian supports.
LINES = ("6.1", "6.12", "7.2", "7.3")
#: What must open too: the series between those, Debian's other builds of a kernel, and the newest release candidate.
OTHER_LINES = ("6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.3-amd64", "7.3-rt", "rc")
#: Older than what the tool is for; of a suite of its own.
OLD_LINES = ("5.10",)
_SERIES = re.compile(r"\d+\.\d+")
_RESOLVE_MAX_AGE_S = 24 * 3600
_RETRY_AFTER_S = 3600


@dataclass(frozen=True)
class Kernel:
    """One kernel of the cache: ``line`` as ``get_kernel()`` takes it, ``release`` as uname prints it."""

    line: str
    release: str
    directory: Path

    @property
    def vmlinuz(self) -> Path:
        """The bootable image."""
        return self.directory / "vmlinuz"

    @property
    def vmlinux(self) -> Path | None:
        """The image with DWARF, when it was asked for (``get_kernel(..., debug=True)``)."""
        path = self.directory / "vmlinux"
        return path if path.exists() else None

    @property
    def system_map(self) -> Path:
        """Where its symbols are in text, when the image with DWARF was asked for."""
        return self.directory / "System.map"

    def find_module(self, name: str) -> Path | None:
        """The file of module ``name``, or None when this kernel has no such module (it may be built in)."""
        return self._modules.get(name.replace("-", "_"))

    @functools.cached_property
    def _modules(self) -> dict[str, Path]:
        files = (self.directory / "modules").rglob("*.ko*")
        return {file.name.split(".ko")[0].replace("-", "_"): file for file in files}

    def read_module(self, name: str) -> bytes:
        """The module as ``finit_module(2)`` takes it: not compressed.

        :raises LabError: there is none, or it is packed in a way the lab does not know.
        """
        path = self.find_module(name)
        if path is None:
            raise LabError(f"kernel {self.release} has no module {name}")
        data = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix != ".ko":
            raise LabError(f"the lab cannot unpack {path.name}")
        return data

    def with_dependencies(self, names: tuple[str, ...]) -> list[str]:
        """``names`` and what they depend on, in the order to load them; what the kernel has built in is left out.

        Dependencies come from each module's own ``.modinfo``: Debian's packages carry no ``modules.dep``.
        """
        order: list[str] = []

        def add(name: str, depth: int) -> None:
            if depth > 16:
                raise LabError(f"modules of kernel {self.release} depend on each other in a circle at {name}")
            if name in order or self.find_module(name) is None:
                return
            for dependency in _module_depends(self.read_module(name)):
                add(dependency, depth + 1)
            order.append(name)

        for name in names:
            add(name.replace("-", "_"), 0)
        return order


def _module_depends(data: bytes) -> list[str]:
    match = re.search(rb"\0depends=([^\0]*)\0", data)
    return [name.replace("-", "_") for name in match[1].decode().split(",") if name] if match else []


def release_key(release: str) -> tuple[int, ...]:
    """Sorts releases of one line by their numbers: 6.1.0-9 before 6.1.0-50."""
    return tuple(int(number) for number in re.findall(r"\d+", release))


def _apt_for(line: str) -> Apt:
    """A suite that is not supported any more may leave the mirror at any time: only what needs it asks for it."""
    return Apt(suites=OLD_SUITES) if line in OLD_LINES else Apt()


def _line_dir(line: str) -> Path:
    return cache_dir() / "kernels" / line


def _cached(line: str) -> Kernel | None:
    found = [path for path in _line_dir(line).glob("*") if (path / "vmlinuz").exists()]
    newest = max(found, key=lambda path: release_key(path.name), default=None)
    return Kernel(line, newest.name, newest) if newest else None


def _version(directory: Path) -> str | None:
    """The package's version: rc6 and rc7 of a kernel are one release. None where the cache does not say."""
    path = directory / "version"
    return path.read_text() if path.exists() else None


def _unpack(apt: Apt, line: str, found: PackageSet) -> Kernel:
    final = _line_dir(line) / found.release
    if (final / "vmlinuz").exists() and _version(final) in (None, found.packages[0].version):
        return Kernel(line, found.release, final)
    with scratch_dir() as scratch:
        made = scratch / "kernel"

        def wanted(path: str) -> Path | None:
            name = Path(path).name
            if name in ("vmlinuz", f"vmlinuz-{found.release}"):
                return made / "vmlinuz"
            _, marker, module = path.partition(f"lib/modules/{found.release}/kernel/")
            return made / "modules" / module if marker else None

        for package in found.packages:
            extract(apt.download(package), wanted)
        if not (made / "vmlinuz").exists():
            raise LabError(f"no vmlinuz in {', '.join(package.name for package in found.packages)}")
        (made / "version").write_text(found.packages[0].version)
        replace_dir(made, final)
    return Kernel(line, found.release, final)


def _unpack_vmlinux(apt: Apt, kernel: Kernel) -> None:
    deb = apt.download(apt.find_debug_package(kernel.release))
    with scratch_dir() as scratch:
        made, symbols = scratch / "vmlinux", scratch / "System.map"

        def wanted(path: str) -> Path | None:
            name = Path(path).name
            if name == f"System.map-{kernel.release}":
                return symbols
            is_image = name in ("vmlinux", f"vmlinux-{kernel.release}") and not made.exists()
            return made if is_image else None

        extract(deb, wanted)
        if not made.exists():
            raise LabError(f"no vmlinux in {deb.name}")
        if symbols.exists():
            symbols.rename(kernel.system_map)
        made.rename(kernel.directory / "vmlinux")


def get_kernel(line: str, *, debug: bool = False) -> Kernel:
    """The newest kernel of ``line`` that Debian has, fetched at most once a day; ``debug`` adds its ``vmlinux``.

    Without a network, the newest one in the cache is used, with a warning.

    :raises NoSuchKernelError: no suite has one, nor has the cache.
    :raises LabError: it can neither be fetched nor found in the cache.
    """
    if line not in (*LINES, *OTHER_LINES) and not _SERIES.fullmatch(line):
        raise LabError(f"no kernel line {line}; there are {', '.join((*LINES, *OTHER_LINES))}")
    with locked(f"kernel-{line}"):
        stamp = _line_dir(line) / "resolved"
        kernel = _cached(line)
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < _RESOLVE_MAX_AGE_S
        if kernel is None or not fresh:
            kernel = _fetch_newest(line, kernel, stamp)
        if debug and kernel.vmlinux is None:
            with locked("apt"):
                apt = _apt_for(line)
                apt.update()
                _unpack_vmlinux(apt, kernel)
        return kernel


def find_series() -> set[str]:
    """Every series ("6.12") that the suites have.

    :raises LabError: the mirror does not answer.
    """
    with locked("apt"):
        apt = Apt()
        apt.update()
        return apt.find_series()


def _fetch_newest(line: str, cached: Kernel | None, stamp: Path) -> Kernel:
    try:
        with locked("apt"):
            apt = _apt_for(line)
            apt.update()
            newest = _unpack(apt, line, apt.resolve(line))
        stamp.touch()
        return newest
    except LabError as error:
        if cached is None:
            raise
        warnings.warn(f"using {cached.release} from the cache: {error}", stacklevel=3)
        # not at every call: without a network each try can last minutes
        stamp.touch()
        retry_at = time.time() - _RESOLVE_MAX_AGE_S + _RETRY_AFTER_S
        os.utime(stamp, (retry_at, retry_at))
        return cached
