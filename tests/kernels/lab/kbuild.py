"""Kernel modules of the lab's own (``modules/NAME``), built against Debian's headers of the kernel they are for.

Debian's tools of kbuild may be newer than this machine's C library: they run with the libraries of the suite they come
from. The compiler is this machine's, which may be older than the kernel's: see ``_MISSING``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, replace_dir, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.hosttool import run_host_tool
from tests.kernels.lab.kernels import Kernel
from tests.kernels.lab.packages import Apt
from tests.kernels.lab.userland import LOADER, unpack_package

__all__ = ("build_module",)

_SOURCES = Path(__file__).parent / "modules"
#: What the tools are linked with: of the newest suite, which runs those of any other.
_LIBRARIES = ("libc6", "libelf1t64", "zlib1g", "libzstd1", "liblzma5", "libbz2-1.0")
_LIBRARIES_SUITE = "sid"
#: The tools that building a module takes, and the program behind each that chooses one by the target's byte order.
_TOOLS = {
    "scripts/basic/fixdep": ("fixdep",),
    "scripts/mod/modpost": ("modpost.real-lsb-64", "modpost"),
    "tools/objtool/objtool": ("objtool.real-x86", "objtool"),
}
#: Options of the kernel's compiler that ours may not have, and the configuration that asks for each.
_MISSING = {"-fmin-function-alignment=16": "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT"}


def build_module(kernel: Kernel, name: str) -> Path:
    """``NAME.ko`` for ``kernel``, built once for its sources.

    :raises LabError: the headers cannot be fetched, or the module cannot be built.
    """
    sources = sorted((_SOURCES / name).iterdir())
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    final = cache_dir() / "modules" / kernel.release / digest.hexdigest()[:24] / f"{name}.ko"
    with locked(f"kbuild-{kernel.release}"):
        if not final.exists():
            headers = _unpack_headers(kernel)
            with scratch_dir() as scratch:
                for source in sources:
                    shutil.copy2(source, scratch)
                _make(headers, scratch)
                final.parent.mkdir(parents=True, exist_ok=True)
                (scratch / f"{name}.ko").rename(final)
    return final


def _make(headers: Path, source: Path) -> None:
    # without types of its own the module needs no pahole
    variables = ("CC=gcc", "CROSS_COMPILE=", "CONFIG_DEBUG_INFO_BTF_MODULES=")
    command = ["make", "-s", "-C", str(headers), f"M={source}", *variables, "modules"]
    run_host_tool([*command, *_overrides()], "make", "make cannot build a module:\n")


def _overrides() -> Iterator[str]:
    for option, config in _MISSING.items():
        command = ["gcc", option, "-E", "-x", "c", os.devnull, "-o", os.devnull]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            yield f"{config}="


def _unpack_headers(kernel: Kernel) -> Path:
    """The directory in which the modules of ``kernel`` are built, as the package of its headers has it."""
    name = f"linux-headers-{kernel.release}"
    root = cache_dir() / "headers" / kernel.release
    if not root.exists():
        with locked("apt"):
            apt = Apt()
            apt.update()
            debs = [apt.download(package) for package in apt.find_headers(kernel.release)]
        with scratch_dir() as scratch:
            made = scratch / "root"
            for deb in debs:
                run_host_tool(["dpkg-deb", "-x", str(deb), str(made)], "dpkg-deb", "dpkg-deb cannot unpack: ")
            _move_makefiles(made, root)
            for kbuild in (made / "usr/lib").glob("linux-kbuild-*"):
                _wrap_tools(kbuild)
            replace_dir(made, root)
    return root / "usr/src" / name


def _move_makefiles(made: Path, root: Path) -> None:
    """They say where Debian installs them."""
    for makefile in (made / "usr/src").glob("*/Makefile"):
        text = makefile.read_text()
        makefile.write_text(re.sub(r"(?<![\w/])/usr/src/", f"{root}/usr/src/", text))


def _wrap_tools(kbuild: Path) -> None:
    roots = [unpack_package(name, _LIBRARIES_SUITE) for name in _LIBRARIES]
    loader = next(path for root in roots for path in root.rglob(LOADER) if not path.is_symlink())
    places = ":".join(sorted({str(path.parent) for root in roots for path in root.rglob("*.so.*")}))
    for tool, names in _TOOLS.items():
        path = kbuild / tool
        program = next((path.with_name(name) for name in names if path.with_name(name).exists()), None)
        if program is None:
            raise LabError(f"{kbuild.name} has no {tool}")
        real = program.with_name(f"{path.name}.lab")
        program.rename(real)
        path.write_text(
            f'#!/bin/sh\nexec "{loader}" --library-path "{places}" "$(dirname "$0")/{real.name}" "$@"\n'
        )
        path.chmod(0o755)
