"""Programs for guests: Debian packages unpacked into the lab's cache, all of one suite so that they fit together."""

from __future__ import annotations

import stat
import subprocess
import tarfile
from pathlib import Path
from typing import IO, cast

from tests.kernels.lab.cache import cache_dir, locked, replace_dir, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.packages import Apt

__all__ = ("USERLAND_SUITE", "unpack_package")

USERLAND_SUITE = "bookworm"
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


def unpack_package(name: str) -> Path:
    """The directory with the programs and libraries of package ``name``; fetched and unpacked once.

    :raises LabError: it cannot be fetched.
    """
    final = cache_dir() / "userland" / USERLAND_SUITE / name
    with locked("userland"):
        if final.exists():
            return final
        with locked("apt"):
            apt = Apt()
            apt.update()
            deb = apt.download(apt.find_package(name, USERLAND_SUITE))
        with scratch_dir() as scratch:
            made = scratch / "root"
            made.mkdir()
            _unpack(deb, made)
            replace_dir(made, final)
    return final
