"""Programs for guests: Debian packages unpacked into the lab's cache, all of one suite so that they fit together.

A program of another suite needs that suite's libraries and loader: :func:`closure` tells which.
"""

from __future__ import annotations

import re
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import IO, cast

from tests.kernels.lab.cache import cache_dir, locked, replace_dir, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.packages import Apt

__all__ = ("LOADER", "USERLAND_SUITE", "closure", "unpack_package")

USERLAND_SUITE = "bookworm"
LOADER = "ld-linux-x86-64.so.2"
_PREFIXES = (
    "bin/",
    "sbin/",
    "lib/",
    "lib64/",
    "usr/bin/",
    "usr/sbin/",
    "usr/lib/",
    "usr/libexec/",
    "usr/share/misc/",
)
_LEFT_OUT = ("/gconv/", "/systemd/", "/locale/", "/initramfs-tools/", "/udev/")


def _is_wanted(member: tarfile.TarInfo) -> bool:
    path = member.name.removeprefix("./")
    return (
        (member.isfile() or member.issym())
        and path.startswith(_PREFIXES)
        and not any(part in f"/{path}" for part in _LEFT_OUT)
    )


def _unpack(deb: Path, root: Path) -> None:
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=cast("IO[bytes]", process.stdout), mode="r|") as archive,
    ):
        for member in archive:
            if not _is_wanted(member):
                continue
            target = root / member.name.removeprefix("./")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                target.symlink_to(member.linkname)
            else:
                target.write_bytes(content.read())
                target.chmod(stat.S_IMODE(member.mode))
    if process.returncode:
        raise LabError(f"dpkg-deb cannot read {deb.name}: remove it and fetch it again")


def unpack_package(name: str, suite: str = USERLAND_SUITE) -> Path:
    """The directory with the programs and libraries of package ``name`` of ``suite``; fetched and unpacked once.

    :raises LabError: it cannot be fetched.
    """
    final = cache_dir() / "userland" / suite / name
    with locked("userland"):
        if final.exists():
            return final
        with locked("apt"):
            apt = Apt()
            apt.update()
            deb = apt.download(apt.find_package(name, suite))
        with scratch_dir() as scratch:
            made = scratch / "root"
            made.mkdir()
            _unpack(deb, made)
            replace_dir(made, final)
    return final


def closure(program: str, packages: tuple[str, ...], suite: str) -> list[Path]:
    """The loader, the file of ``program`` and every library that it needs, out of ``packages`` of ``suite``.

    The suite's own loader finds them, here as in a guest: ``LOADER --library-path DIRECTORY PROGRAM``.

    :raises LabError: something is in none of the packages.
    """
    roots = [unpack_package(name, suite) for name in packages]
    loader, found = _find_file(roots, LOADER), _find_file(roots, program)
    places = {path.parent for root in roots for path in root.rglob("*.so.*")}
    libraries = ":".join(sorted(map(str, places)))
    done = subprocess.run(
        [loader, "--library-path", libraries, "--list", found], capture_output=True, text=True, check=False
    )
    if done.returncode or "not found" in done.stdout:
        raise LabError(f"{program} of {suite} lacks a library: {(done.stderr or done.stdout).strip()}")
    needed = re.findall(r"=> (\S+) \(0x", done.stdout)
    return [loader, found, *(Path(path) for path in needed if Path(path).name != LOADER)]


def _find_file(roots: list[Path], name: str) -> Path:
    for root in roots:
        for path in root.rglob(name):
            if path.is_file() and not path.is_symlink():
                return path
    raise LabError(f"none of the packages has {name}")
