"""Debian's kernel packages: which one is a kernel line's newest, and what is in it.

Nothing is installed: apt works on lists, a cache and sources of its own below the lab's cache directory, so the
machine's package state is neither read nor written.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from tests.kernels.lab.cache import cache_dir
from tests.kernels.lab.errors import LabError, NoSuchKernelError
from tests.kernels.lab.sources import Mirror, find_mirror

__all__ = (
    "OLD_SUITES",
    "SUITES",
    "Apt",
    "Package",
    "PackageSet",
    "choose_newest",
    "extract",
    "kernel_package_names",
    "series_of",
)

SUITES = ("bookworm", "trixie", "trixie-backports", "sid", "experimental")
#: Where older kernels and libraries come from, as long as the mirror keeps it.
OLD_SUITES = ("bullseye",)
_LISTS_MAX_AGE_S = 24 * 3600
_APT_TIMEOUT_S = 900


@dataclass(frozen=True)
class Package:
    """A binary package that the archive has."""

    name: str
    version: str


@dataclass(frozen=True)
class PackageSet:
    """What makes one kernel: ``release`` as uname prints it, and the packages that hold it."""

    release: str
    packages: tuple[Package, ...]


def _release_pattern(line: str) -> str:
    """Releases, as uname prints them, that are of ``line``.

    A line is a series ("6.12": its cloud kernels), a series and another flavour of Debian's ("7.3-rt", "7.3-amd64"),
    or "rc": cloud kernels that have no patch level yet, which are candidates and what was only just released.
    """
    if line == "rc":
        return r"\d+\.\d+(?:\+[0-9a-z.]+)?-cloud-amd64"
    series, _, flavour = line.partition("-")
    suffix = {"": "cloud-amd64", "rt": "rt-amd64", "amd64": "amd64"}[flavour]
    # a build may be of any length ("6.1.0-50"), but "7.3.4-rt" and "7.3.4-cloud" are none
    return rf"{re.escape(series)}\.\d(?:(?!-rt-|-cloud-)[0-9a-z.+~-])*-{suffix}"


def kernel_package_names(line: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The kernels of ``line`` ("6.12", "7.3-rt", "rc") among ``names``: release -> the packages that hold it.

    Up to 6.18 one ``linux-image-*``; from 6.19 on ``linux-binary-*`` and ``linux-modules-*`` of one release. Unsigned
    and debug packages are not the kernel that people run. Of a line whose modules have all left the suites, the
    binaries alone are taken: such a kernel boots, and has only what is built in.
    """
    known = set(names)
    pattern = re.compile(rf"linux-(image|binary)-({_release_pattern(line)})")
    found: dict[str, tuple[str, ...]] = {}
    bare: dict[str, tuple[str, ...]] = {}
    for name in sorted(known):
        match = pattern.fullmatch(name)
        if match is None:
            continue
        kind, release = match.groups()
        modules = f"linux-modules-{release}"
        if kind == "binary" and modules in known:
            found[release] = (name, modules)
        elif kind == "binary":
            bare[release] = (name,)
        elif kind == "image" and f"linux-binary-{release}" not in known:
            found[release] = (name,)  # from 6.19 on an image is an empty package that depends on the two
    return found or bare


def series_of(names: Iterable[str]) -> set[str]:
    """The series ("6.12", "7.3") of which ``names`` have a cloud kernel with a patch level."""
    pattern = re.compile(r"linux-image-(\d+\.\d+)\.\d[0-9a-z.+~-]*-cloud-amd64")
    return {match[1] for match in map(pattern.fullmatch, names) if match}


def _compare_versions(a: str, b: str) -> int:
    """Debian's own order of versions (``~`` sorts before the end), which no string comparison gives."""
    for operator, order in (("lt", -1), ("gt", 1)):
        if subprocess.run(["dpkg", "--compare-versions", a, operator, b], check=False).returncode == 0:
            return order
    return 0


def choose_newest(sets: Iterable[PackageSet]) -> PackageSet | None:
    """The set whose first package has the highest version, or None of none."""
    key = functools.cmp_to_key(_compare_versions)
    return max(sets, key=lambda found: key(found.packages[0].version), default=None)


class Apt:
    """apt with its own directories and the suites of ``SUITES``, or others, from the machine's own mirror."""

    suites: tuple[str, ...] = SUITES

    def __init__(self, mirror: Mirror | None = None, suites: tuple[str, ...] = SUITES) -> None:
        self.suites = suites
        self.root = cache_dir() / ("apt" if suites == SUITES else f"apt-{'-'.join(suites)}")
        self.debs = cache_dir() / "debs"
        self._sources = self.root / "sources.list.d/lab.sources"
        for directory in (self.root / "lists/partial", self.root / "cache/archives/partial", self.debs):
            directory.mkdir(parents=True, exist_ok=True)
        self._write_sources(mirror or find_mirror())

    def _write_sources(self, mirror: Mirror) -> None:
        fields = ["Types: deb", f"URIs: {mirror.uri}", "Suites: " + " ".join(self.suites), "Components: main"]
        if mirror.signed_by:
            fields.append(f"Signed-By: {mirror.signed_by}")
        self._sources.parent.mkdir(exist_ok=True)
        self._sources.write_text("\n".join(fields) + "\n")

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::State::lists": self.root / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.root / "cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._sources.parent,
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # the cache may be where the user _apt cannot write
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        arguments = [command[0]]
        for name, value in options.items():
            arguments += ["-o", f"{name}={value}"]
        try:
            done = subprocess.run(
                [*arguments, *command[1:]],
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=_APT_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"{' '.join(command)}: {error}") from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise LabError(f"{' '.join(command)} failed: {last}")
        return done.stdout

    def update(self) -> None:
        """Fetch the package lists, unless those here are of the same sources and less than a day old.

        :raises LabError: the mirror does not answer.
        """
        stamp = self.root / "updated"
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < _LISTS_MAX_AGE_S
        if fresh and stamp.read_text() == self._sources.read_text():
            return
        self._run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
        shutil.copyfile(self._sources, stamp)

    def _package(self, name: str) -> Package:
        shown = self._run("apt-cache", "show", "--no-all-versions", name)
        version = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
        if version is None:
            raise LabError(f"apt-cache show {name} prints no version")
        return Package(name, version[1])

    def find_package(self, name: str, suite: str) -> Package:
        """``name`` as ``suite`` has it.

        :raises LabError: it has none.
        """
        for row in self._run("apt-cache", "madison", name).splitlines():
            found, version, source = (field.strip() for field in row.split("|"))
            if found == name and f" {suite}/" in source:
                return Package(name, version)
        raise LabError(f"{suite} has no package {name}")

    def resolve(self, line: str) -> PackageSet:
        """The newest kernel of ``line`` in any suite.

        :raises NoSuchKernelError: no suite has one (any more).
        """
        found = (
            PackageSet(release, tuple(self._package(name) for name in packages))
            for release, packages in kernel_package_names(line, self._names()).items()
        )
        newest = choose_newest(found)
        if newest is None:
            raise NoSuchKernelError(f"no suite of {', '.join(self.suites)} has a kernel {line}")
        return newest

    def find_series(self) -> set[str]:
        """Every series that has a kernel in any suite."""
        return series_of(self._names())

    def _names(self) -> list[str]:
        return self._run("apt-cache", "pkgnames", "linux-").split()

    def download(self, package: Package) -> Path:
        """The package's file; apt checks one that is already here by its hash and fetches it only if it differs.

        :raises LabError: it cannot be fetched.
        """
        self._run("apt-get", "-qq", "download", f"{package.name}={package.version}", cwd=self.debs)
        found = sorted(self.debs.glob(f"{package.name}_{package.version.replace(':', '%3a')}_*.deb"))
        if not found:
            raise LabError(f"apt-get download {package.name} left no file in {self.debs}")
        return found[-1]

    def find_debug_package(self, release: str) -> Package:
        """The package with the ``vmlinux`` of ``release``."""
        return self._package(f"linux-image-{release}-dbg")

    def find_headers(self, release: str) -> list[Package]:
        """The packages that modules of ``release`` are built with: its headers, what they have in common with other
        flavours', and the tools of kbuild.
        """
        own = self._package(f"linux-headers-{release}")
        depends = re.search(
            r"^Depends: (.*)$", self._run("apt-cache", "show", f"{own.name}={own.version}"), re.MULTILINE
        )
        needed = re.findall(r"linux-(?:headers-[^\s,]+-common|kbuild-[^\s,]+)", depends[1] if depends else "")
        if len(needed) < 2:
            raise LabError(f"apt-cache show {own.name} does not say what it needs")
        return [own, *(self._package(name) for name in needed)]


def extract(deb: Path, wanted: Callable[[str], Path | None]) -> int:
    """Write the regular files of ``deb`` that ``wanted`` gives a target for; how many there were.

    The archive is read as a stream, so that a 2 GB debug package costs one file.
    """
    count = 0
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process:
        stream = cast("IO[bytes]", process.stdout)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                target = wanted(member.name.removeprefix("./")) if member.isfile() else None
                content = archive.extractfile(member) if target is not None else None
                if target is None or content is None:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while block := content.read(1 << 20):
                        file.write(block)
                count += 1
    if process.returncode:
        raise LabError(f"dpkg-deb cannot read {deb.name}: remove it and fetch it again")
    return count
